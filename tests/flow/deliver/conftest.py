"""People to send to, and what became of it: in the ledger, at the provider, on the message."""

import itertools
import json
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import requests

from shared.cli.verdict import Verdict
from shared.domain.queues import FAN_OUT_QUEUE
from shared.queue.rings import Ringer
from tests.flow.conftest import Installation

SECONDS = 20.0
"""How long a test waits for its message to finish; each does within a few."""

_numbers = itertools.count(1)


@dataclass(slots=True)
class Desk:
    """Sends to people of this test's own and looks at the result."""

    installation: Installation
    ringer: Ringer

    def people(self, count: int, *, channel: str, word: str = "person") -> str:
        """The topic of `count` people with one target each. `word` may be a magic one of the simulator.

        Their ids are TOPIC-1 ..., their addresses TOPIC1@example.com ... or token-TOPIC-1 ...
        """
        factory = self.installation.factory
        topic = f"{word}_{next(_numbers)}_"
        factory.audience(count, channel=channel, prefix=topic)
        factory.subscribe(factory.topic(topic), prefix=topic)
        return topic

    def send(self, *topics: str, channel: str, data: dict[str, object] | None = None, **named: Any) -> int:
        """Accept a message to these topics; its run."""
        message_id = f"message{next(_numbers)}"
        run = self.installation.factory.message(message_id, channel=channel, topics=list(topics), data=data, **named)
        self.ringer.ring(FAN_OUT_QUEUE)
        return run

    def finish(self, run: int) -> Verdict:
        """Wait until the message has finished; what the judge says of it, which must be nothing."""
        self.installation.await_finish(run, seconds=SECONDS)
        verdict = self.installation.judge(run)
        assert verdict.violations == []
        return verdict

    def ask(self, question: str, *parameters: object) -> list[Any]:
        with self.installation.factory.connect() as connection:
            return connection.execute(question.encode(), parameters).fetchall()

    def do(self, statement: str, *parameters: object) -> None:
        with self.installation.factory.connect() as connection:
            connection.execute(statement.encode(), parameters)

    def message(self, run: int) -> tuple[str, list[str]]:
        """Status and errors."""
        ((status, errors),) = self.ask(
            "SELECT status, errors FROM messages JOIN message_progress USING (run) WHERE run = %s", run
        )
        return status, errors

    def states(self, run: int) -> dict[str, int]:
        return dict(self.ask("SELECT state, count(*) FROM recipients WHERE run = %s GROUP BY state", run))

    def attempts(self, run: int) -> dict[tuple[str, str], int]:
        """How often each (outcome, decision) is on file."""
        rows = self.ask("SELECT outcome, decision, count(*) FROM attempts WHERE run = %s GROUP BY 1, 2", run)
        return {(outcome, decision): count for outcome, decision, count in rows}

    def until(self, question: str, *parameters: object, seconds: float = SECONDS) -> None:
        """Wait for a row."""
        deadline = time.monotonic() + seconds
        while not self.ask(question, *parameters):
            assert time.monotonic() < deadline, "waited in vain"
            time.sleep(0.02)

    def until_under_way(self, run: int) -> None:
        """Some are sent, some are not."""
        self.until("SELECT FROM deliveries WHERE run = %s AND state = 'sent' LIMIT 1", run)

    def captured(self, topic: str) -> list[dict[str, Any]]:
        """What the provider accepted for these people, in that order."""
        with self.installation.record.open() as lines:
            entries = [json.loads(line) for line in lines]
        return [entry for entry in entries if topic in entry["recipient"]]

    def copies(self, topic: str) -> Counter[str]:
        return Counter(entry["recipient"] for entry in self.captured(topic))

    def call(self, method: str, path: str, body: dict[str, object] | None = None) -> requests.Response:
        return self.installation.call(method, path, body)


@pytest.fixture
def desk(installation: Installation) -> Iterator[Desk]:
    ringer = Ringer(installation.system.settings)
    ringer.start()
    installation.set_faults(fcm={}, smtp={})
    yield Desk(installation, ringer)
    installation.set_faults(fcm={}, smtp={})
    ringer.stop()
