"""Which queues hold work that is due, and how old the oldest is."""

from collections.abc import Sequence
from dataclasses import dataclass

from psycopg.rows import class_row

from shared.db.session import HotConnection


@dataclass(frozen=True, slots=True)
class OpenQueue:
    """A queue with batches that nobody has claimed."""

    queue: str
    oldest_seconds: float  # since its oldest batch has been due; below zero: until it is

    @property
    def is_due(self) -> bool:
        return self.oldest_seconds >= 0


async def find_open_queues(connection: HotConnection, queues: Sequence[str]) -> list[OpenQueue]:
    """Those among these with a batch, due or not yet, in the order given. One probe of batches_due_idx each."""
    async with connection.cursor(row_factory=class_row(OpenQueue)) as cursor:
        await cursor.execute(
            "SELECT queue, extract(epoch FROM now() - oldest.due_at)::float8 AS oldest_seconds"
            " FROM unnest(%s::text[]) WITH ORDINALITY AS asked (queue, position)"
            " CROSS JOIN LATERAL (SELECT due_at FROM batches WHERE state = 'due' AND batches.queue = asked.queue"
            " ORDER BY due_at LIMIT 1) AS oldest"
            " ORDER BY position",
            [list(queues)],
        )
        return await cursor.fetchall()


async def find_due_fan_outs(connection: HotConnection) -> list[bool]:
    """Whether messages wait to be planned: False for small ones, True for large ones. One probe of an index each."""
    cursor = await connection.execute(
        "SELECT is_bulk FROM (VALUES (false), (true)) AS lane (is_bulk)"
        " WHERE EXISTS (SELECT FROM fan_outs WHERE fan_outs.is_bulk = lane.is_bulk AND due_at <= now())"
    )
    return [is_bulk for (is_bulk,) in await cursor.fetchall()]


async def oldest_due_fan_out_seconds(connection: HotConnection) -> float | None:
    """Age of the oldest message waiting to be planned; None when there is none."""
    cursor = await connection.execute(
        "SELECT max(extract(epoch FROM now() - oldest.due_at))::float8"
        " FROM (VALUES (true), (false)) AS lane (is_bulk)"
        " CROSS JOIN LATERAL (SELECT due_at FROM fan_outs"
        " WHERE fan_outs.is_bulk = lane.is_bulk AND due_at <= now() ORDER BY due_at LIMIT 1) AS oldest"
    )
    row = await cursor.fetchone()
    assert row is not None
    return row[0]  # type: ignore[no-any-return]


async def count_due_batches(connection: HotConnection, queue: str, *, limit: int = 10_000) -> int:
    """Due batches of a queue, counted up to `limit`: a bounded index range, safe to ask often."""
    cursor = await connection.execute(
        "SELECT count(*) FROM"
        " (SELECT FROM batches WHERE state = 'due' AND queue = %s AND due_at <= now() LIMIT %s) AS due",
        [queue, limit],
    )
    row = await cursor.fetchone()
    assert row is not None
    return int(row[0])
