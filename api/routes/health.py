"""/v1/health and /v1/ping (contract §17)."""

import time
from typing import Annotated

from fastapi import Query
from starlette.responses import PlainTextResponse

from api.declarations import Content
from api.errors import VERSION
from api.kernel import Call, Routes
from api.schemas.health import HealthModel, QueueModel, QueueName, QueueParameters, VersionModel
from shared.db.queries.health import answers, count_interrupted_work, count_waiting_work
from shared.db.session import hot_statements
from shared.errors import RejectedRequest

routes = Routes("health")


@routes.get("/v1/health", scope="health.read", answers=HealthModel)
async def get_health(call: Call) -> HealthModel:
    started = time.perf_counter()
    async with hot_statements(call.services.engine) as connection:
        await answers(connection)
    return HealthModel(name="http", ping=round((time.perf_counter() - started) * 1000), status="pass")


@routes.get("/v1/health/version", answers=VersionModel)
async def get_version(call: Call) -> VersionModel:  # noqa: ARG001  # every handler is told who calls
    return VersionModel(version=VERSION)


@routes.get(
    "/v1/health/queue/messaging",
    scope="health.read",
    answers=QueueModel,
    refusals=["health_queue_size_exceeded"],
)
async def get_queue_messaging(call: Call, wanted: Annotated[QueueParameters, Query()]) -> QueueModel:
    """Of the project alone; the queues of all are the operator's to see, in the metrics."""
    async with hot_statements(call.services.engine) as connection:
        size = await count_waiting_work(connection, call.project.seq)
    if size >= wanted.threshold:
        raise RejectedRequest("health_queue_size_exceeded", f"{size} messages and batches wait.")
    return QueueModel(size=size)


@routes.get(
    "/v1/health/queue/failed/{name}",
    scope="health.read",
    answers=QueueModel,
    refusals=["health_queue_size_exceeded"],
)
async def get_failed_jobs(call: Call, name: QueueName, wanted: Annotated[QueueParameters, Query()]) -> QueueModel:
    """Of the project alone. Only `v1-messaging` is a queue here; what others of these names would do has no jobs that
    could fail.
    """
    size = 0
    if name == "v1-messaging":
        async with hot_statements(call.services.engine) as connection:
            size = await count_interrupted_work(connection, call.project.seq)
    if size >= wanted.threshold:
        raise RejectedRequest("health_queue_size_exceeded", f"{size} messages and batches were interrupted.")
    return QueueModel(size=size)


@routes.get("/v1/ping", answers=Content("text/plain"), refusals=["project_not_found"])
async def ping(call: Call) -> PlainTextResponse:
    """Whether the project exists."""
    assert call.project
    return PlainTextResponse("Pong!")
