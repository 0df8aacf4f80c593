"""`python -m api`: the API as a process of its own."""

import gc
import signal
import socket
import sys

import psycopg
import sqlalchemy.exc
import structlog
import uvicorn

from api.app import create_app
from api.connections import BoundedProtocol
from shared.db.migrate import current_revision
from shared.errors import ConfigurationError, NotReachable, TidingsError
from shared.logging import configure_logging
from shared.settings import Settings, load_settings

GRACE_SECONDS = 10
"""How long requests under way may take after a TERM."""

BACKLOG = 2048

EXIT_FAILED, EXIT_NOT_REACHABLE = 1, 4

log = structlog.get_logger(__name__)


def check_database(settings: Settings) -> None:
    """Raises NotReachable or ConfigurationError, so that a start without a database says so in one line."""
    try:
        revision = current_revision(settings.require_database_url())
    except (sqlalchemy.exc.OperationalError, psycopg.OperationalError) as error:
        raise NotReachable(
            "The database does not answer.", hint="Check TIDINGS_DATABASE_URL and that Postgres is running."
        ) from error
    if revision is None:
        raise ConfigurationError("The database holds no Tidings tables.", hint="Run `tidings migrate`.")


def open_socket(settings: Settings) -> socket.socket:
    """Listening already, so that connections wait for the server instead of being refused.

    Raises ConfigurationError where the address cannot be had.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listening = socket.socket(family)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    # inherited by its connections: without it headers and body, two writes, meet the other side's delayed
    # acknowledgement, and every answer on a kept connection takes 40 ms
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        listening.bind((settings.host, settings.port))
        listening.listen(BACKLOG)
    except OSError as error:
        listening.close()
        raise ConfigurationError(
            f"The API cannot listen on {settings.host} port {settings.port}: {error.strerror}.",
            hint="Set TIDINGS_PORT to a free port, or stop what uses this one.",
        ) from error
    return listening


def create_server(settings: Settings) -> uvicorn.Server:
    return uvicorn.Server(
        uvicorn.Config(
            create_app(settings),
            loop="uvloop",
            http=BoundedProtocol,
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            headers=[("server", "Tidings")],
            timeout_graceful_shutdown=GRACE_SECONDS,
        )
    )


def main() -> int:
    try:
        settings = load_settings()
        configure_logging(settings, role="api")
        check_database(settings)
        server = create_server(settings)
        # what is here by now stays: searched for garbage along with the rest, it would hold up requests for 0.1 s
        gc.freeze()
        with open_socket(settings) as listening:
            host, port, *_ = listening.getsockname()
            log.info("api.listening", host=host, port=port)
            for number in (signal.SIGINT, signal.SIGTERM):
                # uvicorn raises the signal it was stopped by once more when it is done: a clean stop is no failure
                signal.signal(number, lambda *_: None)
            server.run(sockets=[listening])
    except TidingsError as error:
        print(" ".join(filter(None, (error.message, error.hint))), file=sys.stderr)  # noqa: T201  # for the operator
        return EXIT_NOT_REACHABLE if isinstance(error, NotReachable) else EXIT_FAILED
    return 0 if server.started else EXIT_FAILED


if __name__ == "__main__":
    sys.exit(main())
