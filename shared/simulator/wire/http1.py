"""HTTP/1.1 on httptools: one request at a time, answered in order, connections kept alive."""

import asyncio
from collections import deque
from collections.abc import Callable
from http import HTTPStatus
from typing import cast

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

from shared.simulator.wire.exchange import Application, Reply, Request, to_request, too_large
from shared.simulator.wire.listener import Listener
from shared.simulator.wire.manner import DRIP_SECONDS, GARBAGE, HELPING_BYTES, Ending, reset

_NO_BODY = frozenset({204, 304})
_HELPING = b"%x\r\n%s\r\n" % (HELPING_BYTES, b" " * HELPING_BYTES)


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
            case Ending.RESET | Ending.REFUSAL | Ending.CUT:
                self._before_write()
                reset(self._transport)
            case Ending.SILENCE:
                self._is_busy = True  # for good: later requests wait behind the one that gets no answer
            case Ending.GARBAGE:
                self._is_busy = True
                self._before_write()
                self._transport.write(GARBAGE)
            case Ending.ENDLESS:
                self._is_busy = True
                self._before_write()
                self._transport.write(_encode_head(reply, length=None))
                self._go_on_endlessly()
            case Ending.ANSWER if reply.manner.trickle_seconds:
                self._is_busy = True
                pieces = reply.manner.cut(_encode(reply, keep_alive=keep_alive))
                self._trickle(deque(pieces), reply.manner.pause_seconds, keep_alive)
            case Ending.ANSWER:
                self._send(reply, keep_alive=keep_alive)

    def _send(self, reply: Reply, *, keep_alive: bool) -> None:
        self._before_write()
        self._transport.write(_encode(reply, keep_alive=keep_alive))
        if not keep_alive:
            self._transport.close()

    def _go_on_endlessly(self) -> None:
        if not self._closed:
            if not self._transport.get_write_buffer_size():  # else the client has not read what there is
                self._transport.write(_HELPING)
            self._loop.call_later(DRIP_SECONDS, self._go_on_endlessly)

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
    more = () if keep_alive else (b"connection: close",)
    return _encode_head(reply, *more, length=len(reply.body)) + reply.body


def _encode_head(reply: Reply, *more: bytes, length: int | None) -> bytes:
    """`length` None: the body comes in chunks."""
    lines = [b"HTTP/1.1 %d %s" % (reply.status, HTTPStatus(reply.status).phrase.encode())]
    if reply.status not in _NO_BODY:
        size = b"transfer-encoding: chunked" if length is None else b"content-length: %d" % length
        lines += [b"content-type: " + reply.content_type, size]
    lines += [name + b": " + value for name, value in reply.headers]
    return b"\r\n".join([*lines, *more, b"", b""])
