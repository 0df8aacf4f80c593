"""Ledger partitions: one a month, created ahead; a DEFAULT partition catches what has none and raises an alarm."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import LiteralString

import psycopg

from shared.db.session import HotConnection
from shared.ids import run_floor

PARTITIONED_TABLES = ("deliveries", "attempts")
MONTHS_AHEAD = 3

# A function of the first migration; creating a partition needs no superuser, only the table's owner. The lock, any
# number that all have in common, is there before the function looks: two who found it missing would both create it.
PARTITION_SQL: LiteralString = """
SELECT tidings_create_partition(%(parent)s, %(name)s, %(low)s, %(high)s) FROM pg_advisory_xact_lock(7310579663)
"""


@dataclass(frozen=True, slots=True)
class Partition:
    """Rows of `parent` whose run lies in [low, high)."""

    parent: str
    name: str
    low: int
    high: int

    def parameters(self) -> dict[str, object]:
        return {"parent": self.parent, "name": self.name, "low": self.low, "high": self.high}


def _month_start(year: int, month: int) -> datetime:
    """`month` counts from 1 and may run past 12."""
    return datetime(year + (month - 1) // 12, (month - 1) % 12 + 1, 1, tzinfo=UTC)


def partitions_ahead(now: datetime) -> Iterator[Partition]:
    """The partitions of this month and the following ones, for each partitioned table."""
    for offset in range(MONTHS_AHEAD + 1):
        start = _month_start(now.year, now.month + offset)
        end = _month_start(now.year, now.month + offset + 1)
        for parent in PARTITIONED_TABLES:
            yield Partition(
                parent,
                f"{parent}_{start:%Y_%m}",
                run_floor(int(start.timestamp() * 1000)),
                run_floor(int(end.timestamp() * 1000)),
            )


async def create_partitions(connection: HotConnection, now: datetime) -> list[str]:
    """Each in a commit of its own. The names of those that could not be: the DEFAULT partition holds rows of theirs."""
    blocked = []
    for partition in partitions_ahead(now):
        try:
            async with connection.transaction():
                await connection.execute(PARTITION_SQL, partition.parameters())
        except psycopg.errors.CheckViolation:
            blocked.append(partition.name)
    return blocked


async def count_default_rows(connection: HotConnection) -> int:
    """Rows that no partition was there for; counted up to 1,000 of each table."""
    cursor = await connection.execute(
        "SELECT (SELECT count(*) FROM (SELECT FROM deliveries_default LIMIT 1000) AS strays)"
        " + (SELECT count(*) FROM (SELECT FROM attempts_default LIMIT 1000) AS strays)"
    )
    row = await cursor.fetchone()
    assert row is not None
    return int(row[0])
