"""HTTP/2 connections of our own against a server whose every frame the test writes."""

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import hpack
import pytest

from shared.providers import http2_connection
from shared.providers.http2 import Http2Transport
from shared.providers.http2_headers import NO_TABLE, BlockWriter, MalformedBlock, read_fields, read_status
from shared.providers.transport import Failure, Pool, Reply, Request
from tests.contract.certificates import Certificates
from tests.contract.http2_server import Answer, Held, Http2Server
from tests.tcp_server import tcp_server
from tests.unit.providers.exchanges import HEADERS, drain, exchange, posts

DATA, HEADERS_FRAME, RESET, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONTINUATION = 0, 1, 3, 4, 5, 6, 7, 8, 9
END_STREAM, END_HEADERS, PADDED, WITH_PRIORITY = 0x1, 0x4, 0x8, 0x20
OK = b"\x88"  # :status 200


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return struct.pack(">IBI", len(payload) << 8 | kind, flags, stream) + payload


def setting(name: int, value: int) -> bytes:
    return frame(SETTINGS, 0, 0, struct.pack(">HI", name, value))


@dataclass
class Peer:
    """The server's end of one connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def frame(self) -> tuple[int, int, int, bytes]:
        """The client's next: kind, flags, stream, payload."""
        length_and_kind, flags, stream = struct.unpack(">IBI", await self.reader.readexactly(9))
        return length_and_kind & 0xFF, flags, stream, await self.reader.readexactly(length_and_kind >> 8)

    async def frame_of(self, kind: int) -> tuple[int, int, bytes]:
        while (received := await self.frame())[0] != kind:
            pass
        return received[1:]

    async def request(self) -> int:
        """Read a whole request; its stream."""
        while True:
            kind, flags, stream, _ = await self.frame()
            if kind in {HEADERS_FRAME, DATA} and flags & END_STREAM:
                return stream

    def write(self, *frames: bytes) -> None:
        self.writer.write(b"".join(frames))


@dataclass
class RawServer:
    origin: str = ""
    connections: int = 0
    errors: list[BaseException] = field(default_factory=list)


@asynccontextmanager
async def serving(
    tls: ssl.SSLContext, act: Callable[[Peer], Awaitable[None]], *, settings: bytes = frame(SETTINGS, 0, 0)
) -> AsyncIterator[RawServer]:
    """Each connection is greeted with `settings` and then is `act`'s."""
    server = RawServer()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server.connections += 1
        with suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):  # the client has gone
            await reader.readexactly(len(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"))
            writer.write(settings)
            await act(Peer(reader, writer))
            await reader.read()
        writer.close()

    async with tcp_server(accept, tls=tls) as place:
        server.origin = f"https://{place}"
        yield server


@pytest.fixture
def tls(certificates: Certificates) -> ssl.SSLContext:
    return certificates.server_context("h2")


@pytest.fixture
async def transport(certificates: Certificates) -> AsyncIterator[Http2Transport]:
    transport = Http2Transport(timeout_seconds=5, ca_file=certificates.ca_file)
    yield transport
    await transport.aclose()


async def answer_all(peer: Peer) -> None:
    while True:
        stream = await peer.request()
        peer.write(frame(HEADERS_FRAME, END_HEADERS | END_STREAM, stream, OK))


# What may come


@pytest.mark.parametrize(
    ("frames", "reply"),
    [
        ([(HEADERS_FRAME, END_HEADERS | END_STREAM, OK)], Reply(200, b"")),
        ([(HEADERS_FRAME, END_HEADERS | END_STREAM, NO_TABLE + OK)], Reply(200, b"")),
        ([(HEADERS_FRAME, END_HEADERS, OK), (DATA, END_STREAM, b"{}")], Reply(200, b"{}")),
        (
            [
                (HEADERS_FRAME, END_HEADERS, OK),
                (DATA, 0, b"{"),
                (DATA, 0, b""),
                (DATA, 0, b"}"),
                (DATA, END_STREAM, b""),
            ],
            Reply(200, b"{}"),
        ),
        ([(HEADERS_FRAME, END_HEADERS, OK), (DATA, END_STREAM | PADDED, b"\x03{}\0\0\0")], Reply(200, b"{}")),
        (
            [(HEADERS_FRAME, END_HEADERS | END_STREAM | PADDED | WITH_PRIORITY, b"\x02" + b"\0" * 5 + OK + b"\0\0")],
            Reply(200, b""),
        ),
        (
            [(HEADERS_FRAME, END_STREAM, b"\x08"), (CONTINUATION, 0, b"\x03"), (CONTINUATION, END_HEADERS, b"410")],
            Reply(410, b""),
        ),
        (
            [(HEADERS_FRAME, END_HEADERS, b"\x08\x03103"), (HEADERS_FRAME, END_HEADERS | END_STREAM, OK)],
            Reply(200, b""),
        ),
        (
            [
                (HEADERS_FRAME, END_HEADERS, OK),
                (DATA, 0, b"{}"),
                (HEADERS_FRAME, END_HEADERS | END_STREAM, b"\x00\x01x\x01y"),
            ],
            Reply(200, b"{}"),
        ),
        ([(0x42, 0xFF, b"of a kind nobody knows"), (HEADERS_FRAME, END_HEADERS | END_STREAM, OK)], Reply(200, b"")),
    ],
    ids=[
        "no body",
        "table size",
        "body",
        "body in parts",
        "padded body",
        "padded headers",
        "continued headers",
        "a word in advance",
        "trailers",
        "unknown frame",
    ],
)
async def test_answers_in_every_shape(
    tls: ssl.SSLContext, transport: Http2Transport, frames: list[tuple[int, int, bytes]], reply: Reply
) -> None:
    async def act(peer: Peer) -> None:
        stream = await peer.request()
        octets = b"".join(frame(kind, flags, stream, payload) for kind, flags, payload in frames)
        for octet in octets:  # one by one: a frame may come in any pieces
            peer.write(bytes((octet,)))
            await asyncio.sleep(0)

    async with serving(tls, act) as server:
        assert await exchange(transport, server.origin, b"x") == [reply]


async def test_fields_are_handed_on_where_they_are_wanted(tls: ssl.SSLContext, transport: Http2Transport) -> None:
    block = hpack.Encoder().encode([(":status", "200"), ("x-request-id", "abc"), ("date", "now")], huffman=True)

    async def act(peer: Peer) -> None:
        stream = await peer.request()
        peer.write(frame(HEADERS_FRAME, END_HEADERS | END_STREAM, stream, NO_TABLE + block))

    async with serving(tls, act) as server:
        request = Request("/", (), b"", wanted=("x-request-id", "x-other"))
        async for batch in transport.exchange(server.origin, iter([(0, request)])):
            assert batch == [(0, Reply(200, b"", headers={"x-request-id": "abc"}))]


async def test_pings_are_answered(tls: ssl.SSLContext, transport: Http2Transport) -> None:
    async def act(peer: Peer) -> None:
        stream = await peer.request()
        peer.write(frame(PING, 0, 0, b"12345678"))
        assert (await peer.frame_of(PING))[2] == b"12345678"
        peer.write(frame(HEADERS_FRAME, END_HEADERS | END_STREAM, stream, OK))

    async with serving(tls, act) as server:
        assert await exchange(transport, server.origin, b"x") == [Reply(200, b"")]


async def test_bodies_wait_for_the_servers_windows(tls: ssl.SSLContext, certificates: Certificates) -> None:
    """Ten octets a stream at first, and then as many as the server says; the body arrives whole."""
    transport = Http2Transport(timeout_seconds=5, ca_file=certificates.ca_file, connections=1)
    received: dict[int, bytes] = {}

    async def act(peer: Peer) -> None:
        peer.write(frame(WINDOW, 0, 0, struct.pack(">I", 1_000_000)))
        while True:
            kind, flags, stream, payload = await peer.frame()
            if kind == DATA:
                received[stream] = received.get(stream, b"") + payload
                if flags & END_STREAM:
                    peer.write(frame(HEADERS_FRAME, END_HEADERS | END_STREAM, stream, OK))
                elif len(received[stream]) == 10:
                    peer.write(setting(4, 20))  # ten more on every stream
                else:
                    peer.write(frame(WINDOW, 0, stream, struct.pack(">I", 40_000)))

    bodies = [bytes([number]) * 50_000 for number in range(3)]
    async with serving(tls, act, settings=setting(4, 10)) as server:
        assert await exchange(transport, server.origin, *bodies) == [Reply(200, b"")] * 3
        await transport.aclose()
    assert list(received.values()) == bodies


async def test_a_window_may_shrink_below_what_was_sent(tls: ssl.SSLContext, transport: Http2Transport) -> None:
    received: list[int] = []

    async def act(peer: Peer) -> None:
        _, stream, first = await peer.frame_of(DATA)
        peer.write(setting(4, 10), frame(WINDOW, 0, stream, struct.pack(">I", 2_990)), frame(PING, 0, 0, b"12345678"))
        await peer.frame_of(PING)  # the window is at 0 now: nothing comes before
        peer.write(frame(WINDOW, 0, stream, struct.pack(">I", 5)))
        _, _, second = await peer.frame_of(DATA)
        peer.write(setting(4, 100_000))
        _, _, rest = await peer.frame_of(DATA)
        received.extend(map(len, (first, second, rest)))
        peer.write(frame(HEADERS_FRAME, END_HEADERS | END_STREAM, stream, OK))

    async with serving(tls, act, settings=setting(4, 3_000)) as server:
        assert await exchange(transport, server.origin, b"x" * 10_000) == [Reply(200, b"")]
    assert received == [3_000, 5, 6_995]


async def test_nothing_is_announced_that_the_servers_windows_have_no_room_for(
    tls: ssl.SSLContext, certificates: Certificates
) -> None:
    """Of the first 65,535 octets the first body takes most and the second the rest; the third need not be in doubt."""
    transport = Http2Transport(timeout_seconds=0.3, ca_file=certificates.ca_file, connections=1)
    announced: list[int] = []

    async def act(peer: Peer) -> None:
        while True:
            kind, _, stream, _ = await peer.frame()
            if kind == HEADERS_FRAME:
                announced.append(stream)

    async with serving(tls, act) as server:
        answers = await exchange(transport, server.origin, *[b"x" * 40_000] * 3)
        await transport.aclose()

    assert announced == [1, 3]
    assert [answer.never_left for answer in answers if isinstance(answer, Failure)] == [False, False, True]


async def test_a_body_that_waits_too_long_does_not_leave_any_more(
    tls: ssl.SSLContext, transport: Http2Transport
) -> None:
    """When the server makes room, the claim may be another worker's."""
    is_late = asyncio.Event()
    following: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def act(peer: Peer) -> None:
        _, stream, _ = await peer.frame_of(DATA)
        await is_late.wait()
        peer.write(frame(WINDOW, 0, stream, struct.pack(">I", 1_000)))
        following.set_result((await peer.frame())[0])

    async with serving(tls, act, settings=setting(4, 10)) as server:
        leave_by = asyncio.get_running_loop().time() + 0.1
        asyncio.get_running_loop().call_at(leave_by + 0.1, is_late.set)
        async for batch in transport.exchange(server.origin, posts(b"x" * 100), leave_by=leave_by):
            assert batch == [(0, Failure("the server had no room for its body in time", never_left=True))]
        assert await following == RESET


async def test_an_answer_before_the_body_has_left_is_an_answer(tls: ssl.SSLContext, transport: Http2Transport) -> None:
    async def act(peer: Peer) -> None:
        _, stream, _ = await peer.frame_of(DATA)
        peer.write(frame(HEADERS_FRAME, END_HEADERS | END_STREAM, stream, b"\x08\x03413"))
        await peer.frame_of(RESET)
        peer.write(frame(WINDOW, 0, 0, struct.pack(">I", 1_000_000)))
        await answer_all(peer)

    async with serving(tls, act) as server:
        assert await exchange(transport, server.origin, b"x" * 100_000) == [Reply(413, b"")]
        assert await exchange(transport, server.origin, b"x") == [Reply(200, b"")]
        assert server.connections == 1


async def test_long_headers_are_continued(certificates: Certificates, transport: Http2Transport) -> None:
    async with Http2Server(lambda _: Answer(), certificates.server_context("h2")) as server:
        request = Request("/" + "x" * 40_000, HEADERS, b"body")
        async for batch in transport.exchange(server.origin, iter([(0, request)])):
            assert [answer for _, answer in batch] == [Reply(200, b"")]

    assert [(received.path, received.body) for received in server.received] == [(request.path, b"body")]


# What must not


BROKEN: dict[str, Callable[[int], bytes]] = {
    "a frame too long": lambda stream: frame(DATA, 0, stream, b"x" * 16_385),
    "a stream never opened": lambda stream: frame(DATA, 0, stream + 2, b"x"),
    "a stream of the server's": lambda _: frame(HEADERS_FRAME, END_HEADERS, 2, OK),
    "a push": lambda stream: frame(PUSH, END_HEADERS, stream, struct.pack(">I", 2) + OK),
    "an interrupted block": lambda stream: frame(HEADERS_FRAME, 0, stream, OK) + frame(PING, 0, 0, b"12345678"),
    "a continuation of nothing": lambda stream: frame(CONTINUATION, END_HEADERS, stream, OK),
    "words in advance without end": lambda stream: (
        frame(HEADERS_FRAME, END_HEADERS, stream, hpack.Encoder().encode([(":status", "103")])) * 2_000
    ),
    "a block without end": lambda stream: (
        frame(HEADERS_FRAME, 0, stream, OK) + frame(CONTINUATION, 0, stream, b"\0" * 16_000) * 5
    ),
    "a reference to a table": lambda stream: frame(HEADERS_FRAME, END_HEADERS, stream, b"\xbe"),
    "no status": lambda stream: frame(HEADERS_FRAME, END_HEADERS, stream, b"\x00\x01x\x01y"),
    "an empty block": lambda stream: frame(HEADERS_FRAME, END_HEADERS, stream),
    "a body before its headers": lambda stream: frame(DATA, END_STREAM, stream, b"{}"),
    "more padding than frame": lambda stream: frame(HEADERS_FRAME, END_HEADERS | PADDED, stream, b"\x09" + OK),
    "settings cut short": lambda _: frame(SETTINGS, 0, 0, b"\0\1\0"),
    "a frame size out of bounds": lambda _: setting(5, 1),
    "a window too large": lambda _: frame(WINDOW, 0, 0, struct.pack(">I", 2**31 - 1)),
    "a first window too large": lambda _: setting(4, 2**31),
    "a reset cut short": lambda stream: frame(RESET, 0, stream, b"\0"),
}


@pytest.mark.parametrize("broken", BROKEN)
async def test_a_server_that_breaks_the_rules_ends_the_connection(
    tls: ssl.SSLContext, transport: Http2Transport, broken: str
) -> None:
    """What was under way on it is in doubt, and the next request goes on another connection."""
    is_first = True

    async def act(peer: Peer) -> None:
        nonlocal is_first
        if is_first:
            is_first = False
            peer.write(BROKEN[broken](await peer.request()))
        else:
            await answer_all(peer)

    async with serving(tls, act) as server:
        (failure,) = await exchange(transport, server.origin, b"x")
        assert isinstance(failure, Failure)
        assert not failure.never_left
        assert "rules of HTTP/2" in failure.reason
        assert await exchange(transport, server.origin, b"x") == [Reply(200, b"")]
        assert server.connections == 2


async def test_who_does_not_speak_http2_is_told_so(certificates: Certificates, transport: Http2Transport) -> None:
    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with tcp_server(accept, tls=certificates.server_context()) as place:
        (failure,) = await exchange(transport, f"https://{place}", b"x")

    assert failure == Failure("the server does not speak HTTP/2", never_left=True)


async def test_a_certificate_for_another_name(
    tls: ssl.SSLContext, transport: Http2Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(tls, answer_all) as server:
        port = int(server.origin.rpartition(":")[2])
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
        (failure,) = await exchange(transport, f"https://push.example.com:{port}", b"x")

    assert isinstance(failure, Failure)
    assert failure.never_left
    assert "not valid for 'push.example.com'" in failure.reason


async def test_the_next_address_serves_while_the_first_does_not(
    tls: ssl.SSLContext, transport: Http2Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(tls, answer_all) as server:
        port = int(server.origin.rpartition(":")[2])
        found = [
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", port, 0, 0)),
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)),
        ]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)

        assert await exchange(transport, server.origin, b"x") == [Reply(200, b"")]


async def test_authorities_that_cannot_be_read_let_nothing_leave(tls: ssl.SSLContext, tmp_path: Path) -> None:
    ca_file = tmp_path / "ca.pem"
    ca_file.write_text("no certificate")
    transport = Http2Transport(timeout_seconds=5, ca_file=ca_file)

    async with serving(tls, answer_all) as server:
        (failure,) = await exchange(transport, server.origin, b"x")

    assert isinstance(failure, Failure)
    assert failure.never_left
    await transport.aclose()


async def test_who_says_nothing_is_not_waited_for(tls: ssl.SSLContext, certificates: Certificates) -> None:
    transport = Http2Transport(timeout_seconds=5, connect_timeout_seconds=0.2, ca_file=certificates.ca_file)

    async def wait(peer: Peer) -> None:
        await peer.reader.read()

    async with serving(tls, wait, settings=b"") as server:
        assert (
            await exchange(transport, server.origin, b"x", b"y")
            == [Failure("no connection within 0.2 s", never_left=True)] * 2
        )
    await transport.aclose()


async def test_who_takes_no_streams_is_told_so(tls: ssl.SSLContext, transport: Http2Transport) -> None:
    async with serving(tls, answer_all, settings=setting(3, 0)) as server:
        assert await exchange(transport, server.origin, b"x") == [
            Failure("the server takes no requests", never_left=True)
        ]


# Connections


async def test_as_many_connections_as_requests_need(certificates: Certificates, transport: Http2Transport) -> None:
    released = asyncio.Event()
    server = Http2Server(lambda _: Held(Answer(), released), certificates.server_context("h2"), max_streams=2)
    async with server:
        sending = asyncio.create_task(drain(transport, server.origin, posts(*[b""] * 7), Pool(connections=3)))
        await server.arrival(6)
        released.set()

        assert await sending == 7
        assert server.connections == 3
        assert await drain(transport, server.origin, posts(b""), Pool(connections=3)) == 1
        assert server.connections == 3


async def test_a_connection_whose_stream_ids_are_used_up_is_replaced(
    tls: ssl.SSLContext, transport: Http2Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http2_connection, "LAST_STREAM", 7)  # of 2**31 - 1
    streams: list[int] = []

    async def act(peer: Peer) -> None:
        while True:
            streams.append(await peer.request())
            peer.write(frame(HEADERS_FRAME, END_HEADERS | END_STREAM, streams[-1], OK))

    async with serving(tls, act) as server:
        assert await exchange(transport, server.origin, *[b"x"] * 10) == [Reply(200, b"")] * 10
        assert server.connections == 3

    assert sorted(streams) == [1, 1, 1, 3, 3, 3, 5, 5, 7, 7]


async def test_a_server_may_want_fewer_streams_than_are_under_way(
    tls: ssl.SSLContext, certificates: Certificates
) -> None:
    """From then on one at a time: what follows a request is the answer to our question, not the next request."""
    transport = Http2Transport(timeout_seconds=5, ca_file=certificates.ca_file, connections=1)

    async def act(peer: Peer) -> None:
        streams = [await peer.request() for _ in range(5)]
        peer.write(setting(3, 1))
        while True:
            peer.write(*(frame(HEADERS_FRAME, END_HEADERS | END_STREAM, stream, OK) for stream in streams))
            streams = [await peer.request()]
            peer.write(frame(PING, 0, 0, b"12345678"))
            assert (await peer.frame())[0] == PING

    async with serving(tls, act, settings=setting(3, 5)) as server:
        assert await exchange(transport, server.origin, *[b"x"] * 8) == [Reply(200, b"")] * 8
        await transport.aclose()


async def test_a_further_connection_that_fails_harms_nobody(tls: ssl.SSLContext, transport: Http2Transport) -> None:
    """The first goes on with everything."""
    is_first = True

    async def act(peer: Peer) -> None:
        nonlocal is_first
        if not is_first:
            peer.writer.transport.abort()
            return
        is_first = False
        peer.write(setting(3, 1))
        await answer_all(peer)

    async with serving(tls, act, settings=b"") as server:
        assert await drain(transport, server.origin, posts(*[b""] * 20), Pool(connections=3)) == 20


async def test_a_leaving_server_answers_what_it_has_taken(tls: ssl.SSLContext, transport: Http2Transport) -> None:
    async def act(peer: Peer) -> None:
        first, second = await peer.request(), await peer.request()
        peer.write(frame(GOAWAY, 0, 0, struct.pack(">II", first, 0) + b"restarting"))
        await asyncio.sleep(0.05)
        peer.write(frame(HEADERS_FRAME, END_HEADERS | END_STREAM, first, OK))
        assert second > first

    async with serving(tls, act) as server:
        answers = await exchange(transport, server.origin, b"one", b"two")

    assert answers == [
        Reply(200, b""),
        Failure("the server refused the stream: it is leaving (code 0)", never_left=True),
    ]


async def test_a_leaving_connection_is_closed_when_nobody_waits_for_it_any_more(
    tls: ssl.SSLContext, transport: Http2Transport
) -> None:
    said, closed = asyncio.Event(), asyncio.Event()

    async def act(peer: Peer) -> None:
        peer.write(frame(GOAWAY, 0, 0, struct.pack(">II", await peer.request(), 0)), frame(PING, 0, 0, b"12345678"))
        await peer.frame_of(PING)  # so it has read the GOAWAY
        said.set()
        await peer.reader.read()
        closed.set()

    async with serving(tls, act) as server:
        sending = asyncio.create_task(exchange(transport, server.origin, b"x"))
        await said.wait()
        sending.cancel()
        async with asyncio.timeout(5):
            await closed.wait()


@pytest.mark.parametrize("refusal", ["a reset", "a farewell"])
async def test_a_server_that_began_to_answer_is_not_believed_that_it_refused(
    tls: ssl.SSLContext, transport: Http2Transport, refusal: str
) -> None:
    async def act(peer: Peer) -> None:
        stream = await peer.request()
        refused = {
            "a reset": frame(RESET, 0, stream, struct.pack(">I", 7)),
            "a farewell": frame(GOAWAY, 0, 0, struct.pack(">II", 0, 0)),
        }
        peer.write(frame(HEADERS_FRAME, END_HEADERS, stream, OK), refused[refusal])

    async with serving(tls, act) as server:
        (failure,) = await exchange(transport, server.origin, b"x")

    assert isinstance(failure, Failure)
    assert not failure.never_left


@pytest.mark.parametrize("question", [frame(PING, 0, 0, b"12345678"), frame(SETTINGS, 0, 0)], ids=["ping", "settings"])
async def test_who_asks_on_and_reads_no_answer_is_left(
    tls: ssl.SSLContext, transport: Http2Transport, question: bytes
) -> None:
    async def act(peer: Peer) -> None:
        await peer.request()
        while True:
            peer.write(question * 1_000)
            await peer.writer.drain()

    async with serving(tls, act) as server:
        (failure,) = await exchange(transport, server.origin, b"x")

    assert isinstance(failure, Failure)
    assert "does not read what we answer" in failure.reason


@pytest.mark.parametrize("is_dead", [True, False])
async def test_a_connection_that_has_died_is_left(
    tls: ssl.SSLContext, certificates: Certificates, *, is_dead: bool
) -> None:
    """One that swallows a request is asked whether it lives. If it does, the fault is the request's alone."""
    transport = Http2Transport(timeout_seconds=0.3, connect_timeout_seconds=0.2, ca_file=certificates.ca_file)
    asked = asyncio.Event()

    async def act(peer: Peer) -> None:
        await peer.request()
        _, _, payload = await peer.frame_of(PING)
        asked.set()
        if not is_dead:
            peer.write(frame(PING, 1, 0, payload))
            await answer_all(peer)

    async with serving(tls, act) as server:
        (failure,) = await exchange(transport, server.origin, b"x")
        assert failure == Failure("no answer within 0.3 s", never_left=False)
        await asked.wait()
        await asyncio.sleep(0.3)
        answers = await exchange(transport, server.origin, b"x")

        assert server.connections == (2 if is_dead else 1)
        assert isinstance(answers[0], Failure if is_dead else Reply)
        await transport.aclose()


# Header blocks


def decode(block: bytes) -> dict[str, str]:
    """With a decoder that is not ours."""
    fields = list(hpack.Decoder(max_header_list_size=200_000).decode(block, raw=True))
    assert len({name for name, _ in fields}) == len(fields)
    return {name.decode(): value.decode() for name, value in fields}


@pytest.mark.parametrize("length", [0, 1, 126, 127, 128, 254, 255, 256, 16_510, 16_511, 40_000])
def test_blocks_say_what_was_asked(length: int) -> None:
    """At every length where the encoding of lengths changes."""
    value = "v" * length
    writer = BlockWriter("example.com:443")

    block = writer.write(Request("/path?" + value, ("X-One: " + value,), b"1234", own=("x-own: 1",)))

    assert decode(block) == {
        ":method": "POST",
        ":scheme": "https",
        ":authority": "example.com:443",
        ":path": "/path?" + value,
        "user-agent": "tidings",
        "x-one": value,
        "content-length": "4",
        "x-own": "1",
    }


def test_what_is_kept_of_a_request_does_not_show_in_the_next() -> None:
    writer = BlockWriter("example.com")
    headers = ("a: 1",)
    requests = [
        Request("/a", headers, b""),
        Request("/a", headers, b"12"),
        Request("/b", headers, b"12"),
        Request("/b", ("b: 2",), b"12", method="PUT"),
        Request("/b", (), b"", method="GET"),
    ]

    told = [decode(writer.write(request)) for request in requests]

    assert [(fields[":method"], fields[":path"], fields["content-length"]) for fields in told] == [
        ("POST", "/a", "0"),
        ("POST", "/a", "2"),
        ("POST", "/b", "2"),
        ("PUT", "/b", "2"),
        ("GET", "/b", "0"),
    ]
    assert [(fields.get("a"), fields.get("b")) for fields in told] == [("1", None)] * 3 + [(None, "2"), (None, None)]


@pytest.mark.parametrize("status", [200, 204, 206, 304, 400, 404, 410, 429, 500, 503])
def test_statuses(status: int) -> None:
    encoder = hpack.Encoder()
    encoder.header_table_size = 0
    block = encoder.encode([(":status", str(status)), ("retry-after", "7")])

    assert read_status(block) in {status, None}
    assert read_fields(block) == (status, {":status": str(status), "retry-after": "7"})


@pytest.mark.parametrize("block", [b"", b"\xbe", b"\x00\x05ab", b"\x3f\xe1\x1f" + OK, b"\x08\x03abc"])
def test_blocks_that_are_none(block: bytes) -> None:
    assert read_status(block) is None
    with pytest.raises(MalformedBlock):
        read_fields(block)
