"""create_app(): the API's wiring, nothing else."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from api import openapi
from api.clock import SharedClock
from api.edge import Edge
from api.errors import ERROR_HEADERS, VERSION, error_body
from api.kernel import Services
from api.operations import add_operations
from api.principals import Directory
from api.quotas import Quotas
from api.routes import ALL_ROUTES
from api.tokens import TokenSigner
from shared.db.pools import CONNECTIONS_PER_PROCESS
from shared.db.receipt_addresses import ReceiptAddresses
from shared.db.secrets import SecretBox, read_secret_keys
from shared.db.session import create_engine, create_sessions
from shared.files.contents import FileContents
from shared.files.objects import open_object_store
from shared.providers.http import HttpTransport
from shared.queue.rings import Ringer
from shared.settings import Settings

POOL_SECONDS = 4.0
"""For a free connection to the database; with the 5 s for a new one still less than a request may take."""


def create_app(settings: Settings) -> FastAPI:
    """Raises ConfigurationError when no secret key or no server is configured. Connects to nothing yet."""
    engine = create_engine(
        settings, role="api", pool_size=CONNECTIONS_PER_PROCESS["api"], pool_timeout_seconds=POOL_SECONDS
    )
    secret_keys = read_secret_keys(settings)
    tokens, clock = TokenSigner(secret_keys), SharedClock(engine)
    services = Services(
        settings=settings,
        engine=engine,
        sessions=create_sessions(engine),
        contents=FileContents(engine, open_object_store(settings)),
        secret_box=SecretBox(secret_keys),
        tokens=tokens,
        receipt_addresses=ReceiptAddresses(secret_keys, settings.public_url),
        transport=HttpTransport(timeout_seconds=settings.provider_timeout_seconds, ca_file=settings.ca_file),
        clock=clock,
        directory=Directory(engine, tokens, clock, remember_seconds=settings.key_cache_seconds),
        quotas=Quotas(engine),
        ringer=Ringer(settings),
    )

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        services.ringer.start()
        try:
            yield
        finally:
            services.ringer.stop()
            await services.transport.aclose()
            await engine.dispose()

    app = openapi.Described(
        title="Tidings",
        version=VERSION,
        description=openapi.DESCRIPTION,
        openapi_tags=openapi.TAGS,
        docs_url=None,  # FastAPI's pages load their scripts from elsewhere; ours is in api/operations.py
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
    )
    app.state.services = services
    for routes in ALL_ROUTES:
        # not include_router: an included router matches every path twice, once to be chosen and once more inside
        app.router.routes.extend(routes.endpoints)
    add_operations(app)
    app.add_exception_handler(HTTPException, _no_such_route)
    app.add_middleware(Edge, settings=settings)
    return app


async def _no_such_route(_request: Request, _error: Exception) -> Response:
    """Path and method are looked up together, so both an unknown path and an unknown method end here."""
    body = error_body("general_route_not_found", "There is no such route.")
    response = Response(body.model_dump_json(), status_code=body.code, media_type="application/json; charset=UTF-8")
    response.raw_headers.extend(ERROR_HEADERS)
    return response
