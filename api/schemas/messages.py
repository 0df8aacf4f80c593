"""Messages on the wire (contract §8)."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from api.schemas.base import Parameters, StoredModel, WireModel, WireMoment
from api.schemas.targets import ProviderType
from api.schemas.values import (
    CompoundId,
    CustomId,
    Email,
    EmptyOrText128,
    JsonObject,
    LongText,
    Moment,
    NumericInteger,
    PublicId,
    Subject,
    Text256,
)
from shared.db.models import Message
from shared.db.queries.messages import ListedMessage, ShownMessage

Ids = Annotated[list[PublicId], Field(fail_fast=True)]
Copies = Annotated[list[PublicId], Field(fail_fast=True, max_length=100, description="Target ids")]
"""Each of them gets a copy of every mail of the message."""
Emails = Annotated[
    list[Email],
    Field(fail_fast=True, max_length=10_000, description="Addresses of the project's targets, as recipients"),
]
Attachments = Annotated[list[CompoundId], Field(fail_fast=True, max_length=100, description="`BUCKET:FILE` each")]

Priority = Annotated[
    Literal["normal", "high"],
    BeforeValidator(lambda value: value.lower() if isinstance(value, str) else value),
]

UNSET_BADGE = -1


_NO_CONTENT = frozenset({"message_id", "topics", "users", "targets", "draft", "scheduled_at"})


class _Content(Parameters):
    """Parameters of which some are the message's content: what goes to the provider."""

    def to_data(self) -> dict[str, Any]:
        """The keys of the message's `data` that were given (contract §8.1)."""
        return self.model_dump(by_alias=True, exclude=set(_NO_CONTENT), exclude_none=True)

    def changed(self, data: dict[str, Any]) -> dict[str, Any]:
        """A message's stored `data` with what is given here."""
        return data | self.to_data()


class MessageCreate(_Content):
    """What all messages are created with."""

    message_id: CustomId
    topics: Ids = Field(default_factory=list)
    users: Ids = Field(default_factory=list)
    targets: Ids = Field(default_factory=list)
    draft: Annotated[bool, Field(description="Keep it; it is not sent before a PATCH says so")] = False
    scheduled_at: Moment | None = None

    def named_targets(self) -> list[str]:
        """Every target named, each once: they must exist (contract §8.3, step 4)."""
        return list(dict.fromkeys(self.targets))

    def named_addresses(self) -> list[str]:
        """Recipients named by their address; each must be a target of the project."""
        return []


class MessageUpdate(_Content):
    """What is given replaces what is stored; arrays as a whole."""

    topics: Ids | None = None
    users: Ids | None = None
    targets: Ids | None = None
    draft: bool | None = None
    scheduled_at: Moment | None = None

    def named_addresses(self) -> list[str] | None:
        """None: those that are stored."""
        return None


class EmailCreate(MessageCreate):
    subject: Subject
    content: LongText
    cc: Copies = Field(default_factory=list)
    bcc: Copies = Field(default_factory=list)
    attachments: Attachments = Field(default_factory=list)
    html: Annotated[bool, Field(description="Whether `content` is HTML")] = False
    emails: Emails = Field(default_factory=list)
    reply_to_email: Annotated[Email | None, Field(description="Takes the place of the provider's")] = None
    reply_to_name: EmptyOrText128 | None = None

    def to_data(self) -> dict[str, Any]:
        """`emails` and `replyTo...` are newer than the other keys, which are always there."""
        data = super().to_data()
        return data if self.emails else {key: value for key, value in data.items() if key != "emails"}

    def named_targets(self) -> list[str]:
        return list(dict.fromkeys([*self.targets, *self.cc, *self.bcc]))

    def named_addresses(self) -> list[str]:
        return self.emails


class EmailUpdate(MessageUpdate):
    subject: Subject | None = None
    content: LongText | None = None
    cc: Copies | None = None
    bcc: Copies | None = None
    attachments: Attachments | None = None
    html: bool | None = None
    emails: Emails | None = None
    reply_to_email: Email | None = None
    reply_to_name: EmptyOrText128 | None = None

    def named_addresses(self) -> list[str] | None:
        return self.emails


class SmsCreate(MessageCreate):
    content: LongText


class SmsUpdate(MessageUpdate):
    content: LongText | None = None


class PushCreate(MessageCreate):
    title: Text256 | None = None
    body: LongText | None = None
    data: JsonObject | None = None
    action: Text256 | None = None
    image: Annotated[CompoundId | None, Field(description="`BUCKET:FILE`, a PNG or JPEG")] = None
    icon: Text256 | None = None
    sound: Text256 | None = None
    color: Text256 | None = None
    tag: Text256 | None = None
    badge: Annotated[NumericInteger, Field(description="-1 leaves the badge as it is")] = UNSET_BADGE
    content_available: bool = False
    critical: bool = False
    priority: Priority = "high"
    channel_id: Text256 | None = None

    def to_data(self) -> dict[str, Any]:
        """Only what was set: a badge below zero and a false switch are not."""
        data = super().to_data()
        unset = {"badge": self.badge < 0, "contentAvailable": not self.content_available, "critical": not self.critical}
        return {key: value for key, value in data.items() if not unset.get(key)}


class PushUpdate(MessageUpdate):
    title: Text256 | None = None
    body: LongText | None = None
    data: JsonObject | None = None
    action: Text256 | None = None
    image: CompoundId | None = None
    icon: Text256 | None = None
    sound: Text256 | None = None
    color: Text256 | None = None
    tag: Text256 | None = None
    badge: NumericInteger | None = None
    content_available: bool | None = None
    critical: bool | None = None
    priority: Priority | None = None
    channel_id: Annotated[str, Field(max_length=256, description="Empty: any channel")] | None = None

    def changed(self, data: dict[str, Any]) -> dict[str, Any]:
        changed = super().changed(data)
        return {key: value for key, value in changed.items() if (key, value) != ("channelId", "")}


class MessageModel(StoredModel):
    provider_type: ProviderType
    topics: list[str]
    users: list[str]
    targets: list[str]
    scheduled_at: WireMoment | None
    delivered_at: WireMoment | None
    delivery_errors: list[str]
    delivered_total: int
    data: dict[str, Any]
    status: Literal["draft", "processing", "scheduled", "sent", "failed"]

    @classmethod
    def of(cls, shown: ShownMessage) -> "MessageModel":
        return cls._made_of(shown.message, shown.sent, shown.errors)

    @classmethod
    def of_listed(cls, listed: ListedMessage) -> "MessageModel":
        return cls._made_of(listed, listed.sent, listed.errors)

    @classmethod
    def _made_of(cls, message: Message | ListedMessage, sent: int | None, errors: list[str] | None) -> "MessageModel":
        return cls.model_validate(
            {
                "id": message.id,
                "created_at": message.created_at,
                "updated_at": message.updated_at,
                "provider_type": message.channel,
                "topics": message.topics,
                "users": message.users,
                "targets": message.targets,
                "scheduled_at": message.scheduled_at,
                "delivered_at": message.delivered_at,
                "delivery_errors": errors or [],
                "delivered_total": sent or 0,
                "data": message.data,
                "status": message.status,
            }
        )


class MessageList(WireModel):
    total: int
    messages: list[MessageModel]
