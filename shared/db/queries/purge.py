"""Removing in pages what was deleted at once for the caller."""

from shared.db.queries.topics import LOCK_TOPICS_OF, LOWER_TOTALS
from shared.db.session import HotConnection

PAGE = 5_000
TARGETS_PAGE = 1_000
"""Fewer: their topics' rows are held meanwhile."""


async def purge_deleted_topics(connection: HotConnection) -> int:
    """One page of rows that deleted topics left behind; 0 when there are none."""
    cursor = await connection.execute(
        "DELETE FROM subscribers WHERE seq IN (SELECT subscribers.seq FROM topics"
        " JOIN subscribers ON subscribers.topic_seq = topics.seq WHERE topics.deleted_at IS NOT NULL LIMIT %s)",
        [PAGE],
    )
    if cursor.rowcount:
        return cursor.rowcount
    cursor = await connection.execute(
        "DELETE FROM topics WHERE deleted_at < now() - interval '1 minute'"
        " AND NOT EXISTS (SELECT FROM subscribers WHERE subscribers.topic_seq = topics.seq)"
    )
    return cursor.rowcount


_EXPIRED = """
SELECT seq FROM targets WHERE expired AND updated_at < now() - %(after)s * interval '1 second'
ORDER BY seq LIMIT %(page)s FOR UPDATE
"""


async def purge_expired_targets(connection: HotConnection, *, after_seconds: float) -> int:
    """One page of targets whose address died that long ago, out of their topics and away; how many.

    Locks as whoever changes subscribers does: targets by seq, topics by seq, subscribers (see topics.py).
    """
    cursor = await connection.execute(_EXPIRED, {"after": after_seconds, "page": TARGETS_PAGE})
    targets = [seq for (seq,) in await cursor.fetchall()]
    if targets:
        await connection.execute(LOCK_TOPICS_OF % {"targets": "%(targets)s"}, {"targets": targets})
        await connection.execute(LOWER_TOTALS % {"targets": "%(targets)s"}, {"targets": targets})
        await connection.execute("DELETE FROM targets WHERE seq = ANY(%s)", [targets])
    return len(targets)
