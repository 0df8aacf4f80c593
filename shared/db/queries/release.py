"""Releasing scheduled messages whose time has come, by the database's clock."""

from dataclasses import dataclass

from psycopg.rows import class_row

from shared.db.queries.accept import START_RUN_SQL
from shared.db.session import HotConnection

# One statement: the status moves together with the run and the due fan-out, so a crash releases all or nothing.
# SKIP LOCKED and the status make it safe for any number of schedulers; PATCH and DELETE compare status and version.
_RELEASE = f"""
WITH late AS (
    SELECT seq, scheduled_at
    FROM messages
    WHERE status = 'scheduled' AND deleted_at IS NULL AND scheduled_at <= now()
    ORDER BY scheduled_at
    LIMIT %(limit)s
    FOR UPDATE SKIP LOCKED
), started AS (
    UPDATE messages
    SET status = 'processing', run = tidings_draw_run(), version = version + 1, updated_at = now(),
        expires_at = now() + %(time_to_live)s * interval '1 second'
    FROM late
    WHERE messages.seq = late.seq
    RETURNING messages.run, messages.project_seq, messages.seq, messages.lane, late.scheduled_at
), {START_RUN_SQL}
SELECT count(*)::int AS released, coalesce(extract(epoch FROM max(now() - scheduled_at)), 0)::float8 AS latest_seconds
FROM started
"""  # noqa: S608  # constants of ours


@dataclass(frozen=True, slots=True)
class Released:
    released: int
    latest_seconds: float  # lateness of the one that waited longest; 0 when none was due


async def release_due_messages(connection: HotConnection, *, time_to_live_seconds: float, limit: int = 500) -> Released:
    """Make due scheduled messages `processing`. The caller repeats while `released` equals `limit`."""
    async with connection.cursor(row_factory=class_row(Released)) as cursor:
        await cursor.execute(_RELEASE, {"limit": limit, "time_to_live": time_to_live_seconds})
        released = await cursor.fetchone()
    assert released is not None
    return released
