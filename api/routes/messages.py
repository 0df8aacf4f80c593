"""/v1/messaging/messages (contract §8)."""

from typing import Annotated

from fastapi import Query
from sqlalchemy import String, func, literal

from api.accept import accept_message, change_message
from api.audit import actor_of
from api.kernel import Call, Routes
from api.paths import MessageId
from api.queries import Attribute, Kind, select, stored_attributes
from api.refusals import found
from api.routes.targets import ATTRIBUTES as TARGET_ATTRIBUTES
from api.schemas.lists import ListParameters, UnsearchableListParameters
from api.schemas.messages import (
    EmailCreate,
    EmailUpdate,
    MessageList,
    MessageModel,
    PushCreate,
    PushUpdate,
    SmsCreate,
    SmsUpdate,
)
from api.schemas.targets import TargetList, TargetModel
from shared.db.models import Message, MessageProgress
from shared.db.queries import messages
from shared.db.queries.audit import record_change
from shared.db.queries.messages import ListedMessage
from shared.db.queries.search import MESSAGE_TEXT, Words
from shared.db.queries.targets import list_targets_by_id
from shared.domain.status import Channel, MessageStatus
from shared.errors import RejectedRequest

routes = Routes("messages")

ATTRIBUTES = {
    **stored_attributes(Message),
    "scheduledAt": Attribute(Message.scheduled_at, Kind.MOMENT, is_nullable=True),
    "deliveredAt": Attribute(Message.delivered_at, Kind.MOMENT, is_nullable=True),
    "deliveredTotal": Attribute(func.coalesce(MessageProgress.sent, 0), Kind.INTEGER),
    "status": Attribute(Message.status),
    "providerType": Attribute(Message.channel),
    "description": Attribute(literal("", String)),  # documented, but no message has one
}
SEARCH_IN = Words(MESSAGE_TEXT, {Message.channel: tuple(Channel), Message.status: tuple(MessageStatus)})

CREATE_REFUSALS = ("message_missing_target", "storage_bucket_not_found", "message_already_exists")
UPDATE_REFUSALS = (
    "message_not_found",
    "message_missing_target",
    "message_already_processing",
    "message_already_sent",
    "message_already_failed",
    "message_already_scheduled",
    "storage_bucket_not_found",
)


@routes.post(
    "/v1/messaging/messages/email",
    scope="messages.write",
    answers=MessageModel,
    refusals=[*CREATE_REFUSALS, "message_target_not_email"],
)
async def create_email(call: Call, body: EmailCreate) -> MessageModel:
    """Sent at once, unless it is a draft or has a time; targets, `cc`, `bcc` and `emails` must be the project's."""
    return await accept_message(call, Channel.EMAIL, body)


@routes.post(
    "/v1/messaging/messages/sms",
    scope="messages.write",
    answers=MessageModel,
    refusals=["message_missing_target", "message_already_exists", "message_target_not_sms"],
)
async def create_sms(call: Call, body: SmsCreate) -> MessageModel:
    """Sent at once, unless it is a draft or has a time."""
    return await accept_message(call, Channel.SMS, body)


@routes.post(
    "/v1/messaging/messages/push",
    scope="messages.write",
    answers=MessageModel,
    refusals=[*CREATE_REFUSALS, "message_target_not_push"],
)
async def create_push(call: Call, body: PushCreate) -> MessageModel:
    """Sent at once, unless it is a draft or has a time; an image gets an address that devices can load."""
    return await accept_message(call, Channel.PUSH, body)


@routes.patch(
    "/v1/messaging/messages/email/{messageId}",
    scope="messages.write",
    answers=MessageModel,
    refusals=UPDATE_REFUSALS,
)
async def update_email(call: Call, message_id: MessageId, body: EmailUpdate) -> MessageModel:
    """Drafts and scheduled messages only. `draft: false` without a time sends it now."""
    return await change_message(call, Channel.EMAIL, message_id, body)


@routes.patch(
    "/v1/messaging/messages/sms/{messageId}",
    scope="messages.write",
    answers=MessageModel,
    refusals=[refusal for refusal in UPDATE_REFUSALS if not refusal.startswith("storage")],
)
async def update_sms(call: Call, message_id: MessageId, body: SmsUpdate) -> MessageModel:
    """Drafts and scheduled messages only. `draft: false` without a time sends it now."""
    return await change_message(call, Channel.SMS, message_id, body)


@routes.patch(
    "/v1/messaging/messages/push/{messageId}",
    scope="messages.write",
    answers=MessageModel,
    refusals=UPDATE_REFUSALS,
)
async def update_push(call: Call, message_id: MessageId, body: PushUpdate) -> MessageModel:
    """Drafts and scheduled messages only. `draft: false` without a time sends it now."""
    return await change_message(call, Channel.PUSH, message_id, body)


@routes.get("/v1/messaging/messages", scope="messages.read", answers=MessageList)
async def list_messages(call: Call, wanted: Annotated[ListParameters, Query()]) -> MessageList:
    selection = select(wanted, ATTRIBUTES, search_in=SEARCH_IN)
    async with call.services.sessions() as session:
        page = await messages.list_messages(session, call.project.seq, selection)
    return MessageList(
        total=page.total, messages=[MessageModel.of_listed(ListedMessage._make(row)) for row in page.rows]
    )


@routes.get(
    "/v1/messaging/messages/{messageId}",
    scope="messages.read",
    answers=MessageModel,
    refusals=["message_not_found"],
)
async def get_message(call: Call, message_id: MessageId) -> MessageModel:
    async with call.services.sessions() as session:
        shown = await messages.find_message(session, call.project.seq, message_id)
    return MessageModel.of(found(shown, "message_not_found"))


@routes.delete(
    "/v1/messaging/messages/{messageId}",
    scope="messages.write",
    refusals=["message_not_found", "message_already_scheduled"],
)
async def delete_message(call: Call, message_id: MessageId) -> None:
    """What is not sent yet is cancelled."""
    async with call.services.sessions.begin() as session:
        while (seq := await messages.delete_message(session, call.project.seq, message_id)) is None:
            shown = found(await messages.find_message(session, call.project.seq, message_id), "message_not_found")
            if shown.message.status == MessageStatus.SCHEDULED and shown.is_due:
                raise RejectedRequest("message_already_scheduled", "The message's time has come.")
            # another one has taken the place and the id of that which was to be deleted
        await record_change(
            session, actor_of(call), call.project.seq, resource="message", seq=seq, id=message_id, event="delete"
        )


@routes.get(
    "/v1/messaging/messages/{messageId}/targets",
    scope="messages.read",
    answers=TargetList,
    refusals=["message_not_found"],
)
async def list_message_targets(
    call: Call, message_id: MessageId, wanted: Annotated[UnsearchableListParameters, Query()]
) -> TargetList:
    """The targets named in the message itself, not those of its topics and users."""
    async with call.services.sessions() as session:
        shown = found(await messages.find_message(session, call.project.seq, message_id), "message_not_found")
        if not shown.message.targets:
            return TargetList(total=0, targets=[])
        selection = select(wanted, TARGET_ATTRIBUTES)
        page = await list_targets_by_id(session, call.project.seq, shown.message.targets, selection)
    return TargetList(total=page.total, targets=[TargetModel.of(*row) for row in page.rows])
