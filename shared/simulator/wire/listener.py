"""One listening port and its connections, closed without leaving a socket behind."""

import asyncio
import errno
import ssl
from collections.abc import Callable
from typing import Protocol

from shared.errors import ConfigurationError

CLOSING_SECONDS = 1.0
"""How long connections may take to say goodbye before they are cut."""


class Connection(Protocol):
    def shut_down(self) -> None:
        """Say goodbye in the protocol's own way and close."""

    def abort(self) -> None:
        """Close at once."""


class Listener:
    """Knows its connections: each calls `opened` and `closed` about itself."""

    def __init__(self) -> None:
        self.port = 0
        self._server: asyncio.Server | None = None
        self._connections: set[Connection] = set()
        self._all_closed = asyncio.Event()
        self._all_closed.set()

    async def listen(
        self, protocol: Callable[[], asyncio.Protocol], host: str, port: int, *, tls: ssl.SSLContext | None = None
    ) -> None:
        """Bind; port 0 takes a free one. Raises ConfigurationError where the port cannot be had."""
        loop = asyncio.get_running_loop()
        patience = CLOSING_SECONDS if tls else None
        try:
            self._server = await loop.create_server(protocol, host, port, ssl=tls, ssl_shutdown_timeout=patience)
        except OSError as error:
            raise _cannot_listen(host, port, error) from error
        self.port = self._server.sockets[0].getsockname()[1]

    def opened(self, connection: Connection) -> None:
        self._connections.add(connection)
        self._all_closed.clear()

    def closed(self, connection: Connection) -> None:
        self._connections.discard(connection)
        if not self._connections:
            self._all_closed.set()

    async def close(self) -> None:
        """Take no more connections, let the open ones say goodbye, cut what lingers. Safe to call twice."""
        if self._server is None:
            return
        self._server.close()
        for connection in tuple(self._connections):
            connection.shut_down()
        try:
            await asyncio.wait_for(self._all_closed.wait(), CLOSING_SECONDS)
        except TimeoutError:
            for connection in tuple(self._connections):
                connection.abort()
            await self._all_closed.wait()
        await self._server.wait_closed()
        self._server = None


def _cannot_listen(host: str, port: int, error: OSError) -> ConfigurationError:
    if error.errno == errno.EADDRINUSE:
        return ConfigurationError(
            f"Port {port} on {host} is in use.", hint="Stop what uses it, or choose another port; 0 takes a free one."
        )
    return ConfigurationError(f"Cannot listen on {host}:{port}: {error.strerror or error}.")
