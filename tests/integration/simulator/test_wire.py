"""HTTP as unusual clients speak it: over plain sockets, and with h2 where libcurl is too well-behaved."""

import asyncio
import socket
import ssl
from typing import Self

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import ConnectionTerminated, DataReceived, Event, StreamEnded, WindowUpdated
from h2.settings import SettingCodes

from shared.simulator.simulator import Simulator
from tests.integration.simulator.clients import TIMEOUT_SECONDS

SEND = [
    (":method", "POST"),
    (":scheme", "https"),
    (":authority", "simulator"),
    (":path", "/v1/projects/demo/messages:send"),
]


class H2Client:
    """One connection whose windows and frames a test may bend."""

    def __init__(self, simulator: Simulator, *, stream_window: int = 65_535) -> None:
        host, _, port = simulator.fcm_endpoint.removeprefix("https://").rpartition(":")
        trust = ssl.create_default_context(cafile=simulator.ca_file)
        trust.set_alpn_protocols(["h2"])
        self._socket = trust.wrap_socket(
            socket.create_connection((host, int(port)), TIMEOUT_SECONDS), server_hostname=host
        )
        self.h2 = H2Connection(H2Configuration(header_encoding="utf-8"))
        self.h2.initiate_connection()
        self.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: stream_window})
        self.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._socket.close()

    def flush(self) -> None:
        self._socket.sendall(self.h2.data_to_send())

    def write(self, data: bytes) -> None:
        self._socket.sendall(data)

    def ask(self) -> int:
        stream_id = self.h2.get_next_available_stream_id()
        self.h2.send_headers(stream_id, SEND)
        self.h2.send_data(stream_id, b"{}", end_stream=True)
        self.flush()
        return stream_id

    def events(self) -> list[Event]:
        """Of the next bytes; none at the connection's end."""
        data = self._socket.recv(65_536)
        events = self.h2.receive_data(data) if data else []
        self.flush()
        return events

    def until(self, event: type[Event]) -> list[Event]:
        """All events up to the first of a kind."""
        seen: list[Event] = []
        while not any(isinstance(one, event) for one in seen):
            new = self.events()
            assert new, f"the connection ended after {seen}"
            seen += new
        return seen


def body_of(events: list[Event]) -> bytes:
    return b"".join(event.data for event in events if isinstance(event, DataReceived))


async def test_a_reply_waits_for_the_clients_window(simulator: Simulator) -> None:
    def use() -> None:
        with H2Client(simulator, stream_window=10) as client:
            stream_id = client.ask()
            first = client.until(DataReceived)
            assert len(body_of(first)) == 10
            client.h2.increment_flow_control_window(15, stream_id)
            client.flush()
            second = client.until(DataReceived)
            assert len(body_of(second)) == 15
            assert not any(isinstance(event, StreamEnded) for event in first + second)
            client.h2.increment_flow_control_window(10_000, stream_id)
            client.flush()
            rest = client.until(StreamEnded)
            assert body_of(first + second + rest).endswith(b"}}")

    await asyncio.to_thread(use)


async def test_a_client_may_give_up_a_stream_and_go_on(simulator: Simulator) -> None:
    simulator.faults.set("fcm", latency_ms=100)

    def use() -> None:
        with H2Client(simulator, stream_window=10) as client:
            given_up = client.ask()
            client.until(DataReceived)
            client.h2.reset_stream(given_up, ErrorCodes.CANCEL)
            client.flush()
            client.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 65_535})
            client.ask()
            assert body_of(client.until(StreamEnded)).endswith(b"}}")

    await asyncio.to_thread(use)


async def test_a_large_body_gets_the_windows_it_needs(simulator: Simulator) -> None:
    def use() -> None:
        with H2Client(simulator) as client:
            client.until(WindowUpdated)
            stream_id = client.h2.get_next_available_stream_id()
            client.h2.send_headers(stream_id, SEND)
            left = 500_000
            while left:
                room = min(left, client.h2.local_flow_control_window(stream_id), client.h2.max_outbound_frame_size)
                client.h2.send_data(stream_id, b" " * room, end_stream=room == left)
                client.flush()
                left -= room
                if left and not client.h2.local_flow_control_window(stream_id):
                    client.until(WindowUpdated)
            assert b"UNAUTHENTICATED" in body_of(client.until(StreamEnded))

    await asyncio.to_thread(use)


async def test_a_client_that_breaks_the_protocol_is_told_goodbye(simulator: Simulator) -> None:
    def use() -> None:
        with H2Client(simulator) as client:
            client.ask()
            client.until(StreamEnded)
            client.write(b"\x00\x00\x01\x00\x00\x00\x00\x00\x00x")  # DATA on stream 0
            (goodbye,) = [one for one in client.until(ConnectionTerminated) if isinstance(one, ConnectionTerminated)]
            assert goodbye.error_code == ErrorCodes.PROTOCOL_ERROR

    await asyncio.to_thread(use)


def exchange(simulator: Simulator, *parts: bytes) -> bytes:
    """All that comes back over one plain connection to the inbox; the last request asks to close it."""
    host, _, port = simulator.http_endpoint.removeprefix("http://").rpartition(":")
    with socket.create_connection((host, int(port)), TIMEOUT_SECONDS) as connection:
        for part in parts:
            connection.sendall(part)
        answer = b""
        while data := connection.recv(65_536):
            answer += data
    return answer


async def test_pipelined_requests_are_answered_in_order(simulator: Simulator) -> None:
    requests = b"GET /stats HTTP/1.1\r\nHost: localhost\r\n\r\n" * 2000 + b"GET /nowhere HTTP/1.0\r\n\r\n"

    answer = await asyncio.to_thread(exchange, simulator, requests)

    assert answer.count(b"HTTP/1.1 200 OK") == 2000
    assert answer.rpartition(b"HTTP/1.1 ")[2].startswith(b"404 Not Found")


async def test_a_body_may_come_in_chunks_after_a_continue(simulator: Simulator) -> None:
    head = b"PUT /faults HTTP/1.1\r\nConnection: close\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n"

    answer = await asyncio.to_thread(exchange, simulator, head, b'8\r\n{"smtp":\r\n', b"3\r\n{}}\r\n0\r\n\r\n")

    assert answer.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize("nonsense", [b"EHLO client\r\n\r\n", b"\x16\x03\x01\x02\x00\x01", b"GET / HTTP/9.9\r\n\r\n"])
async def test_what_is_not_http_is_refused(simulator: Simulator, nonsense: bytes) -> None:
    assert (await asyncio.to_thread(exchange, simulator, nonsense)).startswith(b"HTTP/1.1 400 Bad Request\r\n")


async def test_an_offer_to_upgrade_is_passed_over(simulator: Simulator) -> None:
    offer = b"GET /stats HTTP/1.1\r\nConnection: Upgrade, close\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n"

    assert (await asyncio.to_thread(exchange, simulator, offer)).startswith(b"HTTP/1.1 200 OK\r\n")
