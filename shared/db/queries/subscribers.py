"""Subscribers: who is in a topic. Lock order and totals: see topics.py."""

from dataclasses import replace
from typing import NamedTuple

from sqlalchemy import Select, delete, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from shared.db.models import Subscriber, Target, Topic, User
from shared.db.queries.lists import Page, Selection, select_page
from shared.db.queries.topics import move_topic_total
from shared.domain.status import Channel
from shared.ids import ProjectSeq


class Membership(NamedTuple):
    """A subscriber with what the wire shows beside it."""

    subscriber: Subscriber
    target: Target
    user_id: str
    user_name: str
    topic_id: str


def select_memberships(topic: Topic) -> Select[Subscriber, Target, str, str, str]:
    """Each has its target, user and topic; they are joined from outside so that counting can leave them out."""
    return (
        select(Subscriber, Target, User.id, User.name, Topic.id)
        .outerjoin(Target, Target.seq == Subscriber.target_seq)
        .outerjoin(User, User.seq == Target.user_seq)
        .outerjoin(Topic, Topic.seq == Subscriber.topic_seq)
        .where(Subscriber.topic_seq == topic.seq, Subscriber.project_seq == topic.project_seq)
    )


class Joining(NamedTuple):
    """A target that may be subscribed; its row is held, so that it is not deleted meanwhile."""

    target: Target
    user_id: str
    user_name: str


async def hold_target(session: AsyncSession, project_seq: ProjectSeq, target_id: str) -> Joining | None:
    statement = (
        select(Target, User.id, User.name)
        .join(User, User.seq == Target.user_seq)
        .where(Target.project_seq == project_seq, Target.id == target_id)
        .with_for_update(read=True, key_share=True, of=Target)
    )
    row = (await session.execute(statement)).one_or_none()
    return row and Joining._make(row)


async def create_subscriber(
    session: AsyncSession, topic: Topic, joining: Joining, *, subscriber_id: str
) -> Membership | None:
    """The caller holds topic and target. None: the id is taken, or the target is in the topic already."""
    subscriber = await session.scalar(
        insert(Subscriber)
        .values(
            project_seq=topic.project_seq,
            id=subscriber_id,
            topic_seq=topic.seq,
            target_seq=joining.target.seq,
            channel=joining.target.channel,
        )
        .on_conflict_do_nothing()
        .returning(Subscriber)
    )
    if subscriber is None:
        return None
    await move_topic_total(session, topic.seq, Channel(joining.target.channel), 1)
    return Membership(subscriber, joining.target, joining.user_id, joining.user_name, topic.id)


async def find_subscriber(session: AsyncSession, topic: Topic, subscriber_id: str) -> Membership | None:
    row = (await session.execute(select_memberships(topic).where(Subscriber.id == subscriber_id))).one_or_none()
    return row and Membership._make(row)


async def find_subscriber_seq(
    session: AsyncSession, project_seq: ProjectSeq, subscriber_id: str, *, user_seq: int | None
) -> int | None:
    """In whichever topic it is. `user_seq`: only if its target is this user's."""
    statement = select(Subscriber.seq).where(Subscriber.project_seq == project_seq, Subscriber.id == subscriber_id)
    if user_seq is not None:
        statement = statement.join(Target, Target.seq == Subscriber.target_seq).where(Target.user_seq == user_seq)
    return await session.scalar(statement)


async def list_subscribers(session: AsyncSession, topic: Topic, selection: Selection, *, user_seq: int | None) -> Page:
    """Rows that fit Membership. `user_seq`: of this user's targets only."""
    statement = select_memberships(topic)
    if user_seq is not None:
        # in the list itself, so that no cursor stands on another user's; and as a filter, so that the user's few are
        # found before the many of the topic are put in order
        own = Subscriber.target_seq.in_(select(Target.seq).where(Target.user_seq == user_seq))
        statement = statement.where(own)
        selection = replace(selection, filters=(*selection.filters, User.seq == user_seq))
    return await select_page(session, statement, selection, seq=Subscriber.seq, public_id=Subscriber.id)


async def delete_subscriber(session: AsyncSession, member: Subscriber) -> bool:
    """The caller holds the topic. False: somebody was faster."""
    channel = await session.scalar(delete(Subscriber).where(Subscriber.seq == member.seq).returning(Subscriber.channel))
    if channel is None:
        return False
    await move_topic_total(session, member.topic_seq, Channel(channel), -1)
    return True
