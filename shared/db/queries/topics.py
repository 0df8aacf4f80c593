"""Topics, and the totals that count their subscribers.

Whoever changes subscribers locks in this order: user, targets by seq, topics by seq, subscribers. So nobody holds a
subscriber and waits for its topic, and totals change in the transaction that changes what they count.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import delete, func, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from shared.db.models import Subscriber, Topic
from shared.db.queries.lists import Page, Selection, select_page
from shared.domain.status import Channel
from shared.ids import ProjectSeq

PURGED_AT_ONCE = 1_000
"""Subscribers deleted together with their topic; what is left of a larger one is purged later, in pages."""


async def create_topic(session: AsyncSession, project_seq: ProjectSeq, **values: Any) -> Topic | None:
    """None: the id is taken."""
    statement = insert(Topic).values(project_seq=project_seq, **values).on_conflict_do_nothing().returning(Topic)
    return await session.scalar(statement)


async def find_topic(
    session: AsyncSession, project_seq: ProjectSeq, topic_id: str, *, for_update: bool = False
) -> Topic | None:
    """`for_update`: held until the transaction ends, as it must be before its subscribers change."""
    statement = select(Topic).where(Topic.project_seq == project_seq, Topic.id == topic_id, Topic.deleted_at.is_(None))
    return await session.scalar(statement.with_for_update(key_share=True) if for_update else statement)


async def list_topics(session: AsyncSession, project_seq: ProjectSeq, selection: Selection) -> Page:
    """Rows of (Topic,)."""
    statement = select(Topic).where(Topic.project_seq == project_seq, Topic.deleted_at.is_(None))
    return await select_page(session, statement, selection, seq=Topic.seq, public_id=Topic.id)


async def update_topic(session: AsyncSession, project_seq: ProjectSeq, topic_id: str, **values: Any) -> Topic | None:
    """None: there is none of this id."""
    return await session.scalar(
        update(Topic)
        .where(Topic.project_seq == project_seq, Topic.id == topic_id, Topic.deleted_at.is_(None))
        .values(updated_at=func.now(), **values)
        .returning(Topic)
    )


async def delete_topic(session: AsyncSession, project_seq: ProjectSeq, topic_id: str) -> int | None:
    """Its seq. Leave a tombstone, so that a large topic is gone at once. None: there is none of this id."""
    seq: int | None = await session.scalar(
        update(Topic)
        .where(Topic.project_seq == project_seq, Topic.id == topic_id, Topic.deleted_at.is_(None))
        .values(deleted_at=func.now())
        .returning(Topic.seq)
    )
    if seq is None:
        return None
    first = select(Subscriber.seq).where(Subscriber.topic_seq == seq).limit(PURGED_AT_ONCE)
    await session.execute(delete(Subscriber).where(Subscriber.seq.in_(first)))
    return seq


async def move_topic_total(session: AsyncSession, topic_seq: int, channel: Channel, by: int) -> None:
    column = {Channel.EMAIL: Topic.email_total, Channel.SMS: Topic.sms_total, Channel.PUSH: Topic.push_total}[channel]
    await session.execute(update(Topic).where(Topic.seq == topic_seq).values({column: func.greatest(0, column + by)}))


# In both, `%(targets)s` is where the parameter stands, as either driver marks it.
LOCK_TOPICS_OF = """
SELECT seq FROM topics
WHERE seq IN (SELECT topic_seq FROM subscribers WHERE target_seq = ANY(%(targets)s))
ORDER BY seq FOR NO KEY UPDATE
"""

LOWER_TOTALS = """
WITH leaving AS (
    DELETE FROM subscribers WHERE target_seq = ANY(%(targets)s) RETURNING topic_seq, channel
), sums AS (
    SELECT topic_seq,
        count(*) FILTER (WHERE channel = 'email') AS email,
        count(*) FILTER (WHERE channel = 'sms') AS sms,
        count(*) FILTER (WHERE channel = 'push') AS push
    FROM leaving GROUP BY topic_seq
)
UPDATE topics
SET email_total = greatest(0, email_total - sums.email),
    sms_total = greatest(0, sms_total - sums.sms),
    push_total = greatest(0, push_total - sums.push)
FROM sums WHERE topics.seq = sums.topic_seq
"""


async def unsubscribe_targets(session: AsyncSession, target_seqs: Sequence[int]) -> None:
    """Take targets out of all their topics. The caller holds their rows, so none is subscribed meanwhile."""
    parameters = {"targets": list(target_seqs)}
    await session.execute(text(LOCK_TOPICS_OF % {"targets": ":targets"}), parameters)
    await session.execute(text(LOWER_TOTALS % {"targets": ":targets"}), parameters)
