"""One HTTP/2 connection frame by frame, for what libcurl does not show: settings, GOAWAY, resets."""

import socket
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

import h2.config
import h2.connection
import h2.events

TIMEOUT_SECONDS = 10
HEAD_BYTES = 9
"""Of a frame; the first three are the length of what follows."""


@dataclass(slots=True)
class Stream:
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    data_frames: int = 0
    reset: int | None = None  # the error code
    is_over: bool = False


class Http2Client:
    def __init__(self, endpoint: str, ca_file: Path) -> None:
        where = urlsplit(endpoint)
        self._authority = where.netloc
        context = ssl.create_default_context(cafile=ca_file)
        context.set_alpn_protocols(["h2"])
        plain = socket.create_connection((where.hostname, where.port), TIMEOUT_SECONDS)
        self._socket = context.wrap_socket(plain, server_hostname=where.hostname)
        configuration = h2.config.H2Configuration(header_encoding="utf-8")
        self._h2 = h2.connection.H2Connection(configuration)
        self._h2.initiate_connection()
        self.streams: dict[int, Stream] = {}
        self.limits: list[int] = []  # of streams, as the server announced them
        self._unread = b""
        self.goodbye: h2.events.ConnectionTerminated | None = None
        self._flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._socket.close()

    def post(self, path: str, headers: Mapping[str, str], body: bytes) -> Stream:
        """Send it at once, whatever the server allows."""
        stream_id = self._h2.get_next_available_stream_id()
        fixed = {":method": "POST", ":scheme": "https", ":authority": self._authority, ":path": path}
        self._h2.remote_settings.max_concurrent_streams = 1_000  # h2 would keep us from breaking the rule
        self._h2.send_headers(stream_id, [*fixed.items(), *headers.items()])
        self._h2.send_data(stream_id, body, end_stream=True)
        self._flush()
        stream = self.streams[stream_id] = Stream()
        return stream

    def ask(self, path: str, headers: Mapping[str, str], body: bytes) -> Stream:
        stream = self.post(path, headers, body)
        while not stream.is_over and self.read():
            pass
        return stream

    def read(self) -> bool:
        """What comes next; False at the connection's end."""
        data = self._socket.recv(65536)
        self._unread += data
        for frame in self._frames():
            for event in self._h2.receive_data(frame):
                self._note(event)
            if self.goodbye:  # h2 takes it for the end, but the server may answer what it took on before
                self._h2.state_machine.state = h2.connection.ConnectionState.CLIENT_OPEN
        if data:
            self._flush()
        return bool(data)

    def _frames(self) -> Iterator[bytes]:
        """The complete ones of what is unread."""
        while len(self._unread) >= HEAD_BYTES:
            length = HEAD_BYTES + int.from_bytes(self._unread[:3])
            if len(self._unread) < length:
                return
            frame, self._unread = self._unread[:length], self._unread[length:]
            yield frame

    def read_to_the_end(self) -> None:
        while self.read():
            pass

    def _note(self, event: h2.events.Event) -> None:
        match event:
            case h2.events.RemoteSettingsChanged():
                change = event.changed_settings.get(3)  # MAX_CONCURRENT_STREAMS
                if change is not None:
                    self.limits.append(change.new_value)
            case h2.events.ResponseReceived():
                stream = self.streams[event.stream_id]
                stream.headers = {str(name): str(value) for name, value in event.headers}
                stream.status = int(stream.headers.pop(":status"))
            case h2.events.DataReceived():
                stream = self.streams[event.stream_id]
                stream.body += event.data
                stream.data_frames += 1
            case h2.events.StreamEnded():
                self.streams[event.stream_id].is_over = True
            case h2.events.StreamReset():
                stream = self.streams[event.stream_id]
                stream.reset, stream.is_over = int(event.error_code), True
            case h2.events.ConnectionTerminated():
                self.goodbye = event

    def _flush(self) -> None:
        self._socket.sendall(self._h2.data_to_send())
