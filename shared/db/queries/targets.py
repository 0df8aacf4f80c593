"""Targets: people's addresses."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from shared.db.models import Target, User
from shared.db.queries.lists import Page, Selection, select_page
from shared.db.queries.topics import unsubscribe_targets
from shared.ids import ProjectSeq


class OwnedTarget(NamedTuple):
    target: Target
    user_id: str


OWNED = select(Target, User.id).join(User, User.seq == Target.user_seq)
"""Rows that fit OwnedTarget."""


async def create_target(session: AsyncSession, project_seq: ProjectSeq, user_seq: int, **values: Any) -> Target | None:
    """None: the id or the identifier is taken. Raises IntegrityError when the user or the session is gone."""
    statement = insert(Target).values(project_seq=project_seq, user_seq=user_seq, **values)
    return await session.scalar(statement.on_conflict_do_nothing().returning(Target))


async def find_target(
    session: AsyncSession, project_seq: ProjectSeq, target_id: str, *, user_seq: int
) -> Target | None:
    """The target of this id, if it is this user's."""
    statement = select(Target).where(
        Target.project_seq == project_seq, Target.id == target_id, Target.user_seq == user_seq
    )
    return await session.scalar(statement)


async def find_target_by_identifier(
    session: AsyncSession, project_seq: ProjectSeq, identifier: str
) -> OwnedTarget | None:
    statement = OWNED.where(Target.project_seq == project_seq, Target.identifier == identifier)
    row = (await session.execute(statement)).one_or_none()
    return OwnedTarget._make(row) if row else None


async def list_targets_of_user(session: AsyncSession, user_seq: int, selection: Selection) -> Page:
    """Rows that fit OwnedTarget."""
    statement = OWNED.where(Target.user_seq == user_seq)
    return await select_page(session, statement, selection, seq=Target.seq, public_id=Target.id)


async def list_targets_by_id(
    session: AsyncSession, project_seq: ProjectSeq, target_ids: Sequence[str], selection: Selection
) -> Page:
    """Rows that fit OwnedTarget; ids that no target has are passed over."""
    statement = OWNED.where(Target.project_seq == project_seq, Target.id == func.any(list(target_ids)))
    return await select_page(session, statement, selection, seq=Target.seq, public_id=Target.id)


async def find_targets_of_users(session: AsyncSession, user_seqs: Sequence[int]) -> Sequence[Target]:
    """All targets of these users, oldest first."""
    return (await session.scalars(select(Target).where(Target.user_seq.in_(user_seqs)).order_by(Target.seq))).all()


async def update_target(session: AsyncSession, seq: int, **values: Any) -> Target | None:
    """The changed row; None: it was deleted meanwhile. An identifier that is taken raises IntegrityError."""
    statement = update(Target).where(Target.seq == seq).values(updated_at=func.now(), **values).returning(Target)
    return await session.scalar(statement, execution_options={"populate_existing": True})


async def delete_target(session: AsyncSession, project_seq: ProjectSeq, target_id: str, *, user_seq: int) -> bool:
    """Take it out of its topics and away. False: the user has none of this id."""
    seq = await session.scalar(
        select(Target.seq)
        .where(Target.project_seq == project_seq, Target.id == target_id, Target.user_seq == user_seq)
        .with_for_update()
    )
    if seq is None:
        return False
    await unsubscribe_targets(session, [seq])
    await session.execute(delete(Target).where(Target.seq == seq))
    return True
