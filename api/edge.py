"""The outermost layer of a request: one path for both spellings, CORS, headers, metrics, and what nobody foresaw."""

import time

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.kernel import NO_CONTENT_HEADER, send_body, send_error
from api.origins import cors_headers
from shared.ids import new_public_id
from shared.metrics import API_SECONDS
from shared.settings import Settings

log = structlog.get_logger(__name__)


class Edge:
    """ASGI middleware around everything else."""

    def __init__(self, app: ASGIApp, *, settings: Settings) -> None:
        self._app = app
        self._settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if scope["method"] == "HEAD":
            scope = {**scope, "method": "GET"}  # a copy: the server, by its own, leaves out the body of the answer
        exchange = _Exchange(scope, send, self._settings)
        structlog.contextvars.bind_contextvars(request_id=exchange.request_id)
        scope["path"] = scope["path"].rstrip("/") or "/"  # both spellings answer, without a redirect (contract §1.6)
        try:
            if scope["method"] == "OPTIONS":
                await send_body(exchange.send, 204, [NO_CONTENT_HEADER], b"")
            else:
                await self._app(scope, receive, exchange.send)
        except Exception:
            # the process's edge: a fault of ours, told to the log in full and to the caller not at all
            log.exception("request.failed", method=scope["method"], route=exchange.route)
            if exchange.status:
                raise  # too late for another answer: the connection is cut
            await send_error(exchange.send, "general_unknown", "Server error. The log has more under the request id.")
        finally:
            exchange.finish()


class _Exchange:
    """One request and its answer: adds the headers of every answer on its way out."""

    def __init__(self, scope: Scope, send: Send, settings: Settings) -> None:
        self.request_id = new_public_id()
        self.status = 0  # 0: not answered yet
        self._scope = scope
        self._send = send
        self._settings = settings
        self._started = time.perf_counter()

    @property
    def route(self) -> str:
        """The path with its parameters' names in place of their values."""
        return getattr(self._scope.get("route"), "path", "unmatched")

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"] = [*message["headers"], *self._headers()]
        await self._send(message)

    def _headers(self) -> list[tuple[bytes, bytes]]:
        received = dict(self._scope["headers"])
        has_session = b"cookie" in received or b"x-appwrite-session" in received
        headers = [
            (b"x-content-type-options", b"nosniff"),
            (b"x-request-id", self.request_id.encode()),
            (b"x-debug-speed", f"{time.perf_counter() - self._started:.6f}".encode()),
            (b"x-debug-fallback", b"false" if has_session else b"true"),
            (b"vary", b"Origin"),  # also where none was sent: a cache must not give that answer to a page
        ]
        if origin := received.get(b"origin"):
            headers += cors_headers(origin.decode("latin-1"), self._settings)
        return headers

    def finish(self) -> None:
        seconds = time.perf_counter() - self._started
        method, status = self._scope["method"], self.status
        API_SECONDS.labels(method, self.route, status).observe(seconds)
        # successes are many and say little: the metrics have them
        write = log.info if status >= 400 else log.debug
        write("request.answered", method=method, route=self.route, status=status, seconds=round(seconds, 6))
