"""`python -m api`: the API as a process of its own."""

import asyncio
import ctypes
import gc
import signal
import socket
import struct
import sys
from typing import Final

import structlog
import uvicorn
from fastapi import FastAPI

from api.app import create_app
from api.connections import BoundedProtocol, Connections
from api.proxies import TrustedProxies
from shared.db.reachable import check_tables
from shared.errors import ConfigurationError
from shared.exits import DONE, FAILED, exit_on_error
from shared.logging import configure_logging
from shared.open_files import allow_as_many_open_files_as_possible
from shared.settings import Settings, load_settings

GRACE_SECONDS = 10
"""How long requests under way may take after a TERM."""

BACKLOG = 2048

UNTAKEN_SECONDS = 60.0
"""That a client may leave our last words untaken. A closed connection waits for that, and as long as the other side
acknowledges the kernel's questions it would do so for ever, and take a place of those that are there for all.
"""

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
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(UNTAKEN_SECONDS * 1000))  # inherited, too
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


SO_ATTACH_FILTER: Final = 26  # asm-generic/socket.h; Python has no name for it
_NO_BEGINNINGS: Final = (
    # classic BPF over a TCP segment: drop those that begin a connection (SYN without ACK), take the others whole
    (0x30, 0, 0, 13),  # load the byte of flags
    (0x54, 0, 0, 0x12),  # SYN and ACK of them
    (0x15, 0, 1, 0x02),  # SYN alone: the next instruction, else the one after it
    (0x06, 0, 0, 0),  # drop
    (0x06, 0, 0, 0xFFFF),  # take
)
SWITCH_SECONDS: Final = 0.0005
"""After which a thread that works aside (shared/aside.py) hands the interpreter to the event loop; Python itself lets
it go on ten times as long, at each of the loop's turns.
"""

ACCEPT_SECONDS = 0.1
"""For what waits to be accepted once nothing new can come."""


def refuse_beginnings(listening: socket.socket) -> None:
    """Let no new connection reach a listening socket.

    What waits to be accepted when one is closed is reset by the kernel, and so is whatever comes between the last
    accept and the end. Who begins now hears nothing, tries again in a second, and finds the port closed or another
    process there. Where the kernel knows no such filter that gap stays, some microseconds wide.
    """
    program = b"".join(struct.pack("HBBI", *instruction) for instruction in _NO_BEGINNINGS)
    kept = ctypes.create_string_buffer(program)  # until the kernel has copied it
    try:
        listening.setsockopt(
            socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("HL", len(_NO_BEGINNINGS), ctypes.addressof(kept))
        )
    except OSError as error:
        log.warning("api.no_filter", reason=error.strerror)


class Server(uvicorn.Server):
    """Stops so that nobody who calls in the meantime is turned away."""

    def __init__(self, config: uvicorn.Config, app: FastAPI, settings: Settings) -> None:
        super().__init__(config)
        self.server_state = self._connections = Connections(settings.max_connections)
        self._app = app
        self._drain_seconds = settings.drain_seconds

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Say so, serve on, and close when all that was begun is accepted. A second INT ends the waiting."""
        self._connections.is_draining = self._app.state.is_draining = True
        log.info("api.draining", seconds=self._drain_seconds, connections=len(self._connections.connections))
        until = asyncio.get_running_loop().time() + self._drain_seconds
        while (left := until - asyncio.get_running_loop().time()) > 0:
            await asyncio.sleep(min(left, 0.1))
            if self.force_exit:
                break
        for listening in sockets or ():
            refuse_beginnings(listening)
        await asyncio.sleep(ACCEPT_SECONDS)
        await super().shutdown(sockets)


def create_server(settings: Settings) -> Server:
    app = create_app(settings)
    return Server(
        uvicorn.Config(
            TrustedProxies(app, settings.proxy_networks()),
            proxy_headers=False,  # uvicorn's own trust whoever connects from this machine
            loop="uvloop",
            http=BoundedProtocol,
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            headers=[("server", "Tidings")],
            timeout_graceful_shutdown=GRACE_SECONDS,
        ),
        app,
        settings,
    )


def main() -> int:
    with exit_on_error():
        settings = load_settings()
        configure_logging(settings, role="api")
        allow_as_many_open_files_as_possible()
        check_tables(settings)
        server = create_server(settings)
        sys.setswitchinterval(SWITCH_SECONDS)
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
