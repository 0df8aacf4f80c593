"""HTTP/1.1 on httptools: one request at a time, answered in order, connections kept alive."""

import asyncio
from collections import deque
from collections.abc import Callable
from http import HTTPStatus
from typing import cast

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

from shared.simulator.wire.exchange import Application, Reply, Request, to_request, too_large
from shared.simulator.wire.listener import Listener
from shared.simulator.wire.manner import Ending, cut_for_trickle, reset

_NO_BODY = frozenset({204, 304})


class Http1Connection(asyncio.Protocol):
    def __init__(
        self, application: Application, listener: Listener, before_write: Callable[[], None], largest_body_bytes: int
    ) -> None:
        self._application = application
        self._listener = listener
        self._before_write = before_write
        self._largest_body_bytes = largest_body_bytes
        self._loop = asyncio.get_running_loop()
        self._parser = HttpRequestParser(self)
        self._waiting: deque[tuple[Request | None, bool]] = deque()  # None: its body was too large; and keep-alive
        self._is_busy = False
        self._closed = False

    # asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one in all but class
        self._listener.opened(self)

    def connection_lost(self, _error: Exception | None) -> None:
        self._closed = True
        self._waiting.clear()
        self._listener.closed(self)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade:
            pass  # we offer no upgrade: the request is answered as it is
        except HttpParserError:
            self._send(Reply(400, b'{"error":{"code":400,"message":"This is not HTTP."}}'), keep_alive=False)
            return
        self._answer_next()

    def shut_down(self) -> None:
        self._transport.close()

    def abort(self) -> None:
        self._transport.abort()

    # the parser's side

    def on_message_begin(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self._target = b""
        self._headers: dict[bytes, bytes] = {}
        self._body: list[bytes] = []
        self._body_bytes = 0

    def on_url(self, target: bytes) -> None:
        self._target += target

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        if self._headers.get(b"expect", b"").lower() == b"100-continue":
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, data: bytes) -> None:
        self._body_bytes += len(data)
        if self._body_bytes <= self._largest_body_bytes:
            self._body.append(data)

    def on_message_complete(self) -> None:
        request = None
        if self._body_bytes <= self._largest_body_bytes:
            method = self._parser.get_method().decode("ascii")
            request = to_request(method, self._target.decode("latin-1"), self._headers, b"".join(self._body))
        self._waiting.append((request, self._parser.should_keep_alive()))

    # answering

    def _answer_next(self) -> None:
        while self._waiting and not self._is_busy and not self._closed:
            request, keep_alive = self._waiting.popleft()
            reply = self._application.answer(request) if request else too_large(self._largest_body_bytes)
            if reply.manner.delay_seconds:
                self._is_busy = True
                self._loop.call_later(reply.manner.delay_seconds, self._finish_late, reply, keep_alive)
            else:
                self._finish(reply, keep_alive=keep_alive)

    def _finish_late(self, reply: Reply, keep_alive: bool) -> None:  # noqa: FBT001  # call_later passes positions only
        self._is_busy = False
        if not self._closed:
            self._finish(reply, keep_alive=keep_alive)
            self._answer_next()

    def _finish(self, reply: Reply, *, keep_alive: bool) -> None:
        match reply.manner.ending:
            case Ending.RESET | Ending.REFUSAL:
                self._before_write()
                reset(self._transport)
            case Ending.SILENCE:
                self._is_busy = True  # for good: later requests wait behind the one that gets no answer
            case Ending.ANSWER if reply.manner.trickle_seconds:
                self._is_busy = True
                pieces = cut_for_trickle(_encode(reply, keep_alive=keep_alive))
                self._trickle(deque(pieces), reply.manner.pause_seconds, keep_alive)
            case Ending.ANSWER:
                self._send(reply, keep_alive=keep_alive)

    def _send(self, reply: Reply, *, keep_alive: bool) -> None:
        self._before_write()
        self._transport.write(_encode(reply, keep_alive=keep_alive))
        if not keep_alive:
            self._transport.close()

    def _trickle(self, pieces: deque[bytes], pause: float, keep_alive: bool) -> None:  # noqa: FBT001  # see above
        if self._closed:
            return
        self._before_write()
        self._transport.write(pieces.popleft())
        if pieces:
            self._loop.call_later(pause, self._trickle, pieces, pause, keep_alive)
        elif keep_alive:
            self._is_busy = False
            self._answer_next()
        else:
            self._transport.close()


def _encode(reply: Reply, *, keep_alive: bool) -> bytes:
    lines = [b"HTTP/1.1 %d %s" % (reply.status, HTTPStatus(reply.status).phrase.encode())]
    if reply.status not in _NO_BODY:
        lines += [b"content-type: " + reply.content_type, b"content-length: %d" % len(reply.body)]
    lines += [name + b": " + value for name, value in reply.headers]
    if not keep_alive:
        lines.append(b"connection: close")
    return b"\r\n".join([*lines, b"", reply.body])
