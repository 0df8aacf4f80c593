"""The server that both sides send to: it speaks HTTP/1.1 and HTTP/2, answers as told and keeps what it was asked."""

import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from shared.simulator.wire.exchange import Reply, Request
from shared.simulator.wire.http import HttpServer


@dataclass(slots=True)
class Capture:
    """An Application, see there."""

    reply: Callable[[Request], Reply]
    host: str = ""  # with its port
    requests: list[Request] = field(default_factory=list)

    def answer(self, request: Request) -> Reply:
        self.requests.append(request)
        return self.reply(request)


@asynccontextmanager
async def capturing(reply: Callable[[Request], Reply], *, tls: ssl.SSLContext | None = None) -> AsyncIterator[Capture]:
    capture = Capture(reply)
    server = HttpServer(capture, before_write=lambda: None)
    await server.start("127.0.0.1", 0, tls=tls)
    capture.host = f"127.0.0.1:{server.port}"
    try:
        yield capture
    finally:
        await server.close()
