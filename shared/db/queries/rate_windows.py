"""Windows that count calls: fixed, aligned to multiples of their length by the database's clock."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from psycopg.rows import class_row

from shared.db.session import HotConnection

# the first call of a window takes some old windows with it, so the table stays as small as what is still counted
_COUNT = """
WITH ending AS (
    SELECT to_timestamp((floor(extract(epoch FROM now()) / %(seconds)s) + 1) * %(seconds)s) AS ends_at
), counted AS (
    INSERT INTO rate_windows (key, ends_at, calls) SELECT %(key)s, ends_at, 1 FROM ending
    ON CONFLICT (key, ends_at) DO UPDATE SET calls = rate_windows.calls + 1
    RETURNING calls, ends_at
), swept AS (
    DELETE FROM rate_windows USING (
        SELECT key, ends_at FROM rate_windows WHERE ends_at < now() ORDER BY ends_at LIMIT 10 FOR UPDATE SKIP LOCKED
    ) AS old
    WHERE (SELECT calls FROM counted) = 1 AND rate_windows.key = old.key AND rate_windows.ends_at = old.ends_at
)
SELECT calls, ends_at FROM counted
"""

REMEMBERED_DAYS: Final = 60
STEP_DAYS: Final = 30

_REMEMBER = """
INSERT INTO rate_windows (key, ends_at, calls)
SELECT %(key)s, to_timestamp(
    (floor(extract(epoch FROM now()) / (%(step)s * 86400)) + 1) * %(step)s * 86400 + %(days)s * 86400
), 0
ON CONFLICT DO NOTHING
"""


@dataclass(frozen=True, slots=True)
class RateCount:
    calls: int  # this one included
    ends_at: datetime


async def count_call(connection: HotConnection, key: bytes, *, seconds: int) -> RateCount:
    async with connection.cursor(row_factory=class_row(RateCount)) as cursor:
        await cursor.execute(_COUNT, {"key": key, "seconds": seconds})
        state = await cursor.fetchone()
    assert state is not None
    return state


async def take_back_call(connection: HotConnection, key: bytes, ends_at: datetime) -> None:
    """Out of the window that count_call() put it in."""
    await connection.execute(
        "UPDATE rate_windows SET calls = calls - 1 WHERE key = %s AND ends_at = %s AND calls > 0", [key, ends_at]
    )


async def remember(connection: HotConnection, key: bytes) -> None:
    """For REMEMBERED_DAYS at least and a STEP_DAYS longer at most, in one row a step; the sweep takes it, too."""
    await connection.execute(_REMEMBER, {"key": key, "days": REMEMBERED_DAYS, "step": STEP_DAYS})


async def is_remembered(connection: HotConnection, key: bytes) -> bool:
    cursor = await connection.execute("SELECT FROM rate_windows WHERE key = %s AND ends_at > now() LIMIT 1", [key])
    return cursor.rowcount > 0


async def forget_calls(connection: HotConnection, key: bytes) -> None:
    await connection.execute("DELETE FROM rate_windows WHERE key = %s", [key])


_SHARE = 100
"""Of what is left in a window the part that one process takes at a time."""

_TAKE = f"""
WITH ending AS (
    SELECT to_timestamp((floor(extract(epoch FROM now()) / %(seconds)s) + 1) * %(seconds)s) AS ends_at
), known AS (
    INSERT INTO rate_windows (key, ends_at, calls) SELECT %(key)s, ends_at, 0 FROM ending
    ON CONFLICT (key, ends_at) DO UPDATE SET calls = rate_windows.calls
    RETURNING calls, ends_at
)
SELECT greatest(least(greatest(1, (%(limit)s - calls) / {_SHARE}), %(limit)s - calls), 0), ends_at,
    extract(epoch FROM ends_at - now())::float8
FROM known
"""  # noqa: S608  # a constant


@dataclass(frozen=True, slots=True)
class TakenCalls:
    calls: int  # 0: none are left
    seconds_left: float  # until the window ends


async def take_calls(connection: HotConnection, key: bytes, *, seconds: int, limit: int) -> TakenCalls:
    """A share of the calls that are left in this window. Who asks at once waits until the transaction ends."""
    row = await (await connection.execute(_TAKE, {"key": key, "seconds": seconds, "limit": limit})).fetchone()
    assert row is not None
    calls, ends_at, seconds_left = row
    if calls:
        await connection.execute(
            "UPDATE rate_windows SET calls = calls + %s WHERE key = %s AND ends_at = %s", [calls, key, ends_at]
        )
    return TakenCalls(calls, seconds_left)
