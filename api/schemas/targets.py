"""Targets on the wire (contract §14)."""

from datetime import datetime
from typing import Literal, cast

from api.schemas.base import Parameters, StoredModel, WireModel
from api.schemas.values import CustomId, PublicId, Text128, Text255
from shared.db.models import Target

ProviderType = Literal["email", "sms", "push"]


class TargetCreate(Parameters):
    target_id: CustomId
    provider_type: ProviderType
    identifier: Text255
    provider_id: PublicId | None = None
    name: Text128 | None = None


class TargetUpdate(Parameters):
    identifier: Text255 | None = None
    provider_id: PublicId | None = None
    name: Text128 | None = None


class TargetModel(StoredModel):
    name: str
    user_id: str
    provider_id: str | None
    provider_type: ProviderType
    identifier: str
    expired: bool

    @classmethod
    def of(cls, target: Target, user_id: str) -> "TargetModel":
        return cls.model_validate(
            {
                "id": target.id,
                "created_at": target.created_at,
                "updated_at": target.updated_at,
                "name": target.name,
                "user_id": user_id,
                "provider_id": target.provider_id,
                "provider_type": target.channel,
                "identifier": target.identifier,
                "expired": target.expired,
            }
        )

    @classmethod
    def of_somebody_else(cls, target: Target, user_id: str, *, named_at: datetime) -> "TargetModel":
        """For a user who has named it: whose it is, which Appwrite's own tests ask for, and not where it leads."""
        return cls(
            id=target.id,
            created_at=named_at,
            updated_at=named_at,
            name="",
            user_id=user_id,
            provider_id=None,
            provider_type=cast("ProviderType", target.channel),
            identifier="",
            expired=False,
        )


class TargetList(WireModel):
    total: int
    targets: list[TargetModel]
