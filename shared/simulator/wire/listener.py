"""One listening port and its connections: met as the faults have it, closed without leaving a socket behind."""

import asyncio
import errno
import socket
import ssl
from collections.abc import Callable
from typing import Final, Protocol

from shared.errors import ConfigurationError
from shared.simulator.wire.manner import Opening, end_with_reset
from shared.simulator.wire.strangers import Stranger

CLOSING_SECONDS = 1.0
"""How long connections may take to say goodbye before they are cut."""

BACKLOG: Final = 1024
"""Connections that the kernel keeps for us; campaigns open hundreds at once."""

BREATHER_SECONDS: Final = 0.1
"""No connection is taken for so long once the process has no descriptor left."""


class Connection(Protocol):
    def shut_down(self) -> None:
        """Say goodbye in the protocol's own way and close."""

    def abort(self) -> None:
        """Close at once."""


class Listener:
    """Knows its connections: each calls `opened` and `closed` about itself."""

    def __init__(self) -> None:
        self.port = 0
        self._addresses: list[tuple[socket.AddressFamily, str]] = []
        self._sockets: list[socket.socket] = []  # none while it refuses, or is closed
        self._protocol: Callable[[], asyncio.Protocol]
        self._tls: ssl.SSLContext | None = None
        self._opening = Opening.PROMPT
        self._slow_seconds = 0.0
        self._welcoming: set[asyncio.Task[None]] = set()
        self._connections: set[Connection] = set()
        self._all_closed = asyncio.Event()
        self._all_closed.set()

    async def listen(
        self, protocol: Callable[[], asyncio.Protocol], host: str, port: int, *, tls: ssl.SSLContext | None = None
    ) -> None:
        """Bind; port 0 takes a free one. Raises ConfigurationError where the port cannot be had."""
        self._loop = asyncio.get_running_loop()
        self._protocol, self._tls, self.port = protocol, tls, port
        try:
            found = await self._loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
            self._addresses = list(dict.fromkeys((family, str(address[0])) for family, _, _, _, address in found))
            self._bind()
        except OSError as error:
            raise _cannot_listen(host, port, error) from error
        self._host = host
        if self._opening is Opening.REFUSED:  # as the profile had it before; the port is known all the same
            self._unbind()

    def open_as(self, opening: Opening, *, slow_seconds: float) -> None:
        """Meet connections like this from now on; a change for the worse cuts those that were open.

        Raises ConfigurationError where another process has taken the port that was refused.
        """
        is_new, self._opening, self._slow_seconds = opening is not self._opening, opening, slow_seconds
        if not is_new or not self._addresses:
            return
        for task in tuple(self._welcoming):
            task.cancel()
        for connection in tuple(self._connections):
            if opening is not Opening.PROMPT or isinstance(connection, Stranger):
                connection.abort()
        if opening is Opening.REFUSED:
            self._unbind()
        elif not self._sockets:
            try:
                self._bind()
            except OSError as error:
                raise _cannot_listen(self._host, self.port, error) from error

    def opened(self, connection: Connection) -> None:
        self._connections.add(connection)
        self._all_closed.clear()

    def closed(self, connection: Connection) -> None:
        self._connections.discard(connection)
        if not self._connections:
            self._all_closed.set()

    async def close(self) -> None:
        """Take no more connections, let the open ones say goodbye, cut what lingers. Safe to call twice."""
        self._unbind()
        self._addresses = []
        for task in tuple(self._welcoming):
            task.cancel()
        for connection in tuple(self._connections):
            connection.shut_down()
        try:
            await asyncio.wait_for(self._all_closed.wait(), CLOSING_SECONDS)
        except TimeoutError:
            for connection in tuple(self._connections):
                connection.abort()
            await self._all_closed.wait()

    # accepting: by hand, since only so may a port refuse, wait or misbehave before TLS has begun

    def _bind(self) -> None:
        for family, address in self._addresses:
            listening = socket.create_server((address, self.port), family=family, backlog=BACKLOG, reuse_port=False)
            listening.setblocking(False)
            self.port = listening.getsockname()[1]
            self._sockets.append(listening)
            self._loop.add_reader(listening, self._accept, listening)

    def _unbind(self) -> None:
        for listening in self._sockets:
            self._loop.remove_reader(listening)
            listening.close()
        self._sockets.clear()

    def _accept(self, listening: socket.socket) -> None:
        for _ in range(BACKLOG):
            try:
                accepted, _ = listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno not in {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}:
                    raise
                self._loop.remove_reader(listening)
                self._loop.call_later(BREATHER_SECONDS, self._accept_again, listening)
                return
            if self._opening is Opening.RESET:
                end_with_reset(accepted)
                accepted.close()
                continue
            accepted.setblocking(False)
            task = self._loop.create_task(self._welcome(accepted))
            self._welcoming.add(task)
            task.add_done_callback(self._welcoming.discard)

    def _accept_again(self, listening: socket.socket) -> None:
        if listening in self._sockets:
            self._loop.add_reader(listening, self._accept, listening)

    async def _welcome(self, accepted: socket.socket) -> None:
        """Hand the connection to its protocol, or to one that serves nobody."""
        opening, protocol, tls = self._opening, self._protocol, self._tls
        if opening not in {Opening.PROMPT, Opening.SLOW}:
            protocol, tls = self._stranger(opening), None
        patience = CLOSING_SECONDS if tls else None
        try:
            if opening is Opening.SLOW:
                await asyncio.sleep(self._slow_seconds)
            await self._loop.connect_accepted_socket(protocol, accepted, ssl=tls, ssl_shutdown_timeout=patience)
        except OSError:  # among them what ssl raises: the client does not trust us, speaks no TLS or has gone
            accepted.close()
        except asyncio.CancelledError:  # the port closes, or opens otherwise
            accepted.close()
            raise

    def _stranger(self, opening: Opening) -> Callable[[], Stranger]:
        is_secure = self._tls is not None
        return lambda: Stranger(opening, on_open=self.opened, on_close=self.closed, is_secure=is_secure)


def _cannot_listen(host: str, port: int, error: OSError) -> ConfigurationError:
    if error.errno == errno.EADDRINUSE:
        return ConfigurationError(
            f"Port {port} on {host} is in use.", hint="Stop what uses it, or choose another port; 0 takes a free one."
        )
    return ConfigurationError(f"Cannot listen on {host}:{port}: {error.strerror or error}.")
