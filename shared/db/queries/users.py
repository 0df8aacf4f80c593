"""Users: owners of targets."""

from typing import Any

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from shared.db.models import User
from shared.db.queries.lists import Page, Selection, select_page
from shared.ids import ProjectSeq


async def create_user(session: AsyncSession, project_seq: ProjectSeq, **values: Any) -> User | None:
    """None: the id, the e-mail or the phone is taken."""
    statement = insert(User).values(project_seq=project_seq, **values).on_conflict_do_nothing().returning(User)
    return await session.scalar(statement)


async def find_user(session: AsyncSession, project_seq: ProjectSeq, user_id: str) -> User | None:
    return await session.scalar(select(User).where(User.project_seq == project_seq, User.id == user_id))


async def hold_user(session: AsyncSession, project_seq: ProjectSeq, user_id: str) -> User | None:
    """Likewise; its row is held, so that it is not deleted before what shall belong to it is there."""
    statement = select(User).where(User.project_seq == project_seq, User.id == user_id)
    return await session.scalar(statement.with_for_update(read=True, key_share=True))


async def find_user_by_email(session: AsyncSession, project_seq: ProjectSeq, email: str) -> User | None:
    """`email` in lowercase, as it is stored."""
    return await session.scalar(select(User).where(User.project_seq == project_seq, User.email == email))


async def list_users(session: AsyncSession, project_seq: ProjectSeq, selection: Selection) -> Page:
    """Rows of (User,)."""
    statement = select(User).where(User.project_seq == project_seq)
    return await select_page(session, statement, selection, seq=User.seq, public_id=User.id)
