"""Sessions of users, and who a request with one comes from."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from psycopg.rows import class_row
from sqlalchemy import delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from shared.db.models import Target, User, UserSession
from shared.db.queries.topics import unsubscribe_targets
from shared.db.session import HotConnection
from shared.ids import ProjectSeq

MOST_ENDED: Final = 1_000
"""Of a user's sessions at once; who has more of them too many loses the others with the next ones."""


@dataclass(frozen=True, slots=True)
class UserIdentity:
    """A user as far as permissions look at one."""

    seq: int
    id: str
    is_enabled: bool
    is_verified: bool
    labels: list[str]
    session_seq: int | None
    session_id: str | None


_USER = """
SELECT users.seq, users.id, is_enabled, email_verified OR phone_verified AS is_verified, labels,
    sessions.seq AS session_seq, sessions.id AS session_id
FROM users
"""

_BY_SECRET = f"""{_USER} JOIN user_sessions AS sessions ON sessions.user_seq = users.seq AND sessions.expires_at > now()
WHERE sessions.project_seq = %s AND sessions.secret_hash = %s"""

_BY_ID = f"""{_USER} LEFT JOIN user_sessions AS sessions
    ON sessions.user_seq = users.seq AND sessions.id = %(session_id)s AND sessions.expires_at > now()
WHERE users.project_seq = %(project_seq)s AND users.id = %(user_id)s
    AND (%(session_id)s = '' OR sessions.seq IS NOT NULL)"""


async def find_session_holder(
    connection: HotConnection, project_seq: ProjectSeq, secret_hash: bytes
) -> UserIdentity | None:
    """The user of the session with this secret, while it lasts."""
    async with connection.cursor(row_factory=class_row(UserIdentity)) as cursor:
        await cursor.execute(_BY_SECRET, [project_seq, secret_hash])
        return await cursor.fetchone()


async def find_token_holder(
    connection: HotConnection, project_seq: ProjectSeq, user_id: str, session_id: str
) -> UserIdentity | None:
    """None: the user or the named session is no more. No session named: the user alone counts."""
    async with connection.cursor(row_factory=class_row(UserIdentity)) as cursor:
        await cursor.execute(_BY_ID, {"project_seq": project_seq, "user_id": user_id, "session_id": session_id})
        return await cursor.fetchone()


async def create_session(
    session: AsyncSession,
    project_seq: ProjectSeq,
    user_seq: int,
    *,
    id: str,  # noqa: A002  # the column's name
    secret_hash: bytes,
    provider: str,
    provider_uid: str,
    ip: str,
    user_agent: str,
    expires_at: datetime,
    most: int,
) -> UserSession:
    """One session more, and of those beyond `most` the oldest are over; the scheduler removes them and their devices.

    Raises IntegrityError when the user is gone.
    """
    # whose sessions are counted one beginning at a time
    await session.execute(select(User.seq).where(User.seq == user_seq).with_for_update(key_share=True))
    started = UserSession(
        project_seq=project_seq,
        id=id,
        user_seq=user_seq,
        secret_hash=secret_hash,
        provider=provider,
        provider_uid=provider_uid,
        ip=ip,
        user_agent=user_agent,
        expires_at=expires_at,
    )
    session.add(started)
    await session.flush()
    surplus = (
        select(UserSession.seq)
        .where(UserSession.user_seq == user_seq, UserSession.expires_at > func.now())
        .order_by(UserSession.seq.desc())
        .offset(most)
        .limit(MOST_ENDED)
    )
    await session.execute(
        update(UserSession)
        .where(UserSession.seq.in_(surplus))
        .values(expires_at=func.now())
        .execution_options(synchronize_session=False)
    )
    await session.refresh(started)
    return started


async def find_session(session: AsyncSession, user_seq: int, session_id: str | None) -> UserSession | None:
    """The user's session of this id; None as id: the newest."""
    statement = select(UserSession).where(UserSession.user_seq == user_seq)
    if session_id is not None:
        statement = statement.where(UserSession.id == session_id)
    return await session.scalar(statement.order_by(UserSession.seq.desc()).limit(1))


async def end_session(session: AsyncSession, user_seq: int, session_id: str) -> bool:
    """With the devices it registered, which leave their topics. False: the user has none of this id."""
    seq = await session.scalar(
        select(UserSession.seq).where(UserSession.user_seq == user_seq, UserSession.id == session_id).with_for_update()
    )
    if seq is None:
        return False
    bound = select(Target.seq).where(Target.session_seq == seq).order_by(Target.seq).with_for_update()
    await unsubscribe_targets(session, (await session.scalars(bound)).all())
    await session.execute(delete(UserSession).where(UserSession.seq == seq))
    return True
