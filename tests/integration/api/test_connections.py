"""What strangers may do to a connection before anybody asks who they are."""

import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from urllib.parse import urlsplit

import pytest
import requests

from api.connections import MAX_HEAD_BYTES
from shared.settings import Settings
from tests.integration.api.conftest import Caller, RunningApi, run_api
from tests.processes import wait_until

Connect = Callable[[], socket.socket]

LINE = b"GET /v1/health/version HTTP/1.1\r\nHost: tidings\r\n"


@pytest.fixture
def connect(running_api: RunningApi) -> Iterator[Connect]:
    address = urlsplit(running_api.address)
    opened: list[socket.socket] = []

    def open_one() -> socket.socket:
        opened.append(socket.create_connection((address.hostname, address.port), timeout=10))
        return opened[-1]

    yield open_one
    for connection in opened:
        connection.close()


def read_all(connection: socket.socket) -> bytes:
    """Until the server closes it. One that is closed with more to read loses its last words."""
    received = b""
    try:
        while more := connection.recv(65536):
            received += more
    except ConnectionResetError:
        return received
    return received


def send_many(connection: socket.socket, part: bytes) -> None:
    for _ in range(100):
        connection.sendall(part)


@pytest.mark.parametrize("endless", [b"A: " + b"a" * 1000, b"A: a\r\n"])
def test_a_head_without_end_is_cut_off(connect: Connect, endless: bytes) -> None:
    connection = connect()
    connection.sendall(LINE)
    with pytest.raises((ConnectionResetError, BrokenPipeError)):
        send_many(connection, endless * (1_000_000 // len(endless)))


def test_a_long_head_is_read(connect: Connect) -> None:
    connection = connect()
    connection.sendall(LINE)
    for number in range(8):
        connection.sendall(b"A%d: %s\r\n" % (number, b"a" * (MAX_HEAD_BYTES // 10)))
    connection.sendall(b"Connection: close\r\n\r\n")
    assert read_all(connection).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    ("beginning", "is_first"),
    # a connection that sends nothing after an answer is uvicorn's business
    [(b"", True), (b"\r\n", True), (LINE, True), (b"\r\n", False), (LINE, False)],
)
def test_a_head_that_never_ends_is_not_waited_for(
    connect: Connect, beginning: bytes, monkeypatch: pytest.MonkeyPatch, *, is_first: bool
) -> None:
    monkeypatch.setattr("api.connections.HEAD_SECONDS", 0.2)
    connection = connect()
    if not is_first:
        connection.sendall(LINE + b"\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")
    connection.sendall(beginning)
    assert b"HTTP" not in read_all(connection)


def test_a_body_may_take_longer_than_a_head(connect: Connect, caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.connections.HEAD_SECONDS", 0.2)
    body = b'{"topicId": "slow", "name": "Slow"}'
    connection, other = connect(), connect()
    connection.sendall(
        b"POST /v1/messaging/topics HTTP/1.1\r\nHost: tidings\r\nConnection: close\r\nContent-Length: %d\r\n"
        b"X-Appwrite-Project: %s\r\nX-Appwrite-Key: %s\r\n\r\n"
        % (len(body), caller.project_id.encode(), caller.key.encode())
    )
    connection.sendall(body[:10])
    read_all(other)  # by its end, the time for heads is over
    connection.sendall(body[10:])
    assert read_all(connection).startswith(b"HTTP/1.1 201")


def beginning_of(caller: Caller, length: int, *, path: str = "/v1/messaging/topics") -> bytes:
    """The head of a request of this key with a body of JSON."""
    return (
        b"POST %s HTTP/1.1\r\nHost: tidings\r\nConnection: close\r\nContent-Length: %d\r\n"
        b"X-Appwrite-Project: %s\r\nX-Appwrite-Key: %s\r\n\r\n"
        % (path.encode(), length, caller.project_id.encode(), caller.key.encode())
    )


SIGN_UP = b"POST /v1/account HTTP/1.1\r\nHost: tidings\r\nX-Appwrite-Project: %s\r\nContent-Length: 1000\r\n\r\n{"


@pytest.mark.parametrize("is_guest", [True, False])
def test_a_body_that_never_ends_is_not_waited_for(
    connect: Connect, caller: Caller, monkeypatch: pytest.MonkeyPatch, *, is_guest: bool
) -> None:
    monkeypatch.setattr("api.connections.BODY_SECONDS", 0.2)
    connection = connect()
    connection.sendall(SIGN_UP % caller.project_id.encode() if is_guest else beginning_of(caller, 1000) + b"{")
    assert read_all(connection).startswith(b"HTTP/1.1 408")


def test_a_body_that_is_refused_need_not_be_sent(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who goes on sending to somebody who has answered is let go all the same."""
    monkeypatch.setattr("api.connections.BODY_SECONDS", 0.2)
    connection = connect()
    connection.sendall(b"POST /v1/nothing HTTP/1.1\r\nHost: tidings\r\nContent-Length: 1000\r\n\r\n{")
    received = read_all(connection)
    assert received.startswith(b"HTTP/1.1 404")
    assert received.count(b"HTTP/1.1") == 1


def test_a_body_that_keeps_coming_may_take_its_time(
    connect: Connect, caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten bytes buy as long as the whole first allowance; one that stands still in between is cut."""
    monkeypatch.setattr("api.connections.BODY_SECONDS", 0.2)
    monkeypatch.setattr("api.connections.SLOWEST_BYTES_PER_SECOND", 50)
    body = b'{"topicId": "slow", "name": "Slow", "description": "%s"}' % (b"x" * 200)
    monkeypatch.setattr("api.connections.HEAD_SECONDS", 0.5)
    steady, standing, clock = connect(), connect(), connect()
    for connection in (steady, standing):
        connection.sendall(beginning_of(caller, len(body)))
        connection.sendall(body[:100])  # good for two seconds
    assert read_all(clock) == b""  # by its end, the first allowance is long over
    steady.sendall(body[100:])
    assert read_all(steady).startswith(b"HTTP/1.1 201")
    assert read_all(standing).startswith(b"HTTP/1.1 408")


def cut_of(running: RunningApi, why: str) -> float:
    """How many connections were ended for this reason."""
    name = f'tidings_api_connections_cut_total{{why="{why}"}} '
    numbers = requests.get(f"{running.address}/metrics", timeout=10).text.splitlines()
    return sum(float(line.removeprefix(name)) for line in numbers if line.startswith(name))


def test_an_answer_that_nobody_takes_is_given_up(
    connect: Connect, caller: Caller, running_api: RunningApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.connections.BODY_SECONDS", 0.2)
    caller.create_email("large", content="x" * 64_000, draft=True)
    connection = connect()
    ask = (
        b"GET /v1/messaging/messages/large HTTP/1.1\r\nHost: t\r\nX-Appwrite-Project: %s\r\nX-Appwrite-Key: %s\r\n\r\n"
    )
    before = cut_of(running_api, "answer")
    connection.sendall(ask % (caller.project_id.encode(), caller.key.encode()) * 1_000)  # 64 MB, and nobody reads them
    wait_until(lambda: cut_of(running_api, "answer") > before, seconds=30.0)


def test_slow_strangers_make_room_for_others(api_settings: Settings) -> None:
    """Three times as many as there is room for, each with one byte of its body, and nobody else waits for them."""
    most = 20
    with run_api(api_settings.model_copy(update={"max_connections": most})) as running:
        address = urlsplit(running.address)
        slow = [socket.create_connection((address.hostname, address.port), timeout=10) for _ in range(3 * most)]
        try:
            for connection in slow:
                with suppress(OSError):  # some were let go by then
                    connection.sendall(SIGN_UP % b"default")
            for _ in range(most):
                assert requests.get(f"{running.address}/live", timeout=10).text == "live"
            assert cut_of(running, "crowded") >= 2 * most
        finally:
            for connection in slow:
                connection.close()


def test_a_closed_connection_whose_last_words_nobody_takes_is_given_up(
    api_settings: Settings, caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long the other side's kernel says that it is there."""
    monkeypatch.setattr("api.__main__.UNTAKEN_SECONDS", 0.5)
    monkeypatch.setattr("api.connections.BODY_SECONDS", 60.0)
    caller.create_email("untaken", content="x" * 64_000, draft=True)
    ask = (
        b"GET /v1/messaging/messages/untaken HTTP/1.1\r\nHost: t\r\nX-Appwrite-Project: %s\r\nX-Appwrite-Key: %s\r\n"
    ) % (caller.project_id.encode(), caller.key.encode())
    with run_api(api_settings) as running:
        address = urlsplit(running.address)
        with socket.socket() as reader:
            reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            reader.connect((address.hostname, address.port))
            reader.sendall((ask + b"\r\n") * 100 + ask + b"Connection: close\r\n\r\n")
            reader.setblocking(False)

            def is_gone() -> bool:
                try:
                    reader.send(b"\r\n")
                except ConnectionError:
                    return True
                except BlockingIOError:
                    return False
                return False

            wait_until(is_gone)
