"""Two tenants on one installation of real processes. Each has an account of every kind, and the first has one more,
which troubles befall.
"""

import json
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Any

import requests

from shared.cli.connection import read_connection
from shared.cli.local_roles import Simulation, read_simulation, simulator_role, worker_role
from shared.cli.system import Plan, System
from shared.domain.queues import PROVIDER_KINDS
from shared.domain.status import Channel
from tests.directories import new_directory
from tests.factories import Factory

WORKERS = ("worker-1", "worker-2")

STOP_GRACE_SECONDS = 10.0


class Owner(StrEnum):
    """Whose account it is, and which of its people."""

    TROUBLED = "troubled"  # the first tenant's, which troubles befall
    SPARED = "spared"  # people of that same account whose addresses no trouble concerns
    OWN = "own"  # the first tenant's other account of the kind
    OTHER = "other"  # the second tenant's


_AREA_CODES = {Owner.TROUBLED: "+1202", Owner.SPARED: "+1303", Owner.OWN: "+1404", Owner.OTHER: "+1505"}
_FIRST_DIGITS = {Owner.TROUBLED: "aaaa", Owner.SPARED: "bbbb", Owner.OWN: "cccc", Owner.OTHER: "dddd"}
"""Of Apple's device tokens."""


def pattern_of(kind: str, owner: Owner) -> str:
    """What the addresses of an account's people have in common, as the simulator's `recipients` takes it."""
    if kind == "apns":
        return f"{_FIRST_DIGITS[owner]}*"
    match PROVIDER_KINDS[kind]:
        case Channel.EMAIL:
            return f"*@{owner}.example"
        case Channel.SMS:
            return f"{_AREA_CODES[owner]}*"
        case Channel.PUSH:
            return f"token-{owner}-*"


def _addresses(kind: str, owner: Owner) -> str:
    """As SQL; n is the person's number."""
    if kind == "apns":
        return f"'{_FIRST_DIGITS[owner]}' || substr(encode(sha256(convert_to('{owner}' || n, 'UTF8')), 'hex'), 5)"
    match PROVIDER_KINDS[kind]:
        case Channel.EMAIL:
            return f"'{kind}' || n || '@{owner}.example'"
        case Channel.SMS:
            number = sorted(PROVIDER_KINDS).index(kind) + 20
            return f"'{_AREA_CODES[owner]}{number}' || lpad(n::text, 5, '0')"
        case Channel.PUSH:
            return f"'token-{owner}-' || n"


@dataclass(slots=True)
class Account:
    """A provider of a tenant, and people who are reached through it alone."""

    kind: str
    owner: Owner
    tenant: "Tenant" = field(repr=False)
    _turn: int = 0

    @property
    def channel(self) -> Channel:
        return PROVIDER_KINDS[self.kind]

    @property
    def name(self) -> str:
        """The start of its people's ids."""
        return f"{self.kind}_{self.owner}"

    @property
    def provider(self) -> str:
        """The provider's id."""
        return f"{self.kind}_{Owner.TROUBLED if self.owner is Owner.SPARED else self.owner}"

    @property
    def campaign(self) -> str:
        """The topic of all its people."""
        return f"{self.name}_all"

    @property
    def circle(self) -> str:
        """The topic of CIRCLE of its people: a bulk message that is soon delivered."""
        return f"{self.name}_circle"

    def person(self) -> str:
        """The target of somebody; another one each time."""
        self._turn += 1
        return f"{self.name}-{self._turn % self.tenant.people + 1}"

    def send(self, words: str, *, whom: Mapping[str, Sequence[str]], **content: Any) -> requests.Response:
        """Through the API, with these words where the record shows them as its title. `whom`: targets or topics."""
        said: dict[str, Any] = {
            Channel.EMAIL: {"subject": words, "content": "Hello there."},
            Channel.SMS: {"content": words},
            Channel.PUSH: {"title": words, "body": "Hello there."},
        }[self.channel]
        body = {"messageId": "unique()", **said, **{name: list(ids) for name, ids in whom.items()}, **content}
        return self.tenant.call("POST", f"/messaging/messages/{self.channel}", body)


CIRCLE = 20


@dataclass(slots=True)
class Tenant:
    factory: Factory
    endpoint: str  # of the API: http://127.0.0.1:PORT/v1
    people: int  # of each account
    accounts: dict[tuple[str, Owner], Account] = field(default_factory=dict)

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> requests.Response:
        headers = {"X-Appwrite-Project": self.factory.project_id, "X-Appwrite-Key": self.factory.key}
        return requests.request(method, f"{self.endpoint}{path}", json=body, headers=headers, timeout=60)

    def open_account(self, kind: str, owner: Owner, credentials: Mapping[str, Any]) -> Account:
        account = Account(kind, owner, self)
        sender: dict[str, Any] = {
            Channel.EMAIL: {"fromEmail": "news@example.com", "fromName": "News"},
            Channel.SMS: {"from": "+12065550100"},
            Channel.PUSH: {},
        }[account.channel]
        if account.provider == account.name:
            body = {"providerId": account.name, "name": account.name, "enabled": True, **sender, **credentials}
            made = self.call("POST", f"/messaging/providers/{kind}", body)
            assert made.ok, made.text
        self._settle_people(account)
        self.accounts[kind, owner] = account
        return account

    def _settle_people(self, account: Account) -> None:
        factory, prefix = self.factory, account.name
        factory.audience(self.people, channel=account.channel, prefix=prefix)
        with factory.connect() as connection:
            connection.execute(
                f"UPDATE targets SET provider_id = %s, identifier = {_addresses(account.kind, account.owner)}"  # noqa: S608
                " FROM (SELECT id AS target_id, split_part(id, '-', 2) AS n FROM targets"
                " WHERE project_seq = %s AND starts_with(id, %s)) AS numbered"
                " WHERE project_seq = %s AND id = target_id".encode(),
                [account.provider, factory.project_seq, f"{prefix}-", factory.project_seq],
            )
        factory.subscribe(factory.topic(account.campaign), prefix=prefix)
        factory.subscribe(factory.topic(account.circle), prefix=prefix, last=CIRCLE)

    def forget_messages(self) -> None:
        """Delete what is under way: nothing more of it is sent."""
        self._do("UPDATE messages SET deleted_at = now() WHERE project_seq = %s AND deleted_at IS NULL")

    def renew_accounts(self) -> None:
        """As after an edit: workers forget what they had learnt of them."""
        self._do(
            "UPDATE providers SET version = version + 1, fault_reason = NULL, fault_since = NULL WHERE project_seq = %s"
        )

    def _do(self, statement: str) -> None:
        with self.factory.connect() as connection:
            connection.execute(statement.encode(), [self.factory.project_seq])


@dataclass
class Neighbourhood:
    """Everything runs; trouble is made through `set_faults`."""

    system: System
    first: Tenant
    second: Tenant
    healthy_smtp: Simulation  # the mail server of all SMTP accounts but the troubled one

    @cached_property
    def records(self) -> tuple[Path, ...]:
        """What the providers accepted."""
        return tuple(self._directory / name / "record.jsonl" for name in ("simulator", "simulator-2"))

    @property
    def _directory(self) -> Path:
        return self.system.directory.path

    def account(self, kind: str, owner: Owner) -> Account:
        tenant = self.second if owner is Owner.OTHER else self.first
        return tenant.accounts[kind, owner]

    def set_faults(self, kind: str, profile: Mapping[str, Any]) -> None:
        """Of the simulated provider of a kind; {}: none."""
        assert self.system.simulation is not None
        request = urllib.request.Request(  # noqa: S310  # our own simulator
            f"{self.system.simulation.inbox}/faults",
            method="PUT",
            data=json.dumps({kind: dict(profile)}).encode(),
            headers={"content-type": "application/json"},
        )
        urllib.request.urlopen(request).close()  # noqa: S310

    def replace_workers(self) -> None:
        """Kill them and start others: a trouble that is still felt would be measured with the next one."""
        for name in WORKERS:
            self.system.supervisor.kill(name)
        self._start_workers()

    def kill_workers(self) -> None:
        """At the end: one that waits for a silent server takes as long to stop as its calls may."""
        for name in WORKERS:
            self.system.supervisor.kill(name)

    def _start_workers(self) -> None:
        for name in WORKERS:
            role = worker_role(name, self.system.settings)
            self.system.supervisor.start(replace(role, grace_seconds=STOP_GRACE_SECONDS))
        self.system.supervisor.await_ready(*WORKERS, timeout_seconds=60)


@contextmanager
def running_neighbourhood(
    kinds: Sequence[str], *, people: int, variables: Mapping[str, str], say: Callable[[str], None] = print
) -> Iterator[Neighbourhood]:
    """API, scheduler, two workers, two simulators and embedded engines; gone with the block.

    The installation counts as live, so that SMTP accounts may have mail servers of their own; all other kinds are sent
    to the simulator by their endpoints, and no account names any host but this one.
    """
    live = {"TIDINGS_LIVE": "true", "TIDINGS_SMTP_ALLOWED_HOSTS": "127.0.0.1", "TIDINGS_LOG_LEVEL": "warning"}
    system = System(Plan(directory=new_directory(), workers=0, port=0, variables={**live, **variables}), say=say)
    try:
        with system:
            directory = system.directory.path / "simulator-2"
            system.supervisor.start(replace(simulator_role(directory), name="simulator-2"))
            system.supervisor.await_ready("simulator-2")
            del system.supervisor.environment["TIDINGS_ENDPOINT_SMTP"]
            connection = read_connection(system.directory.path)
            assert connection is not None
            first, second = (
                Tenant(Factory(system.settings, project_id=name), connection.endpoint, people)
                for name in ("first", "second")
            )
            neighbourhood = Neighbourhood(system, first, second, read_simulation(directory))
            _open_accounts(neighbourhood, kinds)
            neighbourhood._start_workers()
            yield neighbourhood
            neighbourhood.kill_workers()
    finally:
        system.directory.remove()


def _open_accounts(neighbourhood: Neighbourhood, kinds: Sequence[str]) -> None:
    said: dict[str, Any] = json.loads((neighbourhood.records[0].parent / "simulator.json").read_text())
    for kind in kinds:
        for owner in Owner:
            tenant = neighbourhood.second if owner is Owner.OTHER else neighbourhood.first
            if kind == "smtp":
                healthy = neighbourhood.healthy_smtp.endpoints["smtp"]
                where = said["smtp"] if owner is Owner.TROUBLED else healthy
                host, _, port = where.rpartition(":")
                credentials: Mapping[str, Any] = {"host": host, "port": int(port), "autoTLS": False}
            elif kind == "fcm":
                credentials = {"serviceAccountJSON": _service_account(said["http"], f"project-{owner}")}
            else:
                credentials = said["credentials"][kind]
            tenant.open_account(kind, owner, credentials)


def _service_account(inbox: str, project: str) -> Any:
    return requests.get(f"{inbox}/service-account", params={"project": project}, timeout=10).json()
