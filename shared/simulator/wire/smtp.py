"""The SMTP server's bytes: lines and mails out of the stream, replies in order and in their time, TLS.

Clients may pipeline: commands are read as they come, their replies wait in one queue.
"""

import asyncio
import ssl
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from shared.simulator.wire.listener import CLOSING_SECONDS, Listener
from shared.simulator.wire.mailroom import Mailroom
from shared.simulator.wire.manner import DRIP_SECONDS, GARBAGE, HELPING_BYTES, PROMPT, Ending, Manner, reset
from shared.simulator.wire.smtp_session import SmtpSession, Then

LONGEST_COMMAND = 12_288
"""RFC 4954 lets AUTH lines be this long."""

_END_OF_CONTENT = b"\r\n.\r\n"

_LINE = b"250-And there is more to say\r\n"
_HELPING = _LINE * (HELPING_BYTES // len(_LINE))


class SmtpServer(Listener):
    def __init__(self, mailroom: Mailroom, tls: ssl.SSLContext, *, before_write: Callable[[], None]) -> None:
        """`before_write` runs before any reply leaves: what a reply promises is on record by then."""
        super().__init__()
        self.mailroom = mailroom
        self.tls = tls
        self.before_write = before_write

    async def start(self, host: str, port: int, *, implicit_tls: bool = False) -> None:
        tls = self.tls if implicit_tls else None
        await self.listen(lambda: SmtpConnection(self, is_encrypted=implicit_tls), host, port, tls=tls)


@dataclass(frozen=True, slots=True)
class _Timed:
    due: float  # the loop's time
    data: bytes
    then: Callable[[], None] | None = None  # once the data is written


class SmtpConnection(asyncio.Protocol):
    def __init__(self, server: SmtpServer, *, is_encrypted: bool) -> None:
        self.is_encrypted = is_encrypted
        self._server = server
        self._session = SmtpSession(server.mailroom, self)
        self._loop = asyncio.get_running_loop()
        self._buffer = bytearray()
        self._searched = 0  # no end of content starts before this place in the buffer
        self._is_reading_content = False
        self._is_too_large = False
        self._is_deaf = False  # closing, silent or waiting for TLS: what comes in is not read
        self._replies: deque[_Timed] = deque()
        self._last_due = 0.0
        self._timer: asyncio.Handle | None = None
        self._upgrade: asyncio.Task[None] | None = None
        self._early = b""  # came over TLS with the end of the handshake, before we knew of that

    # asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one in all but class
        self._server.opened(self)
        self._session.greet()

    def connection_lost(self, _error: Exception | None) -> None:
        self._is_deaf = True
        self._replies.clear()
        if self._timer is not None:
            self._timer.cancel()
        self._server.closed(self)

    def data_received(self, data: bytes) -> None:
        if self._is_deaf:
            if self._upgrade is not None and not self.is_encrypted:
                self._early += data
            return
        if self._append(data):
            while not self._is_deaf and (self._take_content() if self._is_reading_content else self._take_line()):
                pass
        else:
            self._server.mailroom.note("malformed")
            self.say(b"521 5.5.2 There is an LF without its CR; goodbye\r\n", then=Then.CLOSE)

    def shut_down(self) -> None:
        self._is_deaf = True
        self._transport.write(b"421 4.3.2 The simulator is stopping\r\n")
        self._transport.close()

    def abort(self) -> None:
        self._transport.abort()

    # reading

    def _append(self, data: bytes) -> bool:
        """False for a bare LF: that is how mail is smuggled past servers that disagree about its end."""
        start = len(self._buffer)
        self._buffer += data
        return self._buffer.count(b"\n", start) == self._buffer.count(b"\r\n", max(start - 1, 0))

    def _take_line(self) -> bool:
        end = self._buffer.find(b"\r\n")
        if max(end, 0 if end >= 0 else len(self._buffer)) > LONGEST_COMMAND:
            self.say(b"500 5.5.2 The line is too long; goodbye\r\n", then=Then.CLOSE)
            return False
        if end < 0:
            return False
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 2]
        self._session.read_line(line)
        return True

    def _take_content(self) -> bool:
        """The buffer starts with a CRLF of our own, so that a dot on a mail's first line is like any other."""
        end = self._buffer.find(_END_OF_CONTENT, self._searched)
        size = end if end >= 0 else len(self._buffer)
        self._is_too_large |= size > self._server.mailroom.terms.largest_mail_bytes + len(b"\r\n")
        if end < 0:
            if self._is_too_large:
                del self._buffer[: -len(_END_OF_CONTENT)]
            self._searched = max(len(self._buffer) - len(_END_OF_CONTENT), 0)
            return False
        content = None if self._is_too_large else bytes(self._buffer[: end + 2]).replace(b"\r\n.", b"\r\n")[2:]
        del self._buffer[: end + len(_END_OF_CONTENT)]
        self._is_reading_content = False
        self._session.read_content(content)
        return True

    def _begin_content(self) -> None:
        self._is_reading_content = True
        self._is_too_large = False
        self._searched = 0
        self._buffer[:0] = b"\r\n"

    # replying

    def say(self, reply: bytes, manner: Manner = PROMPT, then: Then = Then.GO_ON) -> None:
        if then is Then.BEGIN_TLS and self._buffer:
            self.say(b"521 5.5.1 Nothing may follow STARTTLS; goodbye\r\n", then=Then.CLOSE)
            return
        delay = manner.delay_seconds + self._server.mailroom.terms.reply_delay_ms / 1000
        due = max(self._last_due, self._loop.time() + delay)
        match manner.ending:
            case Ending.RESET | Ending.CUT:
                self._is_deaf = True
                self._queue(due, b"", self._reset)
            case Ending.SILENCE:
                self._is_deaf = True
            case Ending.GARBAGE:
                self._is_deaf = True
                self._queue(due, GARBAGE)
            case Ending.ENDLESS:
                self._is_deaf = True
                self._queue(due, _HELPING, self._go_on_endlessly)
            case _:
                *early, last = manner.cut(reply) if manner.trickle_seconds else [reply]
                for place, piece in enumerate(early):
                    self._queue(due + place * manner.pause_seconds, piece)
                self._queue(due + len(early) * manner.pause_seconds, last, self._prepare(then))

    def _go_on_endlessly(self) -> None:
        is_read = not self._transport.get_write_buffer_size()
        self._queue(self._loop.time() + DRIP_SECONDS, _HELPING if is_read else b"", self._go_on_endlessly)

    def _prepare(self, then: Then) -> Callable[[], None] | None:
        """Change how the client is read from now on; what is left to do once the reply is written."""
        match then:
            case Then.GO_ON:
                return None
            case Then.READ_CONTENT:
                self._begin_content()
                return None
            case Then.CLOSE:
                self._is_deaf = True
                return self._transport.close
            case Then.BEGIN_TLS:
                self._is_deaf = True
                self._transport.pause_reading()
                return self._begin_tls

    def _queue(self, due: float, data: bytes, then: Callable[[], None] | None = None) -> None:
        self._last_due = due
        self._replies.append(_Timed(due, data, then))
        if self._timer is None:
            self._schedule()

    def _schedule(self) -> None:
        due = self._replies[0].due
        soon = due <= self._loop.time()
        self._timer = self._loop.call_soon(self._write_due) if soon else self._loop.call_at(due, self._write_due)

    def _write_due(self) -> None:
        self._timer = None
        self._server.before_write()
        now, data = self._loop.time(), b""
        while self._replies and self._replies[0].due <= now:
            timed = self._replies.popleft()
            data += timed.data
            if timed.then is not None:
                self._transport.write(data)
                timed.then()
                return  # nothing is said after that
        self._transport.write(data)
        if self._replies:
            self._schedule()

    def _reset(self) -> None:
        reset(self._transport)

    # TLS

    def _begin_tls(self) -> None:
        self._upgrade = self._loop.create_task(self._start_tls())

    async def _start_tls(self) -> None:
        try:
            transport = await self._loop.start_tls(
                self._transport, self, self._server.tls, server_side=True, ssl_shutdown_timeout=CLOSING_SECONDS
            )
        except OSError:  # among them what ssl raises: the client does not trust us, or speaks no TLS
            self.connection_lost(None)
            return
        assert transport is not None
        self._transport = transport
        self.is_encrypted = True
        self._is_deaf = False
        self._session.start_over()
        early, self._early = self._early, b""
        self.data_received(early)
