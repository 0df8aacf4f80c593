"""What strangers may do to a connection before anybody asks who they are."""

import socket
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import pytest

from api.connections import MAX_HEAD_BYTES
from tests.integration.api.conftest import Caller, RunningApi

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
