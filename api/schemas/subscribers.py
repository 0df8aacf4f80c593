"""Subscribers on the wire (contract §11)."""

from api.schemas.base import Parameters, StoredModel, WireModel
from api.schemas.targets import ProviderType, TargetModel
from api.schemas.values import CustomId, PublicId
from shared.db.queries.subscribers import Membership


class SubscriberCreate(Parameters):
    subscriber_id: CustomId
    target_id: PublicId


class SubscriberModel(StoredModel):
    target_id: str
    target: TargetModel
    user_id: str
    user_name: str
    topic_id: str
    provider_type: ProviderType

    @classmethod
    def of(cls, member: Membership, *, is_foreign: bool = False) -> "SubscriberModel":
        """`is_foreign`: for a user who subscribed another's target and learns no more of its owner than the id."""
        target = (
            TargetModel.of_somebody_else(member.target, member.user_id, named_at=member.subscriber.created_at)
            if is_foreign
            else TargetModel.of(member.target, member.user_id)
        )
        return cls(
            id=member.subscriber.id,
            created_at=member.subscriber.created_at,
            updated_at=member.subscriber.updated_at,
            target_id=target.id,
            target=target,
            user_id=target.user_id,
            user_name="" if is_foreign else member.user_name,
            topic_id=member.topic_id,
            provider_type=target.provider_type,
        )


class SubscriberList(WireModel):
    total: int
    subscribers: list[SubscriberModel]
