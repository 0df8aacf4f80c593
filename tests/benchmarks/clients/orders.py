"""What the client programs in Python have in common: orders on standard input, sending, a report for each.

{"run": 1, "first": 1, "total": 500, "is_recorded": true}  ->  {"started_at": ..., "ended_at": ..., "failures": []}
"""

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import psycopg
import uvloop

from tests.benchmarks.addresses import AddressForm
from tests.benchmarks.clients.outcomes import SENT, Outcomes, Row


@dataclass(frozen=True, slots=True)
class Terms:
    """Where to send to and as whom."""

    kind: str
    origin: str  # "https://127.0.0.1:8443", "smtp://127.0.0.1:2525"
    ca_file: str
    database_url: str
    account: dict[str, Any]  # credentials and options, by their names in the API
    addresses: AddressForm
    content: dict[str, str]  # likewise
    in_flight: int  # recipients of this process; our adapters need it for SMTP alone

    @property
    def port(self) -> int:
        return int(self.origin.rpartition(":")[2])

    @property
    def host(self) -> str:
        return self.origin.rpartition("//")[2].partition(":")[0]

    @classmethod
    def read(cls, text: str) -> "Terms":
        fields = json.loads(text)
        return cls(**fields | {"addresses": AddressForm(**fields["addresses"])})


class Client(Protocol):
    calls: int  # of `send`, at a time
    group: int  # recipients of a call

    async def send(self, recipients: Sequence[int]) -> list[Row]:
        """The outcome for each. What the library raises ends the program."""


def run_client(make: Callable[[Terms], Awaitable[Client]]) -> None:
    """The program: until its input ends."""
    uvloop.run(_serve(make, Terms.read(sys.argv[1])))


async def _serve(make: Callable[[Terms], Awaitable[Client]], terms: Terms) -> None:
    client = await make(terms)
    loop = asyncio.get_running_loop()
    async with await psycopg.AsyncConnection.connect(terms.database_url, autocommit=True) as connection:
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            print(json.dumps(await _obey(client, connection, **json.loads(line))), flush=True)


async def _obey(
    client: Client,
    connection: psycopg.AsyncConnection[tuple[object, ...]],
    *,
    run: int,
    first: int,
    total: int,
    is_recorded: bool,
) -> dict[str, Any]:
    started_at = time.time()
    outcomes = Outcomes(connection, run) if is_recorded else None
    groups = _groups(range(first, first + total), client.group)
    failures: list[str] = []

    async def send_groups() -> None:
        for group in groups:  # one iterator for all: each takes the next
            rows = await client.send(group)
            failures.extend(row.state for row in rows if row.state != SENT)
            if outcomes:
                outcomes.add(rows)

    await asyncio.gather(*(send_groups() for _ in range(client.calls)))
    if outcomes:
        await outcomes.close()
    return {"started_at": started_at, "ended_at": time.time(), "failures": failures[:3]}


def _groups(recipients: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    return (recipients[start : start + size] for start in range(0, len(recipients), size))
