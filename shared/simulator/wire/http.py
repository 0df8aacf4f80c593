"""The HTTP server: HTTP/1.1 in the clear; behind TLS, HTTP/2 or HTTP/1.1 as the client negotiates."""

import asyncio
import ssl
from collections.abc import Callable

from shared.simulator.wire.exchange import LARGEST_BODY_BYTES, Application
from shared.simulator.wire.http1 import Http1Connection
from shared.simulator.wire.http2 import Http2Connection, StreamTerms
from shared.simulator.wire.listener import Listener


class HttpServer(Listener):
    def __init__(
        self,
        application: Application,
        *,
        before_write: Callable[[], None],
        largest_body_bytes: int = LARGEST_BODY_BYTES,
    ) -> None:
        """`before_write` runs before any reply leaves: what a reply promises is on record by then."""
        super().__init__()
        self._application = application
        self._before_write = before_write
        self._largest_body_bytes = largest_body_bytes

    async def start(self, host: str, port: int, *, tls: ssl.SSLContext | None = None) -> None:
        await self.listen(self._negotiate if tls else self._http1, host, port, tls=tls)

    def _negotiate(self) -> asyncio.Protocol:
        return _Negotiation(self)

    def _http1(self) -> Http1Connection:
        return Http1Connection(self._application, self, self._before_write, self._largest_body_bytes)

    def _http2(self) -> Http2Connection:
        return Http2Connection(self._application, self, self._before_write, self._largest_body_bytes)

    def protocol_for(self, negotiated: str | None) -> asyncio.Protocol:
        return self._http2() if negotiated == "h2" else self._http1()


class _Negotiation(asyncio.Protocol):
    """Hands the connection to the protocol that ALPN chose."""

    def __init__(self, server: HttpServer) -> None:
        self._server = server

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        session: ssl.SSLObject = transport.get_extra_info("ssl_object")
        protocol = self._server.protocol_for(session.selected_alpn_protocol())
        transport.set_protocol(protocol)
        protocol.connection_made(transport)


class Http2Server(Listener):
    """HTTP/2 alone, each connection with an application of its own that knows what went over it before.

    Who speaks anything else than HTTP/2 is cut off; who negotiated nothing is given the benefit of the doubt.
    """

    def __init__(
        self,
        connect: Callable[[], Application],
        *,
        before_write: Callable[[], None],
        terms: Callable[[], StreamTerms],
    ) -> None:
        """`connect` and `terms` are asked for each connection."""
        super().__init__()
        self._connect = connect
        self._before_write = before_write
        self._terms = terms

    async def start(self, host: str, port: int, *, tls: ssl.SSLContext) -> None:
        await self.listen(self._http2, host, port, tls=tls)

    def _http2(self) -> Http2Connection:
        return Http2Connection(self._connect(), self, self._before_write, LARGEST_BODY_BYTES, self._terms())
