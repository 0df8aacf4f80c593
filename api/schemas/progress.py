"""Progress and recipients: our own additions to the wire."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from api.schemas.base import QueryParameters, WireModel, WireMoment
from shared.db.queries.progress import Progress, ShownRecipient
from shared.domain.receipt import ReceiptKind

RecipientState = Literal["queued", "claimed", "sent", "failed", "skipped", "cancelled", "expired", "unknown"]

MAX_RECIPIENTS = 1_000


class SegmentsModel(WireModel):
    """What a text message is cut into on its way, by our count; bills go by the provider's."""

    encoding: Literal["GSM-7", "UCS-2"]
    units: int = Field(description="Septets of GSM-7, or 16-bit units of UCS-2")
    parts: int = Field(description="Messages that each recipient costs")


class ProgressModel(WireModel):
    """Recipients by state at one moment: `queued` to `unknown` add up to `planned`."""

    message_id: str
    status: Literal["draft", "processing", "scheduled", "sent", "failed"]
    planned: int = Field(description="Grows until `plannedAt`")
    queued: int
    claimed: int = Field(description="Handed to the provider, no outcome recorded yet")
    sent: int
    failed: int
    skipped: int
    cancelled: int
    expired: int
    unknown: int
    resends: int = Field(description="Sent again though the first may have arrived: possible copies")
    delivered: int = Field(description="By receipts, of providers that send any")
    undelivered: int = Field(description="By receipts: bounced, or not to be delivered")
    complained: int = Field(description="By receipts: called spam")
    unsubscribed: int = Field(description="By receipts: wants no more")
    errors: list[str]
    started_at: WireMoment | None
    planned_at: WireMoment | None
    finished_at: WireMoment | None
    segments: SegmentsModel | None = Field(description="null: no text message")

    @classmethod
    def of(cls, progress: Progress) -> "ProgressModel":
        return cls.model_validate(progress, from_attributes=True)


class RecipientParameters(QueryParameters):
    state: RecipientState | None = None
    limit: Annotated[int, Field(ge=1, le=MAX_RECIPIENTS)] = 100
    cursor: Annotated[
        str | None, StringConstraints(pattern="^[0-9a-f]{1,15}$"), Field(description="From the page before")
    ] = None


class RecipientModel(WireModel):
    target_id: str | None = Field(description="null: deleted since")
    user_id: str | None
    provider_id: str | None
    state: RecipientState
    attempts: int
    resends: int
    reason: str
    recorded_at: WireMoment | None
    receipt: ReceiptKind | None = Field(description="What the provider said afterwards")
    receipt_at: WireMoment | None

    @classmethod
    def of(cls, recipient: ShownRecipient) -> "RecipientModel":
        return cls.model_validate(recipient, from_attributes=True)


class RecipientPage(WireModel):
    recipients: list[RecipientModel]
    cursor: str | None = Field(description="For the next page; null: this was the last")
