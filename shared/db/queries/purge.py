"""Removing in pages what was deleted at once for the caller."""

from shared.db.session import HotConnection

PAGE = 5_000


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
