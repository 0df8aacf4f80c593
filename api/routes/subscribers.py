"""/v1/messaging/topics/{topicId}/subscribers (contract §11)."""

from typing import Annotated

from fastapi import Query
from sqlalchemy.ext.asyncio import AsyncSession

from api.audit import actor_of
from api.kernel import Call, Routes
from api.paths import SubscriberId, TopicId
from api.principals import LoggedIn
from api.queries import Attribute, select, stored_attributes
from api.refusals import created, found
from api.schemas.lists import ListParameters
from api.schemas.subscribers import SubscriberCreate, SubscriberList, SubscriberModel
from shared.db.models import Subscriber, Target, Topic, User
from shared.db.queries import subscribers
from shared.db.queries.audit import Event, record_change
from shared.db.queries.search import MemberIds
from shared.db.queries.subscribers import Membership
from shared.db.queries.topics import find_topic
from shared.domain.status import Channel
from shared.errors import RejectedRequest

routes = Routes("subscribers")

ATTRIBUTES = {
    **stored_attributes(Subscriber),
    "targetId": Attribute(Target.id),
    "topicId": Attribute(Topic.id),
    "userId": Attribute(User.id),
    "providerType": Attribute(Subscriber.channel),
}


def _is_foreign(call: Call, member: Membership) -> bool:
    """A subscriber is its target's user's business, and that of keys."""
    return isinstance(call.principal, LoggedIn) and member.user_id != call.user.id


def _readable(call: Call, member: Membership | None) -> Membership | None:
    return None if member is not None and _is_foreign(call, member) else member


def _check_may_subscribe(call: Call, topic: Topic) -> None:
    """Contract §11, step 2. Keys always may; the target need not be the caller's own."""
    if isinstance(call.principal, LoggedIn) and call.principal.roles.isdisjoint(topic.subscribe):
        raise RejectedRequest("user_unauthorized", "The topic is not open to this user.")


async def _record(call: Call, session: AsyncSession, seq: int, subscriber_id: str, event: Event) -> None:
    await record_change(
        session, actor_of(call), call.project.seq, resource="subscriber", seq=seq, id=subscriber_id, event=event
    )


async def _find_topic(call: Call, session: AsyncSession, topic_id: str, *, for_update: bool = False) -> Topic:
    topic = await find_topic(session, call.project.seq, topic_id, for_update=for_update)
    return found(topic, "topic_not_found")


@routes.get(
    "/v1/messaging/topics/{topicId}/subscribers",
    scope="subscribers.read",
    answers=SubscriberList,
    refusals=["topic_not_found"],
)
async def list_subscribers(call: Call, topic_id: TopicId, wanted: Annotated[ListParameters, Query()]) -> SubscriberList:
    """Users see their own subscriptions only."""
    async with call.services.sessions() as session:
        topic = await _find_topic(call, session, topic_id)
        selection = select(
            wanted, ATTRIBUTES, search_in=MemberIds(call.project.seq, {Subscriber.channel: tuple(Channel)})
        )
        owner_seq = call.user.seq if isinstance(call.principal, LoggedIn) else None
        page = await subscribers.list_subscribers(session, topic, selection, user_seq=owner_seq)
    return SubscriberList(total=page.total, subscribers=[SubscriberModel.of(Membership(*row)) for row in page.rows])


@routes.post(
    "/v1/messaging/topics/{topicId}/subscribers",
    scope="subscribers.write",
    answers=SubscriberModel,
    refusals=["topic_not_found", "user_unauthorized", "user_target_not_found", "subscriber_already_exists"],
)
async def create_subscriber(call: Call, topic_id: TopicId, body: SubscriberCreate) -> SubscriberModel:
    """Users need one of the roles in the topic's `subscribe`. The target need not be theirs; of somebody else's they
    are told no more than they have said.
    """
    async with call.services.sessions.begin() as session:
        _check_may_subscribe(call, await _find_topic(call, session, topic_id))
        joining = found(
            await subscribers.hold_target(session, call.project.seq, body.target_id), "user_target_not_found"
        )
        topic = await _find_topic(call, session, topic_id, for_update=True)  # after the target: see the lock order
        membership = await subscribers.create_subscriber(session, topic, joining, subscriber_id=body.subscriber_id)
        membership = created(membership, "subscriber_already_exists")
        await _record(call, session, membership.subscriber.seq, body.subscriber_id, "create")
    return SubscriberModel.of(membership, is_foreign=_is_foreign(call, membership))


@routes.get(
    "/v1/messaging/topics/{topicId}/subscribers/{subscriberId}",
    scope="subscribers.read",
    answers=SubscriberModel,
    refusals=["topic_not_found", "subscriber_not_found"],
)
async def get_subscriber(call: Call, topic_id: TopicId, subscriber_id: SubscriberId) -> SubscriberModel:
    """Users see their own subscriptions only."""
    async with call.services.sessions() as session:
        topic = await _find_topic(call, session, topic_id)
        membership = await subscribers.find_subscriber(session, topic, subscriber_id)
    return SubscriberModel.of(found(_readable(call, membership), "subscriber_not_found"))


@routes.delete(
    "/v1/messaging/topics/{topicId}/subscribers/{subscriberId}",
    scope="subscribers.write",
    refusals=["topic_not_found", "subscriber_not_found"],
)
async def delete_subscriber(call: Call, topic_id: TopicId, subscriber_id: SubscriberId) -> None:
    """Users end their own subscriptions only."""
    async with call.services.sessions.begin() as session:
        topic = await _find_topic(call, session, topic_id, for_update=True)
        member = await subscribers.find_subscriber(session, topic, subscriber_id)
        member = found(_readable(call, member), "subscriber_not_found")
        found(await subscribers.delete_subscriber(session, member.subscriber), "subscriber_not_found")
        await _record(call, session, member.subscriber.seq, subscriber_id, "delete")
