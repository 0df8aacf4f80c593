"""HTTP/2 on h2: the state machine is the library's; this side is kept lean, for thousands of requests a second."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import cast

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    RemoteSettingsChanged,
    RequestReceived,
    StreamEnded,
    StreamReset,
    WindowUpdated,
)
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes, Settings
from hyperframe.frame import GoAwayFrame

from shared.simulator.wire.exchange import Application, Reply, to_request, too_large
from shared.simulator.wire.listener import Listener
from shared.simulator.wire.manner import DRIP_SECONDS, GARBAGE, HELPING_BYTES, PROMPT, Ending, reset

MAX_CONCURRENT_STREAMS = 100
CONNECTION_WINDOW_BYTES = 16 * 1024 * 1024
"""Room for the bodies of all streams, so that a connection is never held up by one of them."""


@dataclass(frozen=True, slots=True)
class StreamTerms:
    """For a server that counts streams for itself: beyond the limit it ends the connection, in its own words."""

    first: int  # until a reply names another number
    header_list_bytes: int
    on_violation: bytes  # what the GOAWAY says


@dataclass(slots=True)
class _Stream:
    headers: dict[bytes, bytes]
    body: list[bytes] = field(default_factory=list)
    body_bytes: int = 0
    unsent: bytes = b""  # what flow control has held back
    is_last: bool = True  # the stream ends with `unsent`


class Http2Connection(asyncio.Protocol):
    def __init__(
        self,
        application: Application,
        listener: Listener,
        before_write: Callable[[], None],
        largest_body_bytes: int,
        terms: StreamTerms | None = None,
    ) -> None:
        """Without `terms` h2 guards the limit of a hundred streams."""
        self._application = application
        self._listener = listener
        self._before_write = before_write
        self._largest_body_bytes = largest_body_bytes
        self._loop = asyncio.get_running_loop()
        self._h2 = H2Connection(
            H2Configuration(
                client_side=False,
                header_encoding=None,
                # our own headers are few and known to be right; what clients send is checked
                validate_outbound_headers=False,
                normalize_outbound_headers=False,
            )
        )
        self._terms = terms
        self._most_streams = terms.first if terms else MAX_CONCURRENT_STREAMS
        self._last_taken = 0  # the number of the last stream that was taken on
        self._is_leaving = False  # said so with GOAWAY
        self._streams: dict[int, _Stream] = {}  # those not answered yet
        self._flush_is_due = False

    # asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one in all but class
        self._listener.opened(self)
        self._introduce()
        self._h2.increment_flow_control_window(CONNECTION_WINDOW_BYTES)
        self._flush()

    def _introduce(self) -> None:
        """Announce the settings. Where the count of streams is ours, h2 does not enforce what it announces."""
        announced = {SettingCodes.MAX_CONCURRENT_STREAMS: self._most_streams}
        if self._terms:
            announced[SettingCodes.MAX_HEADER_LIST_SIZE] = self._terms.header_list_bytes
        self._h2.local_settings = Settings(client=False, initial_values=announced)
        self._h2.initiate_connection()
        if self._terms:
            self._h2.local_settings = Settings(client=False)

    def connection_lost(self, _error: Exception | None) -> None:
        self._streams.clear()  # late replies find no stream and go nowhere
        self._listener.closed(self)

    def pause_writing(self) -> None:
        self._transport.pause_reading()  # a client that does not read gets no more served

    def resume_writing(self) -> None:
        self._transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        try:
            for event in self._h2.receive_data(data):
                self._take(event)
        except ProtocolError:
            self._flush()  # h2 has put the GOAWAY that names the error
            self._transport.close()
        else:
            self._flush_soon()

    def shut_down(self) -> None:
        self._h2.close_connection()
        self._flush()
        self._transport.close()

    def abort(self) -> None:
        self._transport.abort()

    def _flush_soon(self) -> None:
        """All replies of one turn of the loop leave in one write."""
        if not self._flush_is_due:
            self._flush_is_due = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flush_is_due = False
        self._before_write()
        data = self._h2.data_to_send()
        if data:
            self._transport.write(data)
        if self._is_leaving and not self._streams:
            self._transport.close()

    def _leave(self, reason: bytes, code: ErrorCodes = ErrorCodes.NO_ERROR) -> None:
        """Say goodbye: what was taken on is answered, nothing else is. h2's own GOAWAY would not let us answer."""
        self._flush()
        frame = GoAwayFrame(0, last_stream_id=self._last_taken, error_code=code, additional_data=reason)
        self._transport.write(frame.serialize())
        self._is_leaving = True

    # h2's side

    def _take(self, event: Event) -> None:
        match event:
            case RequestReceived():
                self._take_on(event)
            case DataReceived():
                self._take_body(event)
            case StreamEnded():
                self._answer(event.stream_id)
            case StreamReset():
                self._streams.pop(event.stream_id, None)
            case WindowUpdated() | RemoteSettingsChanged():
                self._send_held_back()
            case ConnectionTerminated():
                self._transport.close()

    def _take_on(self, event: RequestReceived) -> None:
        if self._terms and len(self._streams) >= self._most_streams and not self._is_leaving:
            self._leave(self._terms.on_violation, ErrorCodes.REFUSED_STREAM)
        if not self._is_leaving:
            self._streams[event.stream_id] = _Stream(dict(event.headers))
            self._last_taken = event.stream_id

    def _take_body(self, event: DataReceived) -> None:
        self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        stream = self._streams.get(event.stream_id)
        if stream is not None:
            stream.body_bytes += len(event.data)
            if stream.body_bytes <= self._largest_body_bytes:
                stream.body.append(event.data)

    def _answer(self, stream_id: int) -> None:
        stream = self._streams.get(stream_id)
        if stream is None:
            return
        reply = (
            too_large(self._largest_body_bytes)
            if stream.body_bytes > self._largest_body_bytes
            else self._reply_to(stream)
        )
        if reply.goodbye is not None and not self._is_leaving:
            self._leave(reply.goodbye)
        if reply.manner.delay_seconds:
            self._loop.call_later(reply.manner.delay_seconds, self._finish, stream_id, reply)
        else:
            self._finish(stream_id, reply)

    def _reply_to(self, stream: _Stream) -> Reply:
        headers = stream.headers
        method, target = headers[b":method"].decode("latin-1"), headers.get(b":path", b"*").decode("latin-1")
        return self._application.answer(to_request(method, target, headers, b"".join(stream.body)))

    def _finish(self, stream_id: int, reply: Reply) -> None:
        if stream_id not in self._streams:
            return  # the client gave it up, or went away
        match reply.manner.ending:
            case Ending.ANSWER:
                self._send(stream_id, reply)
            case Ending.RESET:
                del self._streams[stream_id]
                self._h2.reset_stream(stream_id, ErrorCodes.INTERNAL_ERROR)
            case Ending.REFUSAL:
                del self._streams[stream_id]
                self._h2.reset_stream(stream_id, ErrorCodes.REFUSED_STREAM)
            case Ending.SILENCE:
                return  # the stream stays open until the client resets it
            case Ending.CUT:
                self._before_write()
                reset(self._transport)
                return
            case Ending.GARBAGE:
                self._flush()
                self._transport.write(GARBAGE)
                return
            case Ending.ENDLESS:
                headers = [(b":status", b"%d" % reply.status), (b"content-type", reply.content_type), *reply.headers]
                self._h2.send_headers(stream_id, headers)
                self._go_on_endlessly(stream_id)
        self._flush_soon()

    def _send(self, stream_id: int, reply: Reply) -> None:
        if reply.body:
            self._send_headers(stream_id, reply)
            if reply.manner.trickle_seconds:
                self._trickle(stream_id, reply.manner.cut(reply.body), reply.manner.pause_seconds)
            else:
                self._send_body(stream_id, reply.body)
        elif reply.manner.trickle_seconds:  # nothing to trickle
            late = replace(reply, manner=PROMPT)
            self._loop.call_later(reply.manner.trickle_seconds, self._finish, stream_id, late)
        else:
            del self._streams[stream_id]
            self._change_limit(reply)
            self._h2.send_headers(stream_id, [(b":status", b"%d" % reply.status), *reply.headers], end_stream=True)

    def _change_limit(self, reply: Reply) -> None:
        if reply.streams is not None and reply.streams != self._most_streams:
            self._most_streams = reply.streams
            self._h2.update_settings({SettingCodes.MAX_CONCURRENT_STREAMS: reply.streams})

    def _send_headers(self, stream_id: int, reply: Reply) -> None:
        self._change_limit(reply)
        headers = [
            (b":status", b"%d" % reply.status),
            (b"content-type", reply.content_type),
            (b"content-length", b"%d" % len(reply.body)),
            *reply.headers,
        ]
        self._h2.send_headers(stream_id, headers)

    def _send_body(self, stream_id: int, body: bytes, *, is_last: bool = True) -> None:
        """As far as flow control lets it through; the rest waits for the client's WINDOW_UPDATE."""
        room = min(self._h2.local_flow_control_window(stream_id), self._h2.max_outbound_frame_size)
        while len(body) > room > 0:
            self._h2.send_data(stream_id, body[:room])
            body = body[room:]
            room = min(self._h2.local_flow_control_window(stream_id), self._h2.max_outbound_frame_size)
        stream = self._streams[stream_id]
        if len(body) > max(room, 0):
            stream.unsent, stream.is_last = body, is_last
            return
        self._h2.send_data(stream_id, body, end_stream=is_last)
        stream.unsent = b""
        if is_last:
            del self._streams[stream_id]

    def _send_held_back(self) -> None:
        for stream_id, stream in tuple(self._streams.items()):
            if stream.unsent:
                self._send_body(stream_id, stream.unsent, is_last=stream.is_last)

    def _go_on_endlessly(self, stream_id: int) -> None:
        stream = self._streams.get(stream_id)
        if stream is None:
            return
        if not stream.unsent:  # else the client has not read what there is
            self._send_body(stream_id, b" " * HELPING_BYTES, is_last=False)
            self._flush_soon()
        self._loop.call_later(DRIP_SECONDS, self._go_on_endlessly, stream_id)

    def _trickle(self, stream_id: int, pieces: list[bytes], pause: float) -> None:
        stream = self._streams.get(stream_id)
        if stream is None:
            return
        piece, rest = pieces[0], pieces[1:]
        self._send_body(stream_id, stream.unsent + piece, is_last=not rest)
        self._flush_soon()
        if rest:
            self._loop.call_later(pause, self._trickle, stream_id, rest, pause)
