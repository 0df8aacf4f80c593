"""One HTTP/2 connection to a provider (RFC 9113): requests become streams, their answers go back to the flows.

Written for many small requests at a time: what a turn of the event loop sends leaves in one write, and what one read
brings is handed on in one batch. There is no task, timer or future for a single request.
"""

import asyncio
import struct
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from itertools import takewhile
from time import time as unix_time
from typing import Final, cast

from shared.providers.http2_frames import (
    ACK,
    BLOCK_LIMIT_BYTES,
    CANCEL,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    FIRST_WINDOW,
    FRAME_LIMIT_BYTES,
    GOAWAY,
    HEAD,
    HEAD_BYTES,
    HEADER_TABLE_SIZE,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    LARGEST_WINDOW,
    LAST_STREAM,
    MAX_CONCURRENT_STREAMS,
    MAX_FRAME_SIZE,
    NO_ERROR,
    NUMBER,
    OUR_WINDOW,
    PADDED,
    PAIR,
    PING,
    PREFACE,
    PRIORITY,
    PUSH_PROMISE,
    REFUSED_STREAM,
    RST_STREAM,
    SETTING,
    SETTINGS,
    SETTINGS_ACK,
    UNREAD_LIMIT,
    WINDOW_UPDATE,
    BrokenRules,
)
from shared.providers.http2_headers import NO_TABLE, BlockWriter, MalformedBlock, read_fields, read_status
from shared.providers.line_transport import Exchange
from shared.providers.transport import BODY_LIMIT_BYTES, RETRY_AFTER_LIMIT_SECONDS, Failure, Pool, Reply, Request

REST_SECONDS: Final = 1.0
"""A kept connection that rested so long may be gone without our knowing; in a careful pool one request asks first."""


class Stream:
    """A request under way."""

    __slots__ = ("chunks", "deadline", "fields", "flow", "index", "size", "status", "wanted", "window")

    def __init__(self, flow: Exchange, index: int, wanted: tuple[str, ...], deadline: float, window: int) -> None:
        self.flow = flow
        self.index = index
        self.wanted = wanted
        self.deadline = deadline
        self.window = window  # octets of the body that the server takes now; kept while some wait
        self.status = 0  # 0: no answer yet
        self.fields: Mapping[str, str] = {}  # of an answer that is no success, or of whose fields some are wanted
        self.chunks: list[bytes] = []
        self.size = 0

    def reply(self, *, is_cut: bool = False) -> Reply:
        chunks = self.chunks
        body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        if self.status < 300 and not self.wanted:
            return Reply(self.status, body, None, is_cut)
        fields = self.fields
        headers = {name: fields[name] for name in self.wanted if name in fields}
        retry_after = _seconds_of(fields.get("retry-after", "")) if self.status >= 300 else None
        return Reply(self.status, body, retry_after, is_cut, headers)


def _seconds_of(text: str) -> float | None:
    """Of a Retry-After: seconds, or a date."""
    try:
        is_number = text.isascii() and text.isdigit()
        seconds = float(text) if is_number else parsedate_to_datetime(text).timestamp() - unix_time()
    except (ValueError, OverflowError):
        return None
    return min(max(0.0, seconds), RETRY_AFTER_LIMIT_SECONDS) or None


class Connection(asyncio.Protocol):
    """Streams of one connection. `changed` is called after every event that may have made room, or ended it."""

    _transport: asyncio.Transport

    def __init__(
        self, authority: str, pool: Pool, *, timeout_seconds: float, ping_seconds: float, changed: Callable[[], None]
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._pool = pool
        self._timeout_seconds = timeout_seconds
        self._ping_seconds = ping_seconds
        self._changed = changed
        self.ready: asyncio.Future[None] = self._loop.create_future()  # the server's first word has come
        self.is_usable = True  # False: takes no more requests; those under way may still be answered
        self.is_over = False
        self.is_proven = not pool.is_careful  # takes more than one request at a time
        self._is_paused = False
        self._unread = 0  # acknowledgements that wait behind what the server does not read
        self._streams: dict[int, Stream] = {}  # in the order of their ids, and of their deadlines
        self._next_id = 1
        self._unsent: dict[int, memoryview] = {}  # what waits of bodies for the server's windows
        self._out: list[bytes] = []
        self._received = b""  # the beginning of a frame
        self._block: tuple[int, int, bytearray] | None = None  # stream and flags of a header block in parts
        self._blocks = BlockWriter(authority)
        self._owes_table_size = True
        self._most_streams = pool.streams
        self._window = FIRST_WINDOW
        self._first_window = FIRST_WINDOW
        self._frame_bytes = FRAME_LIMIT_BYTES
        self._in_advance_bytes = 0  # of words in advance (1xx) since the last answer
        self._consumed = 0  # octets of bodies that the server has not been credited for
        self._heard_at = self._resting_since = self._loop.time()
        self._expiry: asyncio.TimerHandle | None = None
        self._ping: asyncio.TimerHandle | None = None

    @property
    def has_room(self) -> bool:
        """Whether it would take a request now.

        Asked before each: the one before may have used up the server's windows, our write buffer or the streams' ids.
        """
        if not self.is_usable or self._is_paused or self._unsent or self._transport.is_closing():
            return False
        if not self._streams and self._pool.is_careful and self._loop.time() > self._resting_since + REST_SECONDS:
            self.is_proven = False
        return len(self._streams) < (self._most_streams if self.is_proven else 1)

    def send(self, flow: Exchange, index: int, request: Request) -> None:
        """Take a request on; it leaves with the next flush()."""
        stream_id = self._next_id
        self._next_id += 2
        if self._next_id > LAST_STREAM:
            self.is_usable = False
        deadline = self._loop.time() + self._timeout_seconds
        stream = self._streams[stream_id] = Stream(flow, index, request.wanted, deadline, self._first_window)
        if self._expiry is None:
            self._expiry = self._loop.call_at(deadline, self._expire)
        block, body = self._blocks.write(request), request.body
        if self._owes_table_size:
            block, self._owes_table_size = NO_TABLE + block, False
        self._write_block(stream_id, block, 0 if body else END_STREAM)
        size = len(body)
        if size > min(self._window, stream.window, self._frame_bytes):
            self._unsent[stream_id] = memoryview(body)
            self._send_unsent()
        elif size:
            self._window -= size
            self._out += (HEAD.pack(size << 8 | DATA, END_STREAM, stream_id), body)

    def flush(self) -> None:
        if self._out:
            self._transport.write(b"".join(self._out))
            self._out.clear()

    def drop(self, flow: Exchange) -> None:
        """Reset the streams of a flow that nobody waits for any more."""
        for stream_id in [stream_id for stream_id, stream in self._streams.items() if stream.flow is flow]:
            self._reset(stream_id, CANCEL)
        self.flush()
        self._close_if_spent()

    def close(self, reason: str) -> None:
        """End it now; what is under way is answered with a Failure."""
        self._end(Failure(reason, never_left=False))
        self._transport.abort()

    # asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(PREFACE)

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_over = True
        if not self.ready.done():
            self.ready.set_exception(exc or ConnectionResetError("the server closed the connection"))
            self.ready.exception()  # where nobody waits for it, nobody is to be warned either
        self._end(Failure(f"the connection broke: {exc}" if exc else "the server closed the connection", False))
        self._changed()

    def pause_writing(self) -> None:
        self._is_paused = True

    def resume_writing(self) -> None:
        self._is_paused = False
        self._unread = 0
        self._changed()

    def data_received(self, data: bytes) -> None:
        self._heard_at = self._loop.time()
        try:
            self._read(self._received + data if self._received else data)
        except BrokenRules as error:
            self.close(f"the server broke the rules of HTTP/2: {error}")
            self._changed()
        else:
            self._credit()
            self._finish_turn()

    def _finish_turn(self) -> None:
        self.flush()
        self._close_if_spent()
        self._changed()

    def _close_if_spent(self) -> None:
        if not self.is_usable and not self._streams:
            self._transport.close()

    # What the server says

    def _read(self, data: bytes) -> None:
        position, end = 0, len(data)
        unpack = HEAD.unpack_from
        while end - position >= HEAD_BYTES:
            length_and_kind, flags, stream_id = unpack(data, position)
            start = position + HEAD_BYTES
            length = length_and_kind >> 8
            if length > FRAME_LIMIT_BYTES:
                raise BrokenRules(f"a frame of {length} bytes")
            if start + length > end:
                break
            position = start + length
            self._take(length_and_kind & 0xFF, flags, stream_id & LAST_STREAM, data[start:position])
        self._received = data[position:]

    def _take(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        if self._block is not None and kind != CONTINUATION:
            raise BrokenRules("a header block was interrupted")
        if kind == HEADERS:
            self._take_headers(flags, stream_id, payload)
        elif kind == DATA:
            self._take_data(flags, stream_id, payload)
        elif kind == CONTINUATION:
            self._take_continuation(flags, stream_id, payload)
        elif kind == RST_STREAM:
            self._take_reset(stream_id, *self._numbers(NUMBER, payload))
        elif kind == WINDOW_UPDATE:
            self._take_window(stream_id, *self._numbers(NUMBER, payload))
        else:
            self._take_of_connection(kind, flags, payload)

    def _take_of_connection(self, kind: int, flags: int, payload: bytes) -> None:
        """A frame that is about no stream. Unknown kinds mean nothing."""
        if kind == SETTINGS:
            self._take_settings(flags, payload)
        elif kind == PING:
            self._take_ping(flags, payload)
        elif kind == GOAWAY:
            self._take_goaway(*self._numbers(PAIR, payload[: PAIR.size]))
        elif kind == PUSH_PROMISE:
            raise BrokenRules("a push, which was not allowed")

    @staticmethod
    def _numbers(shape: struct.Struct, payload: bytes) -> tuple[int, ...]:
        if len(payload) != shape.size:
            raise BrokenRules(f"{len(payload)} bytes where {shape.size} belong")
        return shape.unpack(payload)

    def _find(self, stream_id: int) -> Stream | None:
        """None: one that is over, whose last frames may still come."""
        stream = self._streams.get(stream_id)
        if stream is None and (stream_id % 2 == 0 or stream_id >= self._next_id):
            raise BrokenRules(f"a frame of stream {stream_id}, which was never opened")
        return stream

    @staticmethod
    def _unpadded(flags: int, payload: bytes) -> bytes:
        if not flags & PADDED:
            return payload
        if not payload or payload[0] >= len(payload):
            raise BrokenRules("more padding than frame")
        return payload[1 : len(payload) - payload[0]]

    def _take_headers(self, flags: int, stream_id: int, payload: bytes) -> None:
        block = self._unpadded(flags, payload)
        if flags & PRIORITY:
            block = block[5:]
        if flags & END_HEADERS:
            self._take_block(flags, stream_id, block)
        else:
            self._block = stream_id, flags, bytearray(block)

    def _take_continuation(self, flags: int, stream_id: int, payload: bytes) -> None:
        if self._block is None or self._block[0] != stream_id:
            raise BrokenRules("a continuation of no header block")
        _, first_flags, block = self._block
        block += payload
        if len(block) > BLOCK_LIMIT_BYTES:
            raise BrokenRules("a header block without end")
        if flags & END_HEADERS:
            self._block = None
            self._take_block(first_flags, stream_id, bytes(block))

    def _take_block(self, flags: int, stream_id: int, block: bytes) -> None:
        stream = self._find(stream_id)
        if stream is None:
            return
        if not stream.status:
            status = read_status(block)
            if status is None or status >= 300 or stream.wanted:
                status, stream.fields = self._read_fields(block)
            if status >= 200:
                stream.status = status
            else:
                self._note_word_in_advance(block)
        if flags & END_STREAM:
            self._finish(stream_id, stream)

    def _note_word_in_advance(self, block: bytes) -> None:
        self._in_advance_bytes += HEAD_BYTES + len(block)
        if self._in_advance_bytes > BLOCK_LIMIT_BYTES:
            raise BrokenRules("words in advance without end")

    @staticmethod
    def _read_fields(block: bytes) -> tuple[int, Mapping[str, str]]:
        try:
            return read_fields(block)
        except MalformedBlock as error:
            raise BrokenRules(str(error)) from error

    def _take_data(self, flags: int, stream_id: int, payload: bytes) -> None:
        self._consumed += len(payload)
        stream = self._find(stream_id)
        if stream is None:
            return
        if not stream.status:
            raise BrokenRules("a body before its headers")
        content = self._unpadded(flags, payload)
        if content:  # as many empty frames as a server likes take no memory
            stream.size += len(content)
            stream.chunks.append(content)
        if stream.size > BODY_LIMIT_BYTES:
            stream.chunks = [b"".join(stream.chunks)[:BODY_LIMIT_BYTES]]
            self._answer(self._reset(stream_id, CANCEL), stream.reply(is_cut=True))
        elif flags & END_STREAM:
            self._finish(stream_id, stream)

    def _finish(self, stream_id: int, stream: Stream) -> None:
        """The answer is complete."""
        if stream_id in self._unsent:
            self._reset(stream_id, NO_ERROR)  # the server wants no more of the body
        else:
            self._remove(stream_id)
        if stream.status:
            self.is_proven = True
            self._in_advance_bytes = 0
            self._answer(stream, stream.reply())
        else:
            self._answer(stream, Failure("the server ended the stream without an answer", never_left=False))

    def _take_reset(self, stream_id: int, code: int) -> None:
        stream = self._find(stream_id)
        if stream is None:
            return
        self._remove(stream_id)
        if code == REFUSED_STREAM:
            self._refuse(stream, "the server refused the stream")
        else:
            self._answer(stream, Failure(f"the server reset the stream (code {code})", never_left=False))

    def _take_goaway(self, last_stream: int, code: int) -> None:
        """Later streams than the named one were not looked at; the others will be answered."""
        self.is_usable = False
        last_stream &= LAST_STREAM
        while self._streams and (stream_id := next(reversed(self._streams))) > last_stream:  # in the order of their ids
            self._refuse(self._remove(stream_id), f"the server refused the stream: it is leaving (code {code})")

    def _take_settings(self, flags: int, payload: bytes) -> None:
        if flags & ACK:
            return
        if len(payload) % SETTING.size:
            raise BrokenRules("settings cut short")
        for name, value in SETTING.iter_unpack(payload):
            self._set(name, value)
        self._acknowledge(SETTINGS_ACK)
        if not self.ready.done():
            self.ready.set_result(None)
        self._send_unsent()

    def _set(self, name: int, value: int) -> None:
        if name == MAX_CONCURRENT_STREAMS:
            self._most_streams = min(self._pool.streams, value)
            if not value:
                self.is_usable = False
        elif name == HEADER_TABLE_SIZE:
            self._owes_table_size = True
        elif name == MAX_FRAME_SIZE:
            if not FRAME_LIMIT_BYTES <= value < 2**24:
                raise BrokenRules(f"frames of {value} bytes")
            self._frame_bytes = value
        elif name == INITIAL_WINDOW_SIZE:
            if value > LARGEST_WINDOW:
                raise BrokenRules(f"a window of {value}")
            for stream_id in self._unsent:
                self._streams[stream_id].window += value - self._first_window
            self._first_window = value

    def _take_ping(self, flags: int, payload: bytes) -> None:
        if not flags & ACK:
            self._acknowledge(HEAD.pack(len(payload) << 8 | PING, ACK, 0) + payload)
        elif self._ping is not None:
            self._ping.cancel()
            self._ping = None

    def _take_window(self, stream_id: int, increment: int) -> None:
        increment &= LARGEST_WINDOW
        if not stream_id:
            self._window += increment
        elif stream_id in self._unsent:
            self._streams[stream_id].window += increment
        if self._window > LARGEST_WINDOW:
            raise BrokenRules(f"a window of {self._window}")
        self._send_unsent()

    # What we say

    def _acknowledge(self, frame: bytes) -> None:
        """Only memory would bound what a server that reads nothing can make us say (RFC 9113 §10.5)."""
        if self._is_paused:
            self._unread += 1
            if self._unread > UNREAD_LIMIT:
                raise BrokenRules("it asks on and on, and does not read what we answer")
        self._out.append(frame)

    def _write_block(self, stream_id: int, block: bytes, flags: int) -> None:
        size = self._frame_bytes
        if len(block) <= size:
            self._out += (HEAD.pack(len(block) << 8 | HEADERS, flags | END_HEADERS, stream_id), block)
            return
        parts = [block[start : start + size] for start in range(0, len(block), size)]
        for number, part in enumerate(parts):
            kind = CONTINUATION if number else HEADERS
            last = END_HEADERS if number == len(parts) - 1 else 0
            self._out += (HEAD.pack(len(part) << 8 | kind, last if number else last | flags, stream_id), part)

    def _send_unsent(self) -> None:
        """As much of the waiting bodies as the server's windows allow, the oldest first.

        What it waited too long for is not completed any more: without its end a request is none.
        """
        for stream_id, waiting in list(self._unsent.items()):
            stream = self._streams[stream_id]
            if self._loop.time() > stream.flow.leave_by:
                self._reset(stream_id, CANCEL)
                self._answer(stream, Failure("the server had no room for its body in time", never_left=True))
                continue
            while waiting and (size := min(len(waiting), self._window, stream.window, self._frame_bytes)) > 0:
                last = END_STREAM if size == len(waiting) else 0
                self._out += (HEAD.pack(size << 8 | DATA, last, stream_id), bytes(waiting[:size]))
                waiting = waiting[size:]  # noqa: PLW2901  # what is left of it
                self._window -= size
                stream.window -= size
            if waiting:
                self._unsent[stream_id] = waiting
            else:
                del self._unsent[stream_id]

    def _credit(self) -> None:
        """Let the server go on sending bodies."""
        if self._consumed > OUR_WINDOW // 2:
            self._out.append(HEAD.pack(NUMBER.size << 8 | WINDOW_UPDATE, 0, 0) + NUMBER.pack(self._consumed))
            self._consumed = 0

    def _reset(self, stream_id: int, code: int) -> Stream:
        self._out.append(HEAD.pack(NUMBER.size << 8 | RST_STREAM, 0, stream_id) + NUMBER.pack(code))
        return self._remove(stream_id)

    # The ends of streams

    def _remove(self, stream_id: int) -> Stream:
        stream = self._streams.pop(stream_id)
        if self._unsent:
            self._unsent.pop(stream_id, None)
        if not self._streams:
            self._resting_since = self._loop.time()
        return stream

    @staticmethod
    def _answer(stream: Stream, answer: Reply | Failure) -> None:
        stream.flow.finish(stream.index, answer)

    def _refuse(self, stream: Stream, reason: str) -> None:
        """The server says that it did nothing about it; where it had begun to answer, that is not believed."""
        self._answer(stream, Failure(reason, never_left=not stream.status))

    def _expire(self) -> None:
        """Give up what was not answered in time. The streams stand in the order of their deadlines."""
        now = self._loop.time()
        for stream_id in list(takewhile(lambda stream_id: self._streams[stream_id].deadline <= now, self._streams)):
            stream = self._reset(stream_id, CANCEL)
            self._answer(stream, Failure(f"no answer within {self._timeout_seconds:g} s", never_left=False))
            if self._heard_at < stream.deadline - self._timeout_seconds:
                self._ask_whether_it_lives()
        self._expiry = self._loop.call_at(self._first_deadline(), self._expire) if self._streams else None
        self._finish_turn()

    def _first_deadline(self) -> float:
        return next(iter(self._streams.values())).deadline

    def _ask_whether_it_lives(self) -> None:
        """Nothing was heard since a request left: a connection that dies like this would swallow the next ones too."""
        if self._ping is None and not self._transport.is_closing():
            self._out.append(HEAD.pack(8 << 8 | PING, 0, 0) + b"tidings?")
            self._ping = self._loop.call_later(self._ping_seconds, self.close, "the connection is dead")

    def _end(self, failure: Failure) -> None:
        self.is_usable = False
        for timer in (self._expiry, self._ping):
            if timer is not None:
                timer.cancel()
        streams, self._streams = self._streams, {}
        self._unsent.clear()
        for stream in streams.values():
            self._answer(stream, failure)
