"""Health on the wire (contract §17)."""

from typing import Annotated, Literal

from pydantic import Field

from api.schemas.base import QueryParameters, WireModel
from api.schemas.values import Integer


class HealthModel(WireModel):
    name: str
    ping: int = Field(description="Milliseconds the database took to answer")
    status: Literal["pass"]


class VersionModel(WireModel):
    version: str


class QueueParameters(QueryParameters):
    threshold: Annotated[Integer, Field(ge=0, description="From this size on the answer is 503")] = 5000


class QueueModel(WireModel):
    size: int
