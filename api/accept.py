"""accept_message() and change_message(): a message and its due work in one transaction, then a ring."""

from dataclasses import replace
from datetime import datetime
from typing import Any, cast

from api.attachments import show_files
from api.audit import actor_of
from api.kernel import Call
from api.parameters import refusal
from api.refusals import created, found
from api.schemas.messages import MessageCreate, MessageModel, MessageUpdate
from shared.db.queries import accept, messages
from shared.db.queries.accept import MessageChange, NewMessage
from shared.db.queries.audit import record_change
from shared.db.queries.messages import ShownMessage
from shared.db.session import hot_statements
from shared.domain.lanes import choose_lane
from shared.domain.queues import FAN_OUT_QUEUE
from shared.domain.status import Channel, MessageStatus
from shared.errors import RejectedRequest
from shared.metrics import MESSAGES_ACCEPTED


def _status_of_new(body: MessageCreate) -> MessageStatus:
    if body.draft:
        return MessageStatus.DRAFT
    return MessageStatus.SCHEDULED if body.scheduled_at else MessageStatus.PROCESSING


def _check_recipients(status: MessageStatus, *lists: list[str]) -> None:
    if status is not MessageStatus.DRAFT and not any(lists):
        raise RejectedRequest("message_missing_target", "Name a topic, a user or a target to send it to.")


def _check_targets(channel: Channel, *, are_known: bool) -> None:
    if not are_known:
        raise RejectedRequest(f"message_target_not_{channel}", f"Some target does not exist or is not for {channel}.")


async def _show_files(call: Call, channel: Channel, body: MessageCreate) -> dict[str, Any]:
    """The statement that writes the message checks its targets; where a file is wrong it is never sent, and the
    targets, which come before (§8.3, steps 4 and 6), are asked for here.
    """
    try:
        return await show_files(call, body.to_data(), sent_at=body.scheduled_at)
    except RejectedRequest:
        async with hot_statements(call.services.engine) as connection:
            are_known = await accept.are_targets_known(
                connection,
                call.project.seq,
                channel,
                named_targets=body.named_targets(),
                named_addresses=body.named_addresses(),
            )
        _check_targets(channel, are_known=are_known)
        raise


async def _check_schedule(call: Call, scheduled_at: datetime | None) -> None:
    """By the clock that releases it."""
    if scheduled_at is not None and scheduled_at <= await call.services.clock.now():
        raise refusal("scheduledAt", "is not valid: must lie in the future")


async def accept_message(call: Call, channel: Channel, body: MessageCreate) -> MessageModel:
    """The contract's order of checks: §8.3."""
    await _check_schedule(call, body.scheduled_at)
    status = _status_of_new(body)
    _check_recipients(status, body.topics, body.users, body.targets, body.named_addresses())
    data = await _show_files(call, channel, body)
    new = NewMessage(
        id=body.message_id,
        channel=channel,
        status=status,
        lane=choose_lane(topics=body.topics, users=body.users, targets=[*body.targets, *body.named_addresses()]),
        data=data,
        topics=body.topics,
        users=body.users,
        targets=body.targets,
        named_targets=body.named_targets(),
        named_addresses=body.named_addresses(),
        scheduled_at=body.scheduled_at,
    )
    services = call.services
    async with hot_statements(services.engine) as connection:
        accepted = await accept.insert_message(
            connection,
            call.project.seq,
            new,
            actor_of(call),
            time_to_live_seconds=services.settings.message_time_to_live_seconds,
        )
    _check_targets(channel, are_known=accepted.are_targets_known)
    created_at = created(accepted.created_at, "message_already_exists")
    _announce(call, channel, status)
    return MessageModel(
        id=new.id,
        created_at=created_at,
        updated_at=created_at,
        provider_type=channel.value,
        topics=body.topics,
        users=body.users,
        targets=body.targets,
        scheduled_at=body.scheduled_at,
        delivered_at=None,
        delivery_errors=[],
        delivered_total=0,
        data=dict(new.data),
        status=status.value,
    )


def _announce(call: Call, channel: Channel, status: MessageStatus) -> None:
    MESSAGES_ACCEPTED.labels(channel, status).inc()
    if status is MessageStatus.PROCESSING:
        call.services.ringer.ring(FAN_OUT_QUEUE)


def _changed_status(body: MessageUpdate, current: MessageStatus) -> MessageStatus:
    """The contract's table: §8.4."""
    if body.draft:
        return MessageStatus.DRAFT
    if body.scheduled_at:
        return MessageStatus.SCHEDULED
    return current if body.draft is None else MessageStatus.PROCESSING


_CLOSED = {
    MessageStatus.PROCESSING: "message_already_processing",
    MessageStatus.SENT: "message_already_sent",
    MessageStatus.FAILED: "message_already_failed",
}


def _judge_change(stored: ShownMessage, body: MessageUpdate) -> MessageChange:
    """The contract's order of checks: §8.4. A scheduled message always has a time here, so step 4 cannot fail."""
    message = stored.message
    current = MessageStatus(message.status)
    status = _changed_status(body, current)
    topics = message.topics if body.topics is None else body.topics
    users = message.users if body.users is None else body.users
    targets = message.targets if body.targets is None else body.targets
    named = body.named_addresses()
    addresses = cast("list[str]", message.data.get("emails", [])) if named is None else named
    _check_recipients(status, topics, users, targets, addresses)
    if current in _CLOSED:
        raise RejectedRequest(_CLOSED[current], f"The message is {current}: it cannot be changed any more.")
    if stored.is_due:
        raise RejectedRequest("message_already_scheduled", "The message's time has come.")
    return MessageChange(
        status=status,
        lane=choose_lane(topics=topics, users=users, targets=[*targets, *addresses]),
        data=body.changed(message.data),
        topics=topics,
        users=users,
        targets=targets,
        scheduled_at=body.scheduled_at or message.scheduled_at,
    )


async def change_message(call: Call, channel: Channel, message_id: str, body: MessageUpdate) -> MessageModel:
    """Judge and write; where somebody was faster in between, judge what the message is by then."""
    await _check_schedule(call, body.scheduled_at)
    changed = None
    while changed is None:
        changed = await _try_change(call, channel, message_id, body)
    return MessageModel.of(changed)


async def _try_change(call: Call, channel: Channel, message_id: str, body: MessageUpdate) -> ShownMessage | None:
    services = call.services
    async with services.sessions.begin() as session:
        stored = found(await messages.find_message(session, call.project.seq, message_id), "message_not_found")
        status_before = stored.message.status
        change = _judge_change(stored, body)
        if not await accept.are_addresses_known(session, call.project.seq, body.named_addresses() or []):
            raise RejectedRequest("message_target_not_email", "Some address belongs to no target of the project.")
        change = replace(change, data=await show_files(call, {**change.data}, sent_at=change.scheduled_at))
        if not await accept.change_message(
            session, stored.message, change, time_to_live_seconds=services.settings.message_time_to_live_seconds
        ):
            return None
        await record_change(
            session,
            actor_of(call),
            call.project.seq,
            resource="message",
            seq=stored.message.seq,
            id=message_id,
            event="update",
        )
        changed = await messages.find_message(session, call.project.seq, message_id)
    if change.status != status_before:
        _announce(call, channel, change.status)
    return changed
