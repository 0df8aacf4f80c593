"""Bounds for connections, which uvicorn keeps as long as the other side likes: anybody may open one, before any check.

Each waits for its client in one of three ways: for the head of a request, for its body, or for the client to take the
answer. Each way has a limit in time, and all connections together one in number: a process that has used up its
descriptors would serve nobody any more.
"""

import asyncio
import resource
from http import HTTPStatus
from typing import Final

import structlog
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from shared.metrics import CONNECTIONS_CUT, CONNECTIONS_OPEN

MAX_HEAD_BYTES = 256 * 1024
"""Several times what clients send: the address alone may be 64 KiB long."""

HEAD_SECONDS = 20.0
"""From the connection, or the first byte of a further request, to the end of its head."""

BODY_SECONDS = 20.0
"""That a body may take however short it is, or stand still for once."""

SLOWEST_BYTES_PER_SECOND = 4 * 1024
"""Of a body beyond that time, and of an answer that is being taken: a large file over a bad line takes as long as it
takes, and somebody who sends a byte now and then is let go.
"""

FIRST_REQUEST_SECONDS = 1.0
"""That a connection which was opened just before the process ends has for its request."""

DESCRIPTORS_KEPT_BACK: Final = 100
"""For the database, the broker, files and whatever else the process opens."""

SECONDS_BETWEEN_WARNINGS: Final = 5.0

log = structlog.get_logger(__name__)


class Connections(ServerState):
    """What all connections of a process know of each other. `most`: None: what the limit of open files leaves."""

    def __init__(self, most: int | None) -> None:
        super().__init__()
        open_files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self.most = most or max(1, open_files - DESCRIPTORS_KEPT_BACK)
        self.is_draining = False
        """Whoever is answered from now on is told to come back on another connection, which another process may get."""
        self._warned_at = float("-inf")
        self._waiting: dict[BoundedProtocol, None] = {}  # for their clients; longest first

    def note_waiting(self, one: "BoundedProtocol") -> None:
        """From now on nothing can go on without its client."""
        self._waiting.pop(one, None)
        self._waiting[one] = None

    def is_waiting(self, one: "BoundedProtocol") -> bool:
        return one in self._waiting

    def note_served(self, one: "BoundedProtocol") -> None:
        self._waiting.pop(one, None)

    def make_room(self, now: float) -> bool:
        """Whether there is room for one more, by letting go whoever has kept us waiting longest. `now`: the loop's."""
        if len(self.connections) <= self.most:
            return True
        self._warn(now)
        slowest = next(iter(self._waiting), None)
        if slowest is None:
            return False
        del self._waiting[slowest]  # it may take a while to close
        slowest.let_go("crowded")
        return True

    def _warn(self, now: float) -> None:
        if now - self._warned_at >= SECONDS_BETWEEN_WARNINGS:
            self._warned_at = now
            log.warning("connections.crowded", open=len(self.connections), most=self.most)


class BoundedProtocol(HttpToolsProtocol):
    """One connection. How long bodies may be is decided behind the checks of who is calling: see api/kernel.py."""

    server_state: Connections
    _has_asked = False  # for anything at all
    _is_in_head = False
    _head_bytes = 0  # of the head that is being read, without what came together with its beginning
    _head_timer: asyncio.TimerHandle | None = None
    _body_timer: asyncio.TimerHandle | None = None
    _body_due_at = 0.0  # of the body that is being read, in the loop's seconds; every byte moves it
    _send_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # uvicorn's signature
        super().connection_made(transport)
        CONNECTIONS_OPEN.inc()
        now = self.loop.time()
        if self.server_state.make_room(now):
            self._await_head()
        else:  # everybody here is being served
            CONNECTIONS_CUT.labels("refused").inc()
            self._answer(503, "Too many connections at once. Try again.")

    def connection_lost(self, exc: Exception | None) -> None:
        CONNECTIONS_OPEN.dec()
        self._stop_waiting()
        self._stop_awaiting_body()
        self._stop_awaiting_reader()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        was_in_head = self._is_in_head
        super().data_received(data)
        if was_in_head and self._is_in_head:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
                self.send_400_response(f"The head of the request is longer than {MAX_HEAD_BYTES} bytes.")
        if self.cycle is None or self.cycle.response_complete:  # line ends between requests begin none
            self._await_head()

    def on_message_begin(self) -> None:
        self._is_in_head = True
        self._head_bytes = 0
        self._await_head()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._is_in_head = False
        self._has_asked = True
        self._stop_waiting()
        super().on_headers_complete()
        if self.server_state.is_draining:
            self.cycle.keep_alive = False
        self._body_due_at = self.loop.time() + BODY_SECONDS
        self._await_body()

    def on_body(self, body: bytes) -> None:
        self._body_due_at += len(body) / SLOWEST_BYTES_PER_SECOND
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._stop_awaiting_body()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.transport.is_closing():
            return
        if self.pipeline:  # uvicorn reads on after each answer: who asks quicker than we answer would fill our memory
            self.flow.pause_reading()
        elif not self.server_state.is_waiting(self):
            self.server_state.note_waiting(self)  # for a further request, which uvicorn has a time for

    def pause_writing(self) -> None:
        super().pause_writing()
        self._await_reader(self.transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        self._stop_awaiting_reader()
        super().resume_writing()

    def shutdown(self) -> None:
        """As uvicorn does it, but for a connection whose first request may be on its way."""
        if self._has_asked:
            super().shutdown()
        else:
            self.loop.call_later(FIRST_REQUEST_SECONDS, self._close_unless_used)

    def let_go(self, why: str) -> None:
        """Tell the client where that is possible, and close. `why` is for the metric."""
        CONNECTIONS_CUT.labels(why).inc()
        if why != "crowded":  # as many as anybody likes to open: make_room() warns of them
            log.info("connections.cut", why=why)
        if self._has_asked and not self.cycle.response_started:
            self._answer(408, "The request did not come in time.")
        else:
            self.transport.close()

    def _answer(self, status: int, words: str) -> None:
        head = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", "content-type: text/plain; charset=utf-8"]
        head += [f"content-length: {len(words)}", "retry-after: 1", "connection: close", "", words]
        self.transport.write("\r\n".join(head).encode())
        self.transport.close()

    def _await_head(self) -> None:
        if self._head_timer is None:
            self.server_state.note_waiting(self)
            self._head_timer = self.loop.call_later(HEAD_SECONDS, self._miss_head)

    def _miss_head(self) -> None:
        if not self.transport.is_closing():
            CONNECTIONS_CUT.labels("head").inc()
            self.transport.close()

    def _stop_waiting(self) -> None:
        self.server_state.note_served(self)
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _await_body(self) -> None:
        self.server_state.note_waiting(self)
        self._body_timer = self.loop.call_at(self._body_due_at, self._miss_body)

    def _miss_body(self) -> None:
        if self.flow.read_paused:  # it is us who have not taken what came
            self._body_due_at = max(self._body_due_at, self.loop.time() + BODY_SECONDS)
        if self._body_due_at > self.loop.time():
            self._body_timer = self.loop.call_at(self._body_due_at, self._miss_body)
        elif not self.transport.is_closing():
            self.let_go("body")

    def _stop_awaiting_body(self) -> None:
        self.server_state.note_served(self)
        if self._body_timer is not None:
            self._body_timer.cancel()
            self._body_timer = None

    def _await_reader(self, left: int) -> None:
        """`left`: bytes that the client has not taken yet."""
        self._stop_awaiting_reader()
        self._send_timer = self.loop.call_later(BODY_SECONDS, self._miss_reader, left)

    def _miss_reader(self, left_before: int) -> None:
        left = self.transport.get_write_buffer_size()
        if left_before - left >= BODY_SECONDS * SLOWEST_BYTES_PER_SECOND:
            self._await_reader(left)
        else:
            CONNECTIONS_CUT.labels("answer").inc()
            log.info("connections.cut", why="answer")
            self.transport.abort()  # closing would wait for what is left to be taken

    def _stop_awaiting_reader(self) -> None:
        if self._send_timer is not None:
            self._send_timer.cancel()
            self._send_timer = None

    def _close_unless_used(self) -> None:
        if not self._has_asked:
            self.transport.close()
