"""What operators and machines ask of this process: alive, ready, metrics, and the documentation page."""

import asyncio
from pathlib import Path

from fastapi import FastAPI
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response

from api.errors import DATABASE_TROUBLE
from shared.db.queries.health import answers
from shared.db.session import hot_transaction

READY_WITHIN_SECONDS = 2

_DOCUMENTATION = Path(__file__).with_name("documentation.html").read_text()


async def live(_request: Request) -> Response:
    """The event loop turns."""
    return PlainTextResponse("live")


async def ready(request: Request) -> Response:
    """The database answers. The broker is not asked: without it messages are accepted and sent a little later."""
    state = request.app.state
    if state.is_draining:
        return PlainTextResponse("this process is about to end", status_code=503)
    asking = asyncio.create_task(_database_answers(state.services.engine))
    state.asking.add(asking)
    asking.add_done_callback(state.asking.discard)
    # not awaited to its end: giving up a statement takes psycopg ten seconds where the server stands still
    await asyncio.wait({asking}, timeout=READY_WITHIN_SECONDS)
    if asking.done() and asking.result():
        return PlainTextResponse("ready")
    return PlainTextResponse("the database does not answer", status_code=503)


async def _database_answers(engine: AsyncEngine) -> bool:
    try:
        async with asyncio.timeout(READY_WITHIN_SECONDS), hot_transaction(engine) as connection:
            await answers(connection)
    except (*DATABASE_TROUBLE, TimeoutError):
        return False
    return True


async def metrics(_request: Request) -> Response:
    return Response(generate_latest(), headers={"content-type": CONTENT_TYPE_LATEST})


async def documentation(_request: Request) -> Response:
    return HTMLResponse(_DOCUMENTATION)


def add_operations(app: FastAPI) -> None:
    app.state.is_draining = False
    app.state.asking = set()  # questions to the database that are not over yet; the loop alone would forget them
    for path, answer in {"/live": live, "/ready": ready, "/metrics": metrics, "/docs": documentation}.items():
        app.add_route(path, answer, include_in_schema=False)
