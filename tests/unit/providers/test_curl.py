"""What libcurl alone is asked for: HTTP/1.1, and a process that ends at once."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterator

import pytest

from shared.providers.curl import CurlTransport
from shared.providers.transport import Failure, Reply, Request
from tests.contract.certificates import Certificates
from tests.contract.http2_server import Http2Server, Silence
from tests.tcp_server import tcp_server
from tests.unit.providers.exchanges import drain, exchange, posts


@pytest.fixture
async def transport(certificates: Certificates) -> AsyncIterator[CurlTransport]:
    transport = make_transport(certificates)
    yield transport
    await transport.aclose()


def make_transport(certificates: Certificates, *, connections: int = 2) -> CurlTransport:
    return CurlTransport(timeout_seconds=5, ca_file=certificates.ca_file, connections=connections)


@pytest.mark.parametrize("is_reset", [False, True])
async def test_a_kept_http1_connection_that_breaks_is_in_doubt(transport: CurlTransport, *, is_reset: bool) -> None:
    """Closed in order it looks to libcurl like a refused stream, and without our care it would send again."""
    received: list[bytes] = []

    async def answer_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received.append(await read_request(reader))
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
        received.append(await read_request(reader))
        if is_reset:
            writer.transport.abort()
        writer.close()

    async with tcp_server(answer_once) as place:
        origin = f"http://{place}"
        (first,) = await exchange(transport, origin, b"first")
        (second,) = await exchange(transport, origin, b"second")

    assert isinstance(first, Reply)
    assert isinstance(second, Failure)
    assert not second.never_left
    assert received == [b"first", b"second"]


@pytest.mark.parametrize(
    "answer", [b"hello, this is not HTTP\r\n\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc", b""]
)
async def test_malformed_http1(transport: CurlTransport, answer: bytes) -> None:
    async def talk_nonsense(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(answer)
        writer.close()

    async with tcp_server(talk_nonsense) as place:
        (failure,) = await exchange(transport, f"http://{place}", b"x")

    assert isinstance(failure, Failure)
    assert not failure.never_left


async def read_request(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
    return await reader.readexactly(int(length.partition(b":")[2]))


async def test_http1_takes_one_request_on_a_connection(certificates: Certificates) -> None:
    """The others wait with us, where no time runs for them."""
    transport = make_transport(certificates, connections=1)
    released, holding = asyncio.Event(), asyncio.Event()
    pulled: list[int] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError):  # the client has gone
            while True:
                if await read_request(reader) == b"held":
                    holding.set()
                    await released.wait()
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
        writer.close()

    def noted() -> Iterator[tuple[int, Request]]:
        for number, request in posts(*[b"held"] * 20):
            pulled.append(number)
            yield number, request

    async with tcp_server(answer) as place:
        origin = f"http://{place}"
        await exchange(transport, origin, b"first")
        exchanging = asyncio.create_task(drain(transport, origin, noted()))
        await holding.wait()
        assert pulled == [0]
        released.set()
        assert await exchanging == 20
        await transport.aclose()


SENDER = """
import asyncio, sys
from pathlib import Path
from shared.providers import curl_line
from shared.providers.curl import CurlTransport
from shared.providers.transport import Request

async def send() -> None:
    transport = CurlTransport(timeout_seconds=60, ca_file=Path(sys.argv[2]))
    async for _ in transport.exchange(sys.argv[1], iter([(0, Request("/", (), b"x"))])):
        pass

asyncio.run(send())
"""


async def test_a_process_with_requests_in_flight_ends_at_once(server: Http2Server, certificates: Certificates) -> None:
    server.script = lambda _: Silence()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", SENDER, server.origin, str(certificates.ca_file), env=dict(os.environ)
    )
    await server.arrival(1)

    process.send_signal(signal.SIGTERM)

    async with asyncio.timeout(5):
        assert await process.wait() == -signal.SIGTERM
