"""Transport on connections of our own: HTTP/2 over TLS, for providers that take one recipient a request.

They cost a quarter to a fifth of libcurl's CPU a request: deploy/decisions has the numbers.
"""

import asyncio
import socket
import ssl
from collections.abc import Callable
from functools import cached_property
from typing import Final
from urllib.parse import urlsplit

from aiohappyeyeballs import start_connection

from shared.providers.flow import Turns
from shared.providers.http2_connection import Connection
from shared.providers.line_transport import Exchange, Line, LineTransport
from shared.providers.lookup import Lookups
from shared.providers.transport import Failure, Pool, Reply, Request
from shared.providers.trust import tls_context

PAUSE_AFTER_FAILURE_SECONDS: Final = 1.0
"""Before a further connection is tried where others carry on."""

NEXT_ADDRESS_SECONDS: Final = 0.25  # RFC 8305, section 5


class Http2Transport(LineTransport):
    """Connections of our own for each line. Origins are https."""

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        """Made when a connection is wanted: reading the system's authorities takes 15 ms."""
        return tls_context(self.ca_file, "h2")

    def open_line(self, origin: str, pool: Pool) -> Line:
        return Http2Line(
            origin,
            pool,
            lambda: self._tls,
            timeout_seconds=self.timeout_seconds,
            connect_seconds=self.connect_timeout_seconds,
        )


class Http2Line:
    """The connections to one origin, and the requests waiting for room on them."""

    def __init__(
        self,
        origin: str,
        pool: Pool,
        tls: Callable[[], ssl.SSLContext],
        *,
        timeout_seconds: float,
        connect_seconds: float,
    ) -> None:
        """`tls` may fail: then connections do, and no request has left."""
        place = urlsplit(origin)
        self._authority, self._host, self._port = place.netloc, place.hostname or "", place.port or 443
        self._pool = pool
        self._tls = tls
        self._timeout_seconds = timeout_seconds
        self._connect_seconds = connect_seconds
        self._loop = asyncio.get_running_loop()
        self.time = self._loop.time
        self._turns = Turns[Request, Reply | Failure]()
        self._held: tuple[Exchange, int, Request] | None = None  # taken, and no connection had room for it
        self._lookups = Lookups()
        self._connections: list[Connection] = []
        self._opening: asyncio.Task[None] | None = None
        self._paused_until = 0.0  # no further connection is tried before
        self._is_closed = False

    def admit(self, flow: Exchange) -> None:
        self._turns.join(flow)
        self._fill()

    def drop(self, flow: Exchange) -> None:
        """Forget a flow; its requests in flight are reset."""
        flow.abandon()
        if flow.travelling:
            for connection in self._connections:
                connection.drop(flow)
            self._fill()

    def close(self) -> None:
        self._is_closed = True
        if self._opening is not None:
            self._opening.cancel()
        for connection in list(self._connections):
            connection.close("the transport was closed")
        self._refuse_waiting("the transport was closed")

    def _fill(self) -> None:
        """Send what waits, as far as there is room."""
        for connection in self._connections:
            while connection.has_room and (work := self._next()) is not None:
                connection.send(*work)
            connection.flush()
            if connection.has_room:
                return  # nothing waits any more
        if self._may_open() and (work := self._next()) is not None:
            self._held = work
            self._opening = asyncio.create_task(self._open())

    def _next(self) -> tuple[Exchange, int, Request] | None:
        """What waited too long is answered here."""
        while (work := self._take()) is not None:
            flow, index, _request = work
            if flow.is_abandoned:
                flow.finish(index, Failure("nobody waits for it any more", never_left=True))
            elif self.time() > flow.leave_by:
                flow.finish(index, Failure("there was no room for it in time", never_left=True))
            else:
                return work
        return None

    def _take(self) -> tuple[Exchange, int, Request] | None:
        work, self._held = self._held, None
        return work or self._turns.take()

    def _may_open(self) -> bool:
        if self._opening is not None or self._is_closed:
            return False
        usable = [connection for connection in self._connections if connection.is_usable]
        if not usable:
            return True
        is_worth_it = all(connection.is_proven for connection in usable)  # else there is about to be room
        return is_worth_it and len(usable) < self._pool.connections and self.time() >= self._paused_until

    async def _open(self) -> None:
        """One more connection. Without any, nobody waits for it in vain."""
        try:
            async with asyncio.timeout(self._connect_seconds):
                connection = await self._connect()
        except Exception as error:  # noqa: BLE001  # whatever it was: nobody may wait for ever
            reason = str(error) or f"no connection within {self._connect_seconds:g} s"
            if any(connection.is_usable for connection in self._connections):
                self._paused_until = self.time() + PAUSE_AFTER_FAILURE_SECONDS
            else:
                self._refuse_waiting(reason)
        else:
            self._connections.append(connection)
        finally:
            self._opening = None
        self._fill()

    async def _connect(self) -> Connection:
        """Raises OSError, and what making the TLS context raises."""
        tls = self._tls()
        addresses = await self._lookups.find(self._host, self._port)
        connected = await start_connection(addresses, happy_eyeballs_delay=NEXT_ADDRESS_SECONDS)
        # the kernel drops a connection whose peer acknowledges nothing for so long
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(self._timeout_seconds * 1000))
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        transport, connection = await self._loop.create_connection(
            self._make_connection, sock=connected, ssl=tls, server_hostname=self._host
        )
        try:
            await _greet(transport, connection)
        except BaseException:
            transport.abort()
            raise
        return connection

    def _make_connection(self) -> Connection:
        return Connection(
            self._authority,
            self._pool,
            timeout_seconds=self._timeout_seconds,
            ping_seconds=self._connect_seconds,
            changed=self._note_change,
        )

    def _note_change(self) -> None:
        self._connections = [connection for connection in self._connections if not connection.is_over]
        self._fill()

    def _refuse_waiting(self, reason: str) -> None:
        while (work := self._take()) is not None:
            flow, index, _request = work
            flow.finish(index, Failure(reason, never_left=True))


async def _greet(transport: asyncio.BaseTransport, connection: Connection) -> None:
    """Raises OSError where it turns out to be of no use."""
    session: ssl.SSLObject = transport.get_extra_info("ssl_object")
    if session.selected_alpn_protocol() != "h2":
        raise ConnectionError("the server does not speak HTTP/2")
    await connection.ready
    if not connection.is_usable:
        raise ConnectionError("the server takes no requests")
