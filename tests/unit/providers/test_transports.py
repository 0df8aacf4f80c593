"""The transports say truly what became of a request, and whether it can have arrived."""

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from email.utils import formatdate
from pathlib import Path
from time import time
from typing import Any, Protocol

import h2.errors
import pytest

from shared.providers import curl_line, http2_connection
from shared.providers.curl import CurlTransport
from shared.providers.http2 import Http2Transport
from shared.providers.line_transport import MOST_RESTING
from shared.providers.transport import (
    BODY_LIMIT_BYTES,
    RETRY_AFTER_LIMIT_SECONDS,
    Failure,
    Pool,
    Reply,
    Request,
    Transport,
)
from tests.contract.certificates import Certificates, make_certificates
from tests.contract.http2_server import (
    Act,
    Answer,
    Drip,
    Garbage,
    GoAway,
    Hangup,
    Held,
    Http2Server,
    ResetStream,
    Silence,
)
from tests.contract.suite import closed_port
from tests.unit.providers.exchanges import drain, exchange, posts


class Make(Protocol):
    def __call__(
        self, *, seconds: float = 5, connections: int = 2, ca_file: Path | None = ..., rest_seconds: float = 30
    ) -> Transport:
        """A transport that trusts the server unless told otherwise."""


@pytest.fixture(params=[CurlTransport, Http2Transport])
async def make(request: pytest.FixtureRequest, certificates: Certificates) -> AsyncIterator[Make]:
    made: list[Transport] = []

    def make_transport(
        *,
        seconds: float = 5,
        connections: int = 2,
        ca_file: Path | None = certificates.ca_file,
        rest_seconds: float = 30,
    ) -> Transport:
        made.append(
            request.param(timeout_seconds=seconds, ca_file=ca_file, connections=connections, rest_seconds=rest_seconds)
        )
        return made[-1]

    yield make_transport
    for transport in made:
        await transport.aclose()


@pytest.fixture
def transport(make: Make) -> Transport:
    return make()


@pytest.mark.parametrize(
    ("act", "never_left"),
    [
        (Silence(), False),
        (Drip(), False),
        (Hangup(), False),
        (Hangup(abruptly=False), False),
        (Garbage(), False),
        (ResetStream(), False),
        (ResetStream(h2.errors.ErrorCodes.REFUSED_STREAM), True),
        (GoAway(), True),
    ],
    ids=repr,
)
@pytest.mark.parametrize("is_warm", [False, True], ids=["first", "kept"])
async def test_a_failure_tells_whether_the_request_left(
    server: Http2Server, make: Make, act: Act, *, never_left: bool, is_warm: bool
) -> None:
    """On a connection just made, and on one that has worked: libcurl tries again on its own where it may."""
    hasty = make(seconds=0.5)
    server.script = lambda request: act if request.body == b"unlucky" else Answer()
    if is_warm:
        await exchange(hasty, server.origin, b"warm")

    (answer,) = await exchange(hasty, server.origin, b"unlucky")

    assert isinstance(answer, Failure)
    assert answer.never_left is never_left
    assert [request.body for request in server.received].count(b"unlucky") == 1


async def test_a_connections_end_is_everybodys_doubt(server: Http2Server, transport: Transport) -> None:
    server.script = lambda request: Hangup() if request.body == b"last" else Silence()

    answers = await exchange(transport, server.origin, b"one", b"two", b"last")

    assert [(type(answer), answer.never_left) for answer in answers if isinstance(answer, Failure)] == [
        (Failure, False)
    ] * 3
    assert len(server.received) == 3


async def test_nobody_listens(transport: Transport) -> None:
    with closed_port() as port:
        (answer,) = await exchange(transport, f"https://127.0.0.1:{port}", b"x")

    assert isinstance(answer, Failure)
    assert answer.never_left


async def test_a_certificate_of_unknown_authority(server: Http2Server, make: Make) -> None:
    transport = make(ca_file=None)

    (answer,) = await exchange(transport, server.origin, b"x")

    assert isinstance(answer, Failure)
    assert answer.never_left
    assert "certificate" in answer.reason
    assert server.received == []


async def test_a_long_body_is_cut(server: Http2Server, transport: Transport) -> None:
    server.script = lambda _: Answer(200, b"x" * 1024 * 1024)

    (reply,) = await exchange(transport, server.origin, b"x")

    assert isinstance(reply, Reply)
    assert (reply.status, len(reply.body), reply.is_cut) == (200, BODY_LIMIT_BYTES, True)


async def test_retry_after(server: Http2Server, transport: Transport) -> None:
    answers = {
        b"seconds": Answer(429, b"", (("retry-after", "7"),)),
        b"date": Answer(503, b"", (("retry-after", formatdate(time() + 100, usegmt=True)),)),
        b"none": Answer(429),
    }
    server.script = lambda request: answers[request.body]

    seconds, date, none = [
        answer.retry_after_seconds
        for answer in await exchange(transport, server.origin, *answers)
        if isinstance(answer, Reply)
    ]

    assert seconds == 7
    assert date is not None
    assert 95 <= date <= 100
    assert none is None


@pytest.mark.parametrize("value", ["99999999999999", "9" * 400, "Fri, 31 Dec 9999 23:59:59 GMT"])
async def test_retry_after_has_a_limit(server: Http2Server, transport: Transport, value: str) -> None:
    """No mistake of a provider may name a time beyond all calendars."""
    server.script = lambda _: Answer(429, b"", (("retry-after", value),))

    (answer,) = await exchange(transport, server.origin, b"x")

    assert isinstance(answer, Reply)
    assert (answer.retry_after_seconds or 0) <= RETRY_AFTER_LIMIT_SECONDS


async def test_requests_arrive_as_they_were_given(server: Http2Server, transport: Transport) -> None:
    """Handles are used again: nothing of one request shows in the next."""
    requests = [
        Request("/a?b=c", ("x-one: 1",), b"first"),
        Request("/d", ("x-two: 2",), b""),
        Request("/d", ("x-two: 2",), b"", method="GET"),
        Request("/e", (), b"z" * 100_000, method="PUT"),
    ]
    for request in requests:
        async for _ in transport.exchange(server.origin, iter([(0, request)])):
            pass

    assert [
        (received.headers[":method"], received.path, received.headers.get("x-one"), received.headers.get("x-two"))
        for received in server.received
    ] == [("POST", "/a?b=c", "1", None), ("POST", "/d", None, "2"), ("GET", "/d", None, "2"), ("PUT", "/e", None, None)]
    assert [received.body for received in server.received] == [request.body for request in requests]
    assert {received.headers["user-agent"] for received in server.received} == {"tidings"}
    assert server.connections == 1


async def test_knows_no_proxy(server: Http2Server, transport: Transport, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")

    (reply,) = await exchange(transport, server.origin, b"x")

    assert isinstance(reply, Reply)


async def test_redirects_are_not_followed(server: Http2Server, transport: Transport) -> None:
    server.script = lambda _: Answer(307, b"", (("location", f"{server.origin}/elsewhere"),))

    (reply,) = await exchange(transport, server.origin, b"x")

    assert isinstance(reply, Reply)
    assert reply.status == 307
    assert len(server.received) == 1


async def test_requests_are_pulled_when_there_is_room(server: Http2Server, make: Make) -> None:
    """One connection carries a hundred streams; the rest is not rendered yet. A small exchange need not wait for the
    end of a large one: they take turns.
    """
    transport = make(connections=1)
    released = asyncio.Event()
    server.script = lambda _: Held(Answer(), released)
    pulled: list[bytes] = []

    def noted(body: bytes, count: int) -> Iterator[tuple[int, Request]]:
        for number, request in posts(*[body] * count):
            pulled.append(body)
            yield number, request

    large = asyncio.create_task(drain(transport, server.origin, noted(b"large", 250)))
    await server.arrival(100)
    small = asyncio.create_task(drain(transport, server.origin, noted(b"small", 2)))
    await asyncio.sleep(0)
    assert pulled == [b"large"] * 100

    released.set()
    assert await small == 2
    assert await large == 250
    assert pulled[100:104] == [b"large", b"small", b"large", b"small"]
    assert server.connections == 1


CAREFUL = Pool(connections=1, streams=50, is_careful=True)


async def check_that_one_asks_first(server: Http2Server, transport: Transport) -> None:
    """Of twenty requests one arrives, and the others when it was answered."""
    released = asyncio.Event()
    server.script = lambda _: Held(Answer(), released)
    before = len(server.received)

    sending = asyncio.create_task(drain(transport, server.origin, posts(*[b""] * 20), CAREFUL))
    await server.arrival(before + 1)
    await asyncio.sleep(0.05)  # others would have arrived meanwhile
    assert len(server.received) == before + 1

    released.set()
    assert await sending == 20


async def test_a_careful_pool_asks_with_one_request_first(server: Http2Server, transport: Transport) -> None:
    await check_that_one_asks_first(server, transport)


async def test_a_lost_connection_makes_a_careful_pool_ask_again(server: Http2Server, transport: Transport) -> None:
    """Also while requests of the lost one are still to be answered: their answers say nothing about the next."""
    server.script = lambda request: GoAway() if request.body == b"goaway" else Answer()
    await drain(transport, server.origin, posts(b"first"), CAREFUL)
    await drain(transport, server.origin, posts(b"", b"goaway", b""), CAREFUL)

    await check_that_one_asks_first(server, transport)

    assert server.connections == 2


async def test_a_rest_makes_a_careful_pool_ask_again(
    server: Http2Server, transport: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    await drain(transport, server.origin, posts(b"first"), CAREFUL)
    monkeypatch.setattr(curl_line, "REST_SECONDS", 0.0)
    monkeypatch.setattr(http2_connection, "REST_SECONDS", 0.0)

    await check_that_one_asks_first(server, transport)


async def test_a_stuck_request_does_not_make_a_careful_pool_wait(server: Http2Server, make: Make) -> None:
    transport = make(seconds=0.3)
    await drain(transport, server.origin, posts(b"first"), CAREFUL)
    released = asyncio.Event()
    server.script = lambda request: Silence() if request.body == b"stuck" else Held(Answer(), released)

    assert await drain(transport, server.origin, posts(b"stuck"), CAREFUL) == 0
    sending = asyncio.create_task(drain(transport, server.origin, posts(*[b""] * 20), CAREFUL))
    await server.arrival(22)

    released.set()
    assert await sending == 20


@pytest.mark.parametrize("others", [CAREFUL._replace(owner="2.1"), CAREFUL._replace(bound_to="another key")])
async def test_connections_are_not_shared_between_accounts_or_bindings(
    server: Http2Server, make: Make, others: Pool
) -> None:
    transport = make()

    for pool in (CAREFUL, others, CAREFUL):
        await drain(transport, server.origin, posts(b""), pool)

    assert [request.connection for request in server.received] == [0, 1, 0]


async def test_one_accounts_stuck_requests_leave_all_room_to_another(server: Http2Server, make: Make) -> None:
    """They fill every connection that the account may have, and hundreds wait behind them."""
    transport = make(connections=1)
    server.script = lambda request: Silence() if request.body == b"stuck" else Answer()
    stuck = asyncio.create_task(drain(transport, server.origin, posts(*[b"stuck"] * 500), Pool(owner="1.1")))
    await server.arrival(100)

    assert await drain(transport, server.origin, posts(b"a", b"b"), Pool(owner="2.1")) == 2
    assert not stuck.done()
    stuck.cancel()


async def test_connections_that_rest_are_closed_and_made_anew(server: Http2Server, make: Make) -> None:
    transport = make(rest_seconds=0.05)
    for number in range(3):
        assert await drain(transport, server.origin, posts(b""), Pool(owner=str(number))) == 1
    await server.all_closed()

    assert await drain(transport, server.origin, posts(b""), Pool(owner="0")) == 1
    assert server.connections == 4


async def test_connections_that_are_used_are_not_closed(server: Http2Server, make: Make) -> None:
    """Another account's rest meanwhile."""
    transport = make(rest_seconds=0.05)
    released = asyncio.Event()
    server.script = lambda request: Held(Answer(), released) if request.body == b"slow" else Answer()
    slow = asyncio.create_task(drain(transport, server.origin, posts(b"slow"), Pool(owner="1.1")))
    await server.arrival(1)
    assert await drain(transport, server.origin, posts(b"quick"), Pool(owner="2.1")) == 1
    await server.all_closed(but=1)

    released.set()
    assert await slow == 1


async def test_of_many_accounts_few_keep_connections(server: Http2Server, make: Make) -> None:
    transport = make()
    for number in range(MOST_RESTING + 3):
        assert await drain(transport, server.origin, posts(b""), Pool(owner=str(number))) == 1

    await server.all_closed(but=MOST_RESTING)


class Names:
    """In the system resolver's place: every name is this machine, once it may answer."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.may_answer = threading.Event()

    def look_up(self, name: str, port: int, *, flags: int = 0, **_: Any) -> Any:
        if flags & socket.AI_NUMERICHOST:
            raise socket.gaierror(socket.EAI_NONAME, "no address")
        self.asked.append(name)
        self.may_answer.wait(20)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Iterator[Names]:
    names = Names()
    monkeypatch.setattr(socket, "getaddrinfo", names.look_up)
    yield names
    names.may_answer.set()


async def test_the_name_of_an_origin_is_looked_up_by_us_and_once(make: Make, tmp_path: Path, names: Names) -> None:
    names.may_answer.set()
    certificates = make_certificates(tmp_path, host="api.example.com")
    async with Http2Server(lambda _: Answer(), certificates.server_context("h2")) as server:
        transport = make(ca_file=certificates.ca_file)
        origin = f"https://api.example.com:{server.port}"
        assert [await drain(transport, origin, posts(b"a", b"b")) for _ in range(2)] == [2, 2]

    assert names.asked == ["api.example.com"]


async def test_a_name_server_that_is_silent_does_not_hold_up_who_closes(make: Make, names: Names) -> None:
    """Libcurl waits for its own look-ups when it closes, and the event loop waited with it."""
    transport = make()
    exchanging = asyncio.create_task(exchange(transport, "https://api.example.com", b"x"))
    await asyncio.sleep(0)
    await transport.aclose()

    (answer,) = await exchanging
    assert isinstance(answer, Failure)
    assert answer.never_left


async def test_an_abandoned_exchange_leaves_its_place_to_others(server: Http2Server, make: Make) -> None:
    transport = make(connections=1)
    server.script = lambda request: Silence() if request.body == b"stuck" else Answer()
    stuck = asyncio.create_task(drain(transport, server.origin, posts(*[b"stuck"] * 100)))
    await server.arrival(100)

    stuck.cancel()
    (reply,) = await exchange(transport, server.origin, b"other")

    assert isinstance(reply, Reply)
    assert server.connections == 1


async def test_closing_answers_what_is_in_flight(server: Http2Server, make: Make) -> None:
    transport = make(connections=1)
    server.script = lambda _: Silence()
    exchanging = asyncio.create_task(exchange(transport, server.origin, *[b"x"] * 150))
    await server.arrival(100)

    await transport.aclose()
    await transport.aclose()

    answers = [answer for answer in await exchanging if isinstance(answer, Failure)]
    assert [answer.never_left for answer in answers] == [False] * 100 + [True] * 50
