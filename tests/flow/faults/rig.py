"""Faults done to real processes, traffic that goes on meanwhile, and the judgement on both."""

import contextlib
import hashlib
import http.client
import itertools
import json
import os
import signal
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlsplit

from deploy.embedded import choose_port
from shared.cli.local_roles import api_role
from shared.cli.supervisor import Role
from shared.cli.verdict import Verdict
from shared.domain.queues import FAN_OUT_QUEUE
from shared.queue.rings import Ringer
from tests.flow.conftest import WINDOW, Installation
from tests.processes import descendants, wait_until

LEASE_SECONDS = 2.0

SECONDS = 60.0
"""How long a test waits for what comes by itself; it does within a few, on an idle machine."""

_numbers = itertools.count(1)
_CONTENT = {"push": "title", "email": "subject", "sms": "content"}


@dataclass(frozen=True, slots=True)
class Campaign:
    run: int
    title: str  # unique: tells its entries in the simulator's record
    recipients: int


@dataclass(slots=True)
class Rig:
    installation: Installation
    _audiences: dict[tuple[str, int], str] = field(default_factory=dict)

    # Traffic

    def slow_down(self, *, milliseconds: int) -> None:
        """Let providers take so long for each answer."""
        profile: dict[str, object] = {"latency_ms": milliseconds, "receipt_copies": 0}
        self.installation.set_faults(fcm=profile, smtp=profile, twilio=profile)

    def audience(self, channel: str, count: int) -> str:
        """The topic of so many people with a target each, whose ids are TOPIC-1 and so on; made once."""
        factory = self.installation.factory
        if (channel, count) not in self._audiences:
            topic = next(name for name in (f"{channel}{number}x" for number in _numbers) if _is_new(channel, name))
            factory.audience(count, channel=channel, prefix=topic)
            factory.subscribe(factory.topic(topic), prefix=topic)
            self._audiences[channel, count] = topic
        return self._audiences[channel, count]

    def send(self, channel: str, count: int) -> Campaign:
        """A campaign that has just been accepted, to people of this test's own."""
        title = f"Campaign {next(_numbers)}"
        content = {_CONTENT[channel]: title}
        if channel == "push":
            content |= {"body": "Hello.", "priority": "high"}
        elif channel == "email":
            content |= {"content": "Hello."}
        run = self.installation.factory.message(
            title.replace(" ", "-"), channel=channel, topics=[self.audience(channel, count)], data=dict(content)
        )
        ringer = Ringer(self.installation.system.settings)
        ringer.start()
        ringer.ring(FAN_OUT_QUEUE)
        ringer.stop()
        return Campaign(run, title, count)

    def finish(self, *campaigns: Campaign, seconds: float = SECONDS) -> Verdict:
        """The verdicts on all of them added up. They end, and the judge finds nothing against any."""
        verdicts = []
        for campaign in campaigns:
            self.installation.await_finish(campaign.run, seconds=seconds)
            verdict = self.installation.judge(campaign.run, title=campaign.title)
            assert verdict.violations == []
            assert verdict.planned == campaign.recipients
            assert verdict.copies <= verdict.resends
            verdicts.append(verdict)
        sums = {
            name: sum(getattr(verdict, name) for verdict in verdicts)
            for name in ("planned", "sent", "failed", "unknown", "resends", "accepted", "copies")
        }
        return Verdict(**sums, seconds=sum(verdict.seconds for verdict in verdicts))

    def accepted(self, title: str) -> Counter[str]:
        """Copies by address, as the provider has them."""
        with self.installation.record.open() as lines:
            entries = (json.loads(line) for line in lines if title in line)
            return Counter(entry["recipient"] for entry in entries if entry["title"] == title)

    # What the database says

    def ask(self, question: str, *parameters: object) -> list[Any]:
        """`parameters` in the order of their places, or one mapping of them by name."""
        given = parameters[0] if parameters and isinstance(parameters[0], Mapping) else parameters
        with self.installation.factory.connect() as connection:
            return connection.execute(question.encode(), given or None).fetchall()

    def do(self, statement: str, *parameters: object) -> None:
        with self.installation.factory.connect() as connection:
            connection.execute(statement.encode(), parameters)

    def is_finished(self, campaign: Campaign) -> bool:
        (row,) = self.ask("SELECT finished_at IS NOT NULL FROM message_progress WHERE run = %s", campaign.run)
        return bool(row[0])

    def holds(self, name: str) -> int:
        """Recipients that this worker has marked and not recorded."""
        processes = self.installation.system.supervisor.processes_of(name)
        ((count,),) = self.ask(
            "SELECT coalesce(sum(attempted_to - recorded_total), 0) FROM batches"
            " WHERE state = 'claimed' AND split_part(claimed_by, '/', 2)::int = ANY(%s)",
            processes,
        )
        return int(str(count))

    def until_planned(self, *campaigns: Campaign) -> None:
        waiting = "SELECT FROM message_progress WHERE run = ANY(%s) AND planned_at IS NULL"
        wait_until(lambda: not self.ask(waiting, [campaign.run for campaign in campaigns]), seconds=SECONDS)

    def until_at_work(self, name: str) -> None:
        wait_until(lambda: self.holds(name) > 0, seconds=SECONDS)

    # Faults

    def kill(self, name: str) -> None:
        """SIGKILL to every process of the role, which stays away until `mend`."""
        self.installation.system.supervisor.kill(name)

    def kill_child(self, name: str) -> None:
        """SIGKILL to the process of a worker that delivers; the worker itself replaces it."""
        for child in self.installation.system.supervisor.processes_of(name)[1:]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)

    def terminate(self, *names: str) -> None:
        """SIGTERM, until they have gone by themselves, as before a new version starts."""
        supervisor = self.installation.system.supervisor
        for name in names:
            process = supervisor.process_id(name)
            assert process is not None
            os.kill(process, signal.SIGTERM)
        wait_until(lambda: all(supervisor.process_id(name) is None for name in names), seconds=30)

    def start_again(self, *names: str) -> None:
        """These roles, or all that are gone."""
        supervisor = self.installation.system.supervisor
        for role in supervisor.roles:
            if (not names or role.name in names) and supervisor.process_id(role.name) is None:
                supervisor.start(role)

    def mend(self, *names: str) -> None:
        """Start these roles again, or all that are gone, until they are ready."""
        self.start_again(*names)
        self.installation.system.supervisor.await_ready(*names, timeout_seconds=SECONDS)

    @contextmanager
    def replaced(self, environments: Mapping[str, Mapping[str, str]]) -> Iterator[None]:
        """Roles by name that are killed and run with these further variables; afterwards without them."""
        original = [role for role in self.installation.system.supervisor.roles if role.name in environments]
        self._exchange(
            [replace(role, environment={**role.environment, **environments[role.name]}) for role in original]
        )
        try:
            yield
        finally:
            self._exchange(original)

    def _exchange(self, roles: list[Role]) -> None:
        supervisor = self.installation.system.supervisor
        for role in roles:
            if supervisor.process_id(role.name) is not None:
                supervisor.kill(role.name)
            supervisor.start(role)
        supervisor.await_ready(*(role.name for role in roles), timeout_seconds=SECONDS)

    @contextmanager
    def further_api(self, environment: Mapping[str, str] | None = None) -> Iterator[str]:
        """A second API, with these further variables; its endpoint."""
        supervisor = self.installation.system.supervisor
        port = choose_port()
        role = api_role("127.0.0.1", port)
        role = replace(role, name="api-2", environment={**role.environment, **(environment or {})})
        supervisor.start(role)
        supervisor.await_ready(role.name, timeout_seconds=SECONDS)
        try:
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            if supervisor.process_id(role.name) is not None:
                supervisor.kill(role.name)
            del supervisor._children[role.name]

    @contextmanager
    def frozen(self, name: str) -> Iterator[None]:
        """A role that stands still, with all of its processes."""
        with _stopped(self.installation.system.supervisor.processes_of(name)):
            yield

    @contextmanager
    def frozen_postgres(self) -> Iterator[None]:
        postgres = self.installation.system.postgres
        assert postgres is not None
        assert postgres.process_id is not None
        with _stopped([postgres.process_id, *descendants(postgres.process_id)]):
            yield

    def metric(self, name: str, sample: str) -> float:
        """The sum of a role's samples that begin like this; 0 where there are none."""
        (role,) = [role for role in self.installation.system.roles if role.name == name]
        port = int(role.environment["TIDINGS_METRICS_PORT"])
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        connection.request("GET", "/metrics")
        lines = connection.getresponse().read().decode().splitlines()
        connection.close()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(sample))

    def log_lines(self, name: str, read_from: int = 0) -> list[dict[str, object]]:
        """What a role has written, behind so many bytes. Fails at a line that is no JSON."""
        log = self.installation.system.supervisor.log_of(name).read_bytes()[read_from:]
        return [json.loads(line) for line in log.splitlines()]


@contextmanager
def _stopped(processes: list[int]) -> Iterator[None]:
    for process in processes:
        os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        for process in processes:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGCONT)


_taken: set[int] = set()


def _is_new(channel: str, prefix: str) -> bool:
    """Whether people of this prefix have other numbers than those before (see Factory.audience)."""
    if channel != "sms":
        return True
    part = hashlib.sha256(prefix.encode()).digest()[0] % 90
    is_new = part not in _taken
    _taken.add(part)
    return is_new


@dataclass(slots=True)
class Callers:
    """Single messages through the API, from several callers, each call on a connection of its own."""

    rig: Rig
    endpoints: list[str]  # as behind a load balancer: a refused connection is tried at the next
    statuses: Counter[int] = field(default_factory=Counter)
    without_advice: int = 0  # answers of 503 that do not say when to come again
    broken: list[str] = field(default_factory=list)  # connections that ended without an answer
    accepted: list[str] = field(default_factory=list)  # message ids
    _stop: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def calling(self, *, callers: int = 3, pause_seconds: float = 0.05) -> Iterator["Callers"]:
        topic = self.rig.audience("push", 20)
        threads = [
            threading.Thread(target=self._call, args=(f"{topic}-{number + 1}", pause_seconds))
            for number in range(callers)
        ]
        for thread in threads:
            thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            for thread in threads:
                thread.join()

    def finish(self) -> Counter[str]:
        """Every message that was accepted ends, and what is on file agrees with the provider; how many ended how."""
        unfinished = "SELECT FROM messages WHERE id = ANY(%s) AND status NOT IN ('sent', 'failed') LIMIT 1"
        wait_until(lambda: not self.rig.ask(unfinished, self.accepted), seconds=SECONDS)
        rows = self.rig.ask(
            "SELECT messages.id, status, resends FROM messages JOIN message_progress USING (run)"
            " WHERE messages.id = ANY(%s)",
            self.accepted,
        )
        with self.rig.installation.record.open() as lines:
            copies = Counter(json.loads(line)["title"] for line in lines if "Single" in line)
        assert len(rows) == len(self.accepted)
        wrong = [row for row in rows if not (row[1] == "sent") <= copies[f"Single {row[0]}"] <= 1 + row[2]]
        assert wrong == []
        return Counter(status for _, status, _ in rows)

    def _call(self, target: str, pause_seconds: float) -> None:
        while not self._stop.wait(pause_seconds):
            message_id = f"single{next(_numbers)}"
            body = {"messageId": message_id, "title": f"Single {message_id}", "body": "Hello.", "targets": [target]}
            for endpoint in self.endpoints:
                try:
                    status, advice = self._post(endpoint, body)
                except ConnectionRefusedError:
                    continue
                except (OSError, http.client.HTTPException) as error:
                    self.broken.append(type(error).__name__)
                    break
                self.statuses[status] += 1
                self.without_advice += status == 503 and advice is None
                if status == 201:
                    self.accepted.append(message_id)
                break

    def _post(self, endpoint: str, body: dict[str, Any]) -> tuple[int, str | None]:
        factory, address = self.rig.installation.factory, urlsplit(endpoint)
        connection = http.client.HTTPConnection(address.netloc, timeout=60)
        try:
            headers = {
                "Content-Type": "application/json",
                "X-Appwrite-Project": factory.project_id,
                "X-Appwrite-Key": factory.key,
            }
            connection.request("POST", f"{address.path}/messaging/messages/push", json.dumps(body), headers)
            answer = connection.getresponse()
            answer.read()
            return answer.status, answer.getheader("Retry-After")
        finally:
            connection.close()


def bound(kills: int) -> int:
    """The most copies that so many killed or frozen processes may cost."""
    return kills * WINDOW
