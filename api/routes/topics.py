"""/v1/messaging/topics (contract §10)."""

from typing import Annotated

from fastapi import Query
from sqlalchemy.ext.asyncio import AsyncSession

from api.audit import actor_of
from api.kernel import Call, Routes
from api.paths import TopicId
from api.queries import Attribute, Kind, select, stored_attributes
from api.refusals import created, found
from api.schemas.lists import ListParameters
from api.schemas.topics import TopicCreate, TopicList, TopicModel, TopicUpdate
from shared.db.models import Topic
from shared.db.queries import topics
from shared.db.queries.audit import Event, record_change
from shared.db.queries.search import TOPIC_TEXT, Words

routes = Routes("topics")

ATTRIBUTES = {
    **stored_attributes(Topic),
    "name": Attribute(Topic.name),
    "description": Attribute(Topic.description),
    "emailTotal": Attribute(Topic.email_total, Kind.INTEGER),
    "smsTotal": Attribute(Topic.sms_total, Kind.INTEGER),
    "pushTotal": Attribute(Topic.push_total, Kind.INTEGER),
}
SEARCH_IN = Words(TOPIC_TEXT, {})


async def _record(call: Call, session: AsyncSession, seq: int, topic_id: str, event: Event) -> None:
    await record_change(session, actor_of(call), call.project.seq, resource="topic", seq=seq, id=topic_id, event=event)


@routes.get("/v1/messaging/topics", scope="topics.read", answers=TopicList)
async def list_topics(call: Call, wanted: Annotated[ListParameters, Query()]) -> TopicList:
    selection = select(wanted, ATTRIBUTES, search_in=SEARCH_IN)
    async with call.services.sessions() as session:
        page = await topics.list_topics(session, call.project.seq, selection)
    return TopicList(total=page.total, topics=[TopicModel.of(topic) for (topic,) in page.rows])


@routes.post("/v1/messaging/topics", scope="topics.write", answers=TopicModel, refusals=["topic_already_exists"])
async def create_topic(call: Call, body: TopicCreate) -> TopicModel:
    async with call.services.sessions.begin() as session:
        topic = await topics.create_topic(
            session,
            call.project.seq,
            id=body.topic_id,
            name=body.name,
            subscribe=body.subscribe,
            description=body.description or "",
            qos=body.qos,
            expiry=body.expiry,
        )
        topic = created(topic, "topic_already_exists")
        await _record(call, session, topic.seq, topic.id, "create")
    return TopicModel.of(topic)


@routes.get("/v1/messaging/topics/{topicId}", scope="topics.read", answers=TopicModel, refusals=["topic_not_found"])
async def get_topic(call: Call, topic_id: TopicId) -> TopicModel:
    async with call.services.sessions() as session:
        topic = await topics.find_topic(session, call.project.seq, topic_id)
    return TopicModel.of(found(topic, "topic_not_found"))


@routes.patch("/v1/messaging/topics/{topicId}", scope="topics.write", answers=TopicModel, refusals=["topic_not_found"])
async def update_topic(call: Call, topic_id: TopicId, body: TopicUpdate) -> TopicModel:
    """What is not given, or null, stays."""
    given = body.model_dump(exclude_unset=True)
    async with call.services.sessions.begin() as session:
        topic = await topics.update_topic(session, call.project.seq, topic_id, **given)
        topic = found(topic, "topic_not_found")
        await _record(call, session, topic.seq, topic.id, "update")
    return TopicModel.of(topic)


@routes.delete("/v1/messaging/topics/{topicId}", scope="topics.write", refusals=["topic_not_found"])
async def delete_topic(call: Call, topic_id: TopicId) -> None:
    """Its subscribers leave with it; messages that name it are untouched."""
    async with call.services.sessions.begin() as session:
        seq = found(await topics.delete_topic(session, call.project.seq, topic_id), "topic_not_found")
        await _record(call, session, seq, topic_id, "delete")
