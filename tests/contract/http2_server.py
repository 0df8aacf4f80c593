"""An HTTP/2 server scripted per test, which can misbehave in every way we name."""

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Self, cast

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
from h2.settings import SettingCodes, Settings


@dataclass(frozen=True, slots=True)
class Answer:
    status: int = 200
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Silence:
    """The request is read and never answered."""


@dataclass(frozen=True, slots=True)
class ResetStream:
    error: h2.errors.ErrorCodes = h2.errors.ErrorCodes.INTERNAL_ERROR


@dataclass(frozen=True, slots=True)
class Hangup:
    """The connection ends after the request was read: with a TCP reset, or closed in order."""

    abruptly: bool = True


@dataclass(frozen=True, slots=True)
class GoAway:
    """This stream and later ones were not processed, earlier ones will be answered."""


@dataclass(frozen=True, slots=True)
class Drip:
    """Headers, then a byte now and then, for ever."""

    status: int = 200


@dataclass(frozen=True, slots=True)
class Garbage:
    """Bytes that are no frame."""


@dataclass(frozen=True, slots=True)
class Held:
    """Answered when the test lets it."""

    answer: Answer
    released: asyncio.Event


Act = Answer | Silence | ResetStream | Hangup | GoAway | Drip | Garbage | Held


@dataclass(slots=True)
class Received:
    """A complete request."""

    headers: dict[str, str]
    body: bytes = b""
    stream_id: int = 0
    connection: int = 0  # counted from 0

    @property
    def path(self) -> str:
        return self.headers[":path"]


@dataclass(slots=True)
class Http2Server:
    """Answers each complete request as `script` says; `received` keeps them all in order."""

    script: Callable[[Received], Act]
    tls: ssl.SSLContext
    max_streams: int = 100  # more at once are an error that ends the connection
    later_streams: int | None = None  # allowed from a connection's first 200 on, as APNs does it
    received: list[Received] = field(default_factory=list)
    connections: int = 0
    port: int = 0
    _server: asyncio.Server | None = None
    _open: set["_Http2Connection"] = field(default_factory=set)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def arrival(self, count: int) -> None:
        """Wait until so many complete requests have come in, all connections together."""
        async with asyncio.timeout(10):
            while len(self.received) < count:
                self._changed.clear()
                await self._changed.wait()

    async def all_closed(self, *, but: int = 0) -> None:
        """Wait until no more connections than this are open."""
        async with asyncio.timeout(5):
            while len(self._open) > but:
                self._changed.clear()
                await self._changed.wait()

    @property
    def origin(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Http2Connection(self), "127.0.0.1", 0, ssl=self.tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for connection in list(self._open):
            connection.transport.abort()
        await self._server.wait_closed()


class _Http2Connection(asyncio.Protocol):
    transport: asyncio.Transport

    def __init__(self, server: Http2Server) -> None:
        self._server = server
        self._number = 0
        self._requests: dict[int, Received] = {}
        self._unsent: dict[int, bytes] = {}  # by stream: body that waits for flow control
        self._timers: list[asyncio.TimerHandle] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_leaving = False  # said so with GOAWAY: nothing more is taken on
        self._h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="utf-8"))
        announced = {SettingCodes.MAX_CONCURRENT_STREAMS: server.max_streams, SettingCodes.MAX_HEADER_LIST_SIZE: 2**16}
        self._h2.local_settings = Settings(client=False, initial_values=announced)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self._number = self._server.connections
        self._server.connections += 1
        self._server._open.add(self)
        self._h2.initiate_connection()
        self._flush()

    def connection_lost(self, exc: Exception | None) -> None:
        self._server._open.discard(self)
        self._server._changed.set()
        for timer in self._timers:
            timer.cancel()
        for task in self._tasks:
            task.cancel()

    def data_received(self, data: bytes) -> None:
        for event in self._h2.receive_data(data):
            if not self._is_leaving:
                self._note(event)
        self._flush()

    def _note(self, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.RequestReceived):
            headers = {str(name): str(value) for name, value in event.headers}
            self._requests[event.stream_id] = Received(headers, b"", event.stream_id, self._number)
        elif isinstance(event, h2.events.DataReceived):
            self._requests[event.stream_id].body += event.data
            self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.StreamEnded):
            request = self._requests.pop(event.stream_id)
            self._server.received.append(request)
            self._server._changed.set()
            self._act(request, self._server.script(request))
        elif isinstance(event, h2.events.StreamReset):
            self._unsent.pop(event.stream_id, None)
        elif isinstance(event, h2.events.WindowUpdated):
            for stream_id in list(self._unsent):
                self._send_body(stream_id)

    def _act(self, request: Received, act: Act) -> None:
        match act:
            case Answer(status, body, headers):
                if status == 200 and self._server.later_streams:
                    self._h2.update_settings({SettingCodes.MAX_CONCURRENT_STREAMS: self._server.later_streams})
                self._h2.send_headers(request.stream_id, [(":status", str(status)), *headers])
                self._unsent[request.stream_id] = body
                self._send_body(request.stream_id)
            case ResetStream(error):
                self._h2.reset_stream(request.stream_id, error)
            case Hangup(abruptly):
                self._flush()
                self.transport.abort() if abruptly else self.transport.close()
            case GoAway():
                self._h2.close_connection(last_stream_id=max(0, request.stream_id - 2))
                self._flush()
                self.transport.close()
                self._is_leaving = True
            case Drip(status):
                self._h2.send_headers(request.stream_id, [(":status", str(status))])
                self._drip(request.stream_id)
            case Garbage():
                self.transport.write(b"\x00" * 4 + b"nothing that a client understands" * 4)
            case Held(answer, released):
                task = asyncio.get_running_loop().create_task(self._answer_later(request, answer, released))
                self._tasks.add(task)
            case Silence():
                pass

    async def _answer_later(self, request: Received, answer: Answer, released: asyncio.Event) -> None:
        await released.wait()
        self._act(request, answer)
        self._flush()

    def _drip(self, stream_id: int) -> None:
        try:
            self._h2.send_data(stream_id, b" ")
        except h2.exceptions.ProtocolError:
            return  # the client has given the stream up
        self._flush()
        self._timers.append(asyncio.get_running_loop().call_later(0.02, self._drip, stream_id))

    def _send_body(self, stream_id: int) -> None:
        body = self._unsent.pop(stream_id)
        while body:
            size = min(self._h2.local_flow_control_window(stream_id), self._h2.max_outbound_frame_size, len(body))
            if size <= 0:
                self._unsent[stream_id] = body
                return
            self._h2.send_data(stream_id, body[:size])
            self._flush()
            body = body[size:]
        self._h2.end_stream(stream_id)

    def _flush(self) -> None:
        self.transport.write(self._h2.data_to_send())
