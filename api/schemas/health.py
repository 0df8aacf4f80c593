"""Health on the wire (contract §17)."""

from typing import Annotated, Literal

from fastapi import Path
from pydantic import Field

from api.schemas.base import QueryParameters, WireModel
from api.schemas.values import Integer

QueueName = Annotated[
    Literal[
        "v1-messaging",
        "v1-mails",
        "v1-webhooks",
        "v1-audits",
        "v1-deletes",
        "v1-functions",
        "v1-database",
        "v1-builds",
        "v1-certificates",
        "v1-migrations",
        "v1-stats-usage",
        "v1-stats-resources",
    ],
    Path(description="The contract's names of queues"),
]


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
