"""Sessions of ours that stand still in the middle of a transaction, and hold what they have locked."""

from shared.db.session import HotConnection

# Postgres ends a transaction that is idle, but one that waits for the rest of a COPY is not idle, and a timeout of its
# statement is acted upon only when more comes (tried with Postgres 18).
_END = """
SELECT count(*) FILTER (WHERE pg_terminate_backend(pid)) FROM pg_stat_activity
WHERE datname = current_database() AND usename = current_user AND application_name LIKE 'tidings-%%'
    AND state = 'active' AND wait_event = 'ClientRead' AND query LIKE 'COPY %%'
    AND now() - query_start > %s * interval '1 second'
"""


async def end_silent_copies(connection: HotConnection, *, after_seconds: float) -> int:
    """End what has been in a COPY for so long, as when its process or its machine stands still; how many."""
    cursor = await connection.execute(_END, [after_seconds])
    row = await cursor.fetchone()
    assert row is not None
    return int(row[0])
