"""Receipts and suppressions: our own additions to the wire."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from api.schemas.base import Parameters, QueryParameters, WireModel, WireMoment
from shared.db.queries.suppressions import ListedSuppression

SuppressedChannel = Literal["email", "sms"]
Address = Annotated[str, StringConstraints(min_length=1, max_length=320)]
Cause = Literal["bounced", "complained", "unsubscribed", "dead_address", "manual"]


class ReceiptsTaken(WireModel):
    received: int = Field(description="Events that say something of a delivery")
    new: int = Field(description="Of them those that had not come before")


class ReceiptsSetup(WireModel):
    provider_id: str
    is_supported: bool = Field(description="Whether this kind of provider has receipts")
    url: str = Field(description="Where it is to post them; empty: TIDINGS_PUBLIC_URL is not set")
    has_secret: bool = Field(description="Whether its signing key is known")


class ReceiptsSetupUpdate(Parameters):
    secret: Annotated[str, StringConstraints(max_length=4096)]


class SuppressionParameters(QueryParameters):
    limit: Annotated[int, Field(ge=1, le=1_000)] = 100
    cursor: Annotated[str, StringConstraints(max_length=400), Field(description="From the page before")] = ""


class SuppressionCreate(Parameters):
    channel: SuppressedChannel
    address: Address
    reason: Annotated[str, StringConstraints(max_length=300), Field(description="A note for people")] = ""


class SuppressionNamed(QueryParameters):
    channel: SuppressedChannel
    address: Address


class SuppressionModel(WireModel):
    channel: SuppressedChannel
    address: str = Field(description="In lower case")
    cause: Cause
    reason: str = Field(description="The provider's words, or a note")
    created_at: WireMoment = Field(alias="$createdAt")

    @classmethod
    def of(cls, listed: ListedSuppression) -> "SuppressionModel":
        return cls.model_validate(
            {
                "channel": listed.channel,
                "address": listed.identifier,
                "cause": listed.cause,
                "reason": listed.reason,
                "$createdAt": listed.created_at,
            }
        )


class SuppressionPage(WireModel):
    suppressions: list[SuppressionModel]
    cursor: str | None = Field(description="For the next page; null: this was the last")
