"""`python -m api`: the API as a process of its own."""

import gc
import signal
import socket
import sys

import structlog
import uvicorn

from api.app import create_app
from api.connections import BoundedProtocol
from shared.db.reachable import check_tables
from shared.errors import ConfigurationError
from shared.exits import DONE, FAILED, exit_on_error
from shared.logging import configure_logging
from shared.settings import Settings, load_settings

GRACE_SECONDS = 10
"""How long requests under way may take after a TERM."""

BACKLOG = 2048

log = structlog.get_logger(__name__)


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
    with exit_on_error():
        settings = load_settings()
        configure_logging(settings, role="api")
        check_tables(settings)
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
    return DONE if server.started else FAILED


if __name__ == "__main__":
    sys.exit(main())
