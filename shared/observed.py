"""/metrics, /live and /ready for roles without an API: one small HTTP server in a thread."""

import socket
import sys
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import structlog
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest

from shared.errors import ConfigurationError
from shared.settings import Settings

SILENCE_SECONDS = 10.0
"""A client that says nothing for so long is let go: it holds a thread."""

log = structlog.get_logger()


def serve_observations(
    settings: Settings, *, is_ready: Callable[[], bool], registry: CollectorRegistry = REGISTRY
) -> ThreadingHTTPServer | None:
    """Start serving on TIDINGS_METRICS_PORT; None when it is not set. `is_ready` is asked per request."""
    if settings.metrics_port is None:
        return None

    class Pages(_Pages):
        timeout = SILENCE_SECONDS
        ready = staticmethod(is_ready)
        numbers = registry

    try:
        server = _server_for(settings.host)((settings.host, settings.metrics_port), Pages)
    except OSError as error:
        raise ConfigurationError(
            f"Port {settings.metrics_port} of {settings.host} cannot be opened for metrics: {error.strerror}.",
            hint="Set TIDINGS_METRICS_PORT to a free port and TIDINGS_HOST to an address of this machine.",
        ) from error
    threading.Thread(target=server.serve_forever, name="observed", daemon=True).start()
    return server


class _Server(ThreadingHTTPServer):
    def handle_error(self, _request: Any, _client_address: Any) -> None:
        """Mostly a scrape that broke off; by itself the base class prints what no collector of logs can read."""
        log.warning("observations not served", exc_info=sys.exception())


class _Server6(_Server):
    address_family = socket.AF_INET6


def _server_for(host: str) -> type[_Server]:
    return _Server6 if ":" in host else _Server


class _Pages(BaseHTTPRequestHandler):
    ready: ClassVar[Callable[[], bool]]
    numbers: ClassVar[CollectorRegistry]

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/metrics":
            self._answer(200, generate_latest(self.numbers), CONTENT_TYPE_LATEST)
        elif path == "/live":
            self._answer(200, b"live\n")
        elif path == "/ready":
            is_ready = type(self).ready()
            self._answer(200 if is_ready else 503, b"ready\n" if is_ready else b"not ready\n")
        else:
            self._answer(404, b"not found\n")

    def _answer(self, status: int, body: bytes, content_type: str = "text/plain; charset=utf-8") -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class's name
        """Probes every few seconds are no news."""


def database_answers(database_url: str) -> bool:
    """Readiness: one statement on a connection of its own."""
    import psycopg  # noqa: PLC0415  # the logging and metrics layer needs it only here

    try:
        with psycopg.connect(database_url, connect_timeout=2, application_name="tidings-ready") as connection:
            connection.execute("SELECT 1")
    except psycopg.OperationalError:
        return False
    return True
