"""Topics on the wire (contract §10)."""

from typing import Annotated

from pydantic import Field

from api.schemas.base import Parameters, StoredModel, WireModel
from api.schemas.values import CustomId, Integer, Roles, Text128, Text256
from shared.db.models import Topic

EVERY_USER = ["users"]

# of MQTT, which is not spoken here: kept and shown
Qos = Annotated[Integer, Field(ge=0, le=1, description="Kept, without effect")]
Expiry = Annotated[Integer, Field(ge=0, le=604_800, description="Seconds; kept, without effect")]


class TopicCreate(Parameters):
    topic_id: CustomId
    name: Text128
    subscribe: Annotated[Roles, Field(description="Roles of users who may subscribe; keys always may")] = EVERY_USER
    description: Text256 | None = None
    qos: Qos | None = None
    expiry: Expiry | None = None


class TopicUpdate(Parameters):
    name: Text128 | None = None
    subscribe: Roles | None = None
    description: Text256 | None = None
    qos: Qos | None = None
    expiry: Expiry | None = None


class TopicModel(StoredModel):
    name: str
    email_total: int
    sms_total: int
    push_total: int
    subscribe: list[str]
    description: str
    qos: int | None
    expiry: int | None

    @classmethod
    def of(cls, topic: Topic) -> "TopicModel":
        return cls(
            id=topic.id,
            created_at=topic.created_at,
            updated_at=topic.updated_at,
            name=topic.name,
            email_total=topic.email_total,
            sms_total=topic.sms_total,
            push_total=topic.push_total,
            subscribe=topic.subscribe,
            description=topic.description,
            qos=topic.qos,
            expiry=topic.expiry,
        )


class TopicList(WireModel):
    total: int
    topics: list[TopicModel]
