"""Messages as the API reads and deletes them. How they are accepted is in accept.py."""

from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Select, and_, func, not_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from shared.db.models import Message, MessageProgress
from shared.db.queries.lists import AnySelect, Page, Selection, select_page
from shared.domain.status import MessageStatus
from shared.ids import ProjectSeq

IS_DUE = Message.scheduled_at <= func.now()
"""By the database's clock, as release judges it."""


class ShownMessage(NamedTuple):
    """A message with the totals the wire shows. No run yet: no totals."""

    message: Message
    sent: int | None
    errors: list[str] | None
    is_due: bool | None  # None: it was never scheduled


def select_shown(project_seq: ProjectSeq) -> Select[Message, int, list[str], bool]:
    return (
        select(Message, MessageProgress.sent, MessageProgress.errors, IS_DUE)
        .outerjoin(MessageProgress, MessageProgress.run == Message.run)
        .where(Message.project_seq == project_seq, Message.deleted_at.is_(None))
    )


async def find_message(session: AsyncSession, project_seq: ProjectSeq, message_id: str) -> ShownMessage | None:
    """Reads the row anew, also in a session that has seen it before."""
    statement = select_shown(project_seq).where(Message.id == message_id)
    row = (await session.execute(statement, execution_options={"populate_existing": True})).one_or_none()
    return row and ShownMessage._make(row)


class ListedMessage(NamedTuple):
    """What the wire shows of a message, by name and in this order."""

    id: str
    created_at: datetime
    updated_at: datetime
    channel: str
    topics: list[str]
    users: list[str]
    targets: list[str]
    scheduled_at: datetime | None
    delivered_at: datetime | None
    data: dict[str, Any]
    status: str
    sent: int | None
    errors: list[str] | None


_OF_MESSAGE = [name for name in ListedMessage._fields if name not in ("sent", "errors")]


def select_listed(project_seq: ProjectSeq) -> AnySelect:
    """Plain columns: making objects of 25 rows would cost more than reading them."""
    listed = [Message.__table__.c[name] for name in _OF_MESSAGE]
    progress = MessageProgress.__table__
    return (
        select(*listed, progress.c.sent, progress.c.errors)
        .outerjoin_from(Message.__table__, progress, progress.c.run == Message.run)
        .where(Message.project_seq == project_seq, Message.deleted_at.is_(None))
    )


async def list_messages(session: AsyncSession, project_seq: ProjectSeq, selection: Selection) -> Page:
    """Rows that fit ListedMessage."""
    return await select_page(session, select_listed(project_seq), selection, seq=Message.seq, public_id=Message.id)


async def delete_message(session: AsyncSession, project_seq: ProjectSeq, message_id: str) -> int | None:
    """Its seq. Leave a tombstone: what is unsent is cancelled by the pipeline, what is in flight is still recorded.

    None: there is none of this id, or its time has come and release will take it any moment.
    """
    return await session.scalar(
        update(Message)
        .where(
            Message.project_seq == project_seq,
            Message.id == message_id,
            Message.deleted_at.is_(None),
            not_(and_(Message.status == MessageStatus.SCHEDULED, IS_DUE)),
        )
        .values(deleted_at=func.now(), version=Message.version + 1)
        .returning(Message.seq)
    )
