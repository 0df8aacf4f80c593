"""GET …/logs of messages, providers, topics and subscribers (contract §12)."""

from typing import Annotated

from fastapi import Query
from sqlalchemy.ext.asyncio import AsyncSession

from api.kernel import Call, Routes
from api.paths import MessageId, ProviderId, SubscriberId, TopicId
from api.principals import LoggedIn
from api.queries import select_window
from api.refusals import found
from api.schemas.lists import UnsearchableListParameters
from api.schemas.logs import LogList, LogModel
from shared.db.queries.audit import Resource, list_entries
from shared.db.queries.messages import find_message
from shared.db.queries.providers import find_provider
from shared.db.queries.subscribers import find_subscriber_seq
from shared.db.queries.topics import find_topic

routes = Routes("logs")

Wanted = Annotated[UnsearchableListParameters, Query()]


async def _list(
    session: AsyncSession,
    wanted: UnsearchableListParameters,
    resource: Resource,
    seq: int,
    *,
    reader_id: str | None = None,
) -> LogList:
    page = await list_entries(session, resource=resource, seq=seq, window=select_window(wanted))
    return LogList(total=page.total, logs=[LogModel.of(entry, reader_id=reader_id) for (entry,) in page.rows])


@routes.get(
    "/v1/messaging/messages/{messageId}/logs",
    scope="messages.read",
    answers=LogList,
    refusals=["message_not_found"],
)
async def list_message_logs(call: Call, message_id: MessageId, wanted: Wanted) -> LogList:
    async with call.services.sessions() as session:
        shown = found(await find_message(session, call.project.seq, message_id), "message_not_found")
        return await _list(session, wanted, "message", shown.message.seq)


@routes.get(
    "/v1/messaging/providers/{providerId}/logs",
    scope="providers.read",
    answers=LogList,
    refusals=["provider_not_found"],
)
async def list_provider_logs(call: Call, provider_id: ProviderId, wanted: Wanted) -> LogList:
    async with call.services.sessions() as session:
        provider = found(await find_provider(session, call.project.seq, provider_id), "provider_not_found")
        return await _list(session, wanted, "provider", provider.seq)


@routes.get(
    "/v1/messaging/topics/{topicId}/logs",
    scope="topics.read",
    answers=LogList,
    refusals=["topic_not_found"],
)
async def list_topic_logs(call: Call, topic_id: TopicId, wanted: Wanted) -> LogList:
    async with call.services.sessions() as session:
        topic = found(await find_topic(session, call.project.seq, topic_id), "topic_not_found")
        return await _list(session, wanted, "topic", topic.seq)


@routes.get(
    "/v1/messaging/subscribers/{subscriberId}/logs",
    scope="subscribers.read",
    answers=LogList,
    refusals=["subscriber_not_found"],
)
async def list_subscriber_logs(call: Call, subscriber_id: SubscriberId, wanted: Wanted) -> LogList:
    async with call.services.sessions() as session:
        reader = call.principal.user if isinstance(call.principal, LoggedIn) else None
        seq = await find_subscriber_seq(
            session, call.project.seq, subscriber_id, user_seq=reader.seq if reader else None
        )
        seq = found(seq, "subscriber_not_found")
        return await _list(session, wanted, "subscriber", seq, reader_id=reader.id if reader else None)
