"""Users: owners of targets."""

from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from shared.db.models import Target, User
from shared.db.queries.lists import Page, Selection, select_page
from shared.db.queries.topics import unsubscribe_targets
from shared.ids import ProjectSeq


async def create_user(session: AsyncSession, project_seq: ProjectSeq, **values: Any) -> User | None:
    """None: the id, the e-mail or the phone is taken."""
    statement = insert(User).values(project_seq=project_seq, **values).on_conflict_do_nothing().returning(User)
    return await session.scalar(statement)


async def find_user(session: AsyncSession, project_seq: ProjectSeq, user_id: str) -> User | None:
    return await session.scalar(select(User).where(User.project_seq == project_seq, User.id == user_id))


async def find_user_by_email(session: AsyncSession, project_seq: ProjectSeq, email: str) -> User | None:
    """`email` in lowercase, as it is stored."""
    return await session.scalar(select(User).where(User.project_seq == project_seq, User.email == email))


async def list_users(session: AsyncSession, project_seq: ProjectSeq, selection: Selection) -> Page:
    """Rows of (User,)."""
    statement = select(User).where(User.project_seq == project_seq)
    return await select_page(session, statement, selection, seq=User.seq, public_id=User.id)


async def delete_user(session: AsyncSession, project_seq: ProjectSeq, user_id: str) -> bool:
    """With targets and subscriptions. False: there is none of this id."""
    seq = await session.scalar(
        select(User.seq).where(User.project_seq == project_seq, User.id == user_id).with_for_update()
    )
    if seq is None:
        return False
    locked = select(Target.seq).where(Target.user_seq == seq).order_by(Target.seq).with_for_update()
    await unsubscribe_targets(session, (await session.scalars(locked)).all())
    await session.execute(delete(User).where(User.seq == seq))
    return True
