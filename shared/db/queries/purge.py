"""Removing in pages: each transaction takes a bounded number of rows and leaves totals that are true."""

from collections.abc import Sequence
from datetime import timedelta

from shared.db.queries.topics import LOCK_TOPICS_OF, LOWER_TOTALS
from shared.db.session import HotConnection

PAGE = 5_000
TARGETS_PAGE = 1_000
"""Fewer: their topics' rows are held meanwhile."""

SESSIONS_PAGE = 500

GRACE = timedelta(minutes=1)
"""Longer than a request or a transaction may take: what began before the end is over by then."""


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
        "DELETE FROM topics WHERE seq IN (SELECT seq FROM topics WHERE deleted_at < now() - %s"
        " AND NOT EXISTS (SELECT FROM subscribers WHERE subscribers.topic_seq = topics.seq) LIMIT %s)",
        [GRACE, PAGE],
    )
    return cursor.rowcount


_EXPIRED = """
SELECT seq FROM targets WHERE expired AND updated_at < now() - %(after)s * interval '1 second'
ORDER BY seq LIMIT %(page)s FOR UPDATE
"""


async def purge_expired_targets(connection: HotConnection, *, after_seconds: float) -> int:
    """One page of targets whose address died that long ago, out of their topics and away; how many."""
    cursor = await connection.execute(_EXPIRED, {"after": after_seconds, "page": TARGETS_PAGE})
    targets = [seq for (seq,) in await cursor.fetchall()]
    await _remove_targets(connection, targets)
    return len(targets)


async def _remove_targets(connection: HotConnection, targets: Sequence[int]) -> None:
    """Out of their topics and away. The caller holds their rows.

    Locks as whoever changes subscribers does: targets by seq, topics by seq, subscribers (see topics.py).
    """
    if targets:
        await connection.execute(LOCK_TOPICS_OF % {"targets": "%(targets)s"}, {"targets": targets})
        await connection.execute(LOWER_TOTALS % {"targets": "%(targets)s"}, {"targets": targets})
        await connection.execute("DELETE FROM targets WHERE seq = ANY(%s)", [targets])


_OVER = """
SELECT seq FROM user_sessions WHERE expires_at < now() - %s ORDER BY expires_at LIMIT %s FOR UPDATE SKIP LOCKED
"""
_BOUND = "SELECT seq FROM targets WHERE session_seq = ANY(%s) ORDER BY seq LIMIT %s FOR UPDATE"


async def purge_expired_sessions(connection: HotConnection) -> int:
    """One page of sessions that are over, or of the devices that they registered; how many rows.

    A session goes when its devices are gone: by then they have left their topics, as when a user ends it.
    """
    cursor = await connection.execute(_OVER, [GRACE, SESSIONS_PAGE])
    sessions = [seq for (seq,) in await cursor.fetchall()]
    cursor = await connection.execute(_BOUND, [sessions, TARGETS_PAGE])
    targets = [seq for (seq,) in await cursor.fetchall()]
    await _remove_targets(connection, targets)
    if len(targets) == TARGETS_PAGE:
        return len(targets)
    await connection.execute("DELETE FROM user_sessions WHERE seq = ANY(%s)", [sessions])
    return len(sessions)


_OWNED = "SELECT seq FROM targets WHERE user_seq = %s ORDER BY seq LIMIT %s FOR UPDATE"
_END_SESSIONS = "DELETE FROM user_sessions WHERE seq IN (SELECT seq FROM user_sessions WHERE user_seq = %s LIMIT %s)"


async def purge_user(connection: HotConnection, user_seq: int) -> bool:
    """One page of what belongs to a user, and with the last page the user; whether that was the last.

    A user of more than a page says in `deleted_at` that the scheduler goes on where the caller does not.
    """
    cursor = await connection.execute("SELECT FROM users WHERE seq = %s FOR UPDATE", [user_seq])
    if not await cursor.fetchall():
        return True
    cursor = await connection.execute(_OWNED, [user_seq, TARGETS_PAGE])
    targets = [seq for (seq,) in await cursor.fetchall()]
    await _remove_targets(connection, targets)
    if len(targets) < TARGETS_PAGE:
        # only now: with a session goes every device that it registered
        cursor = await connection.execute(_END_SESSIONS, [user_seq, PAGE])
        if cursor.rowcount < PAGE:
            await connection.execute("DELETE FROM users WHERE seq = %s", [user_seq])
            return True
    await connection.execute("UPDATE users SET deleted_at = now() WHERE seq = %s", [user_seq])
    return False


async def purge_half_deleted_user(connection: HotConnection) -> int:
    """One page of a user whose deletion nobody goes on with; how many rows at least, 0 when there is none."""
    cursor = await connection.execute(
        "SELECT seq FROM users WHERE deleted_at < now() - %s ORDER BY deleted_at LIMIT 1", [GRACE]
    )
    row = await cursor.fetchone()
    if row is None:
        return 0
    if not await purge_user(connection, row[0]):
        # nobody else goes on with it: the next page is due at once
        await connection.execute("UPDATE users SET deleted_at = now() - 2 * %s WHERE seq = %s", [GRACE, row[0]])
    return 1
