"""The connections to one origin through libcurl, and the requests that wait for room on them."""

import asyncio
import ipaddress
import math
from io import BytesIO
from typing import Any, Final
from urllib.parse import urlsplit

import pycurl

from shared.providers.flow import Turns
from shared.providers.line_transport import Exchange
from shared.providers.lookup import KEPT_SECONDS, Lookups
from shared.providers.transport import Failure, Pool, Reply, Request

EXPECT_NOTHING: Final = ("expect:", "user-agent: tidings")
"""No `100-continue` round trip before a body; and who we are."""

TURN_BYTES: Final = 4 * 1024 * 1024
"""Of bodies that are written in one turn of the event loop: with attachments one has ten times as many."""

REWIND_REFUSED: Final = "necessary data rewind"

REST_SECONDS: Final = 1.0
"""A kept connection that rested so long may have been closed; what goes first may go on a fresh one."""

E_HTTP2_STREAM: Final = 92  # CURLE_HTTP2_STREAM, which pycurl has no name for

STREAM_ENDS: Final = frozenset({pycurl.E_OPERATION_TIMEDOUT, E_HTTP2_STREAM})
"""Failures of a request alone, which say nothing about its connection."""

Options = list[tuple[int, object]]


class Slot:
    """A libcurl easy handle, used for one request after the other."""

    __slots__ = (
        "_chunks",
        "_headers",
        "_lines",
        "_method",
        "_own",
        "_path",
        "_wanted",
        "addresses",
        "curl",
        "era",
        "flow",
        "index",
    )

    def __init__(self, options: Options) -> None:
        self.curl = pycurl.Curl()
        for option, value in options:
            self.curl.setopt(option, value)
        self._chunks: list[bytes] = []
        self.curl.setopt(pycurl.WRITEFUNCTION, self._chunks.append)
        self._path = self._method = ""
        self._headers: tuple[str, ...] = ()
        self._own: tuple[str, ...] = ()
        self._wanted: tuple[str, ...] = ()
        self._lines: list[bytes] = []
        self.addresses: list[str] | None = None  # that it was told of its host
        self.flow: Exchange | None = None
        self.index = 0
        self.era = 0

    def prepare(self, origin: str, request: Request) -> None:
        """Set what differs from the request before.

        The body is read through a callback that cannot go back to its start. Given as a buffer, libcurl would send
        it again, unasked, when a kept connection breaks without a reply: a second push that nobody counted.
        """
        curl = self.curl
        path, headers, body, method, wanted, own = request
        if path != self._path:
            curl.setopt(pycurl.URL, origin + path)
            self._path = path
        if headers is not self._headers or own != self._own:
            curl.setopt(pycurl.HTTPHEADER, headers + own + EXPECT_NOTHING)
            self._headers, self._own = headers, own
        if method != self._method:
            curl.setopt(pycurl.POST, 1)
            curl.setopt(pycurl.CUSTOMREQUEST, method)
            self._method = method
        if wanted != self._wanted:
            curl.setopt(pycurl.HEADERFUNCTION, self._lines.append) if wanted else curl.unsetopt(pycurl.HEADERFUNCTION)
            self._wanted = wanted
        curl.setopt(pycurl.POSTFIELDSIZE, len(body))
        curl.setopt(pycurl.READFUNCTION, BytesIO(body).read)
        self._chunks.clear()
        self._lines.clear()

    def reply(self, *, is_cut: bool = False) -> Reply:
        chunks = self._chunks
        body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        status = self.curl.getinfo(pycurl.RESPONSE_CODE)
        headers = self._wanted_headers() if self._wanted else {}
        if status < 300:
            return Reply(status, body, None, is_cut, headers)
        return Reply(status, body, self.curl.getinfo(pycurl.RETRY_AFTER) or None, is_cut, headers)

    def _wanted_headers(self) -> dict[str, str]:
        fields = (line.decode("latin-1").partition(":") for line in self._lines)
        return {name.lower(): value.strip() for name, _, value in fields if name.lower() in self._wanted}

    @property
    def spoke_http2(self) -> bool:
        return bool(self.curl.getinfo(pycurl.INFO_HTTP_VERSION) == pycurl.CURL_HTTP_VERSION_2_0)

    @property
    def has_sent(self) -> bool:
        return bool(self.curl.getinfo(pycurl.REQUEST_SIZE))


class CurlLine:
    """The connections to one origin, and the requests waiting for room on them.

    Names are not looked up by libcurl: it waits for its resolver's thread when it closes a connection, and so would the
    event loop, for as long as a name server is silent.
    """

    def __init__(self, origin: str, pool: Pool, options: Options) -> None:
        self._origin = origin
        self._options = options
        self._loop = asyncio.get_running_loop()
        self.time = self._loop.time
        self._timer: asyncio.TimerHandle | asyncio.Handle | None = None
        self._turns = Turns[Request, Reply | Failure]()
        self._pool = pool
        self._streams = 1 if pool.is_careful else pool.streams
        self._has_met_http1 = False
        self._resting_since = self.time()
        self._era = 0  # counts the times that a connection may have been lost
        self._abreast = 0  # in flight of this era: what the limit is about, so that an old request holds up no new one
        self._idle: list[Slot] = []
        self._busy: dict[Any, Slot] = {}
        self._lookups = Lookups()
        self._looking_up: asyncio.Task[None] | None = None
        self._addresses: list[str] | None = [] if _is_address(origin) else None  # as libcurl takes them
        self._addresses_until = math.inf if _is_address(origin) else 0.0
        self._multi = self._open()

    def admit(self, flow: Exchange) -> None:
        self._turns.join(flow)
        if self.time() > self._addresses_until and self._looking_up is None:
            self._looking_up = asyncio.create_task(self._look_up())
        self._fill()

    async def _look_up(self) -> None:
        """The addresses of the origin's host; those of before serve until then, and where none are found now."""
        place = urlsplit(self._origin)
        host, port = place.hostname or "", place.port or (443 if place.scheme == "https" else 80)
        try:
            found = await self._lookups.find(host, port)
        except OSError as error:
            if self._addresses is None:
                self._refuse_waiting(f"{host} cannot be looked up: {error}")
        else:
            self._addresses = [f"{host}:{port}:{','.join(dict.fromkeys(str(entry[4][0]) for entry in found))}"]
            self._addresses_until = self.time() + KEPT_SECONDS
        finally:
            self._looking_up = None
        self._fill()

    def _refuse_waiting(self, reason: str) -> None:
        while (waiting := self._turns.take()) is not None:
            flow, index, _request = waiting
            flow.finish(index, Failure(reason, never_left=True))

    def drop(self, flow: Exchange) -> None:
        """Forget a flow; its requests in flight are reset."""
        flow.abandon()
        if flow.travelling:
            for slot in [slot for slot in self._busy.values() if slot.flow is flow]:
                self._release(slot)
            self._fill()

    def close(self) -> None:
        for slot in list(self._busy.values()):
            flow = self._release(slot)
            flow.finish(slot.index, Failure("the transport was closed", never_left=False))
        if self._looking_up is not None:
            self._looking_up.cancel()
        self._refuse_waiting("the transport was closed")
        for slot in self._idle:
            slot.curl.close()
        self._multi.close()
        self._schedule(-1)

    def _open(self) -> Any:
        multi = pycurl.CurlMulti()
        multi.setopt(pycurl.M_PIPELINING, pycurl.PIPE_MULTIPLEX)
        multi.setopt(pycurl.M_MAX_HOST_CONNECTIONS, self._pool.connections)
        multi.setopt(pycurl.M_MAX_CONCURRENT_STREAMS, self._pool.streams)
        multi.setopt(pycurl.M_SOCKETFUNCTION, self._watch)
        multi.setopt(pycurl.M_TIMERFUNCTION, self._schedule)
        return multi

    def _reopen(self) -> None:
        """Libcurl keeps a connection whose very first request was cut off, and would send the next one there."""
        self._multi.close()
        self._multi = self._open()

    def _fill(self) -> None:
        """Send what waits, as far as there is room.

        HTTP/1.1 takes one request on a connection; more would wait, and time out, inside libcurl.
        """
        if self._addresses is None:
            return  # they are being looked up
        if not self._busy and self.time() > self._resting_since + REST_SECONDS:
            self._take_care()
        limit = self._pool.connections * self._streams
        most = self._pool.connections * (self._streams if self._has_met_http1 else self._pool.streams)
        left = TURN_BYTES
        while self._abreast < limit and len(self._busy) < most and (work := self._next()) is not None:
            slot = self._idle.pop() if self._idle else Slot(self._options)
            slot.flow, slot.index, request = work
            slot.era = self._era
            self._abreast += 1
            if slot.addresses is not self._addresses:
                slot.addresses = self._addresses
                slot.curl.setopt(pycurl.RESOLVE, self._addresses)
            slot.prepare(self._origin, request)
            self._busy[slot.curl] = slot
            self._multi.add_handle(slot.curl)
            left -= len(request.body)
            if left < 0:
                self._loop.call_soon(self._fill)
                return

    def _take_care(self) -> None:
        """What goes next may go on a fresh connection: in a careful pool one request asks first."""
        if self._pool.is_careful:
            self._era += 1
            self._abreast = 0
            self._streams = 1

    def _learn(self, slot: Slot) -> None:
        """A request was answered; unless it left in an earlier era, that tells what its connection can do."""
        spoke_http2 = slot.spoke_http2
        if not spoke_http2:
            self._has_met_http1 = True
        if slot.era == self._era:
            self._streams = self._pool.streams if spoke_http2 else 1

    def _next(self) -> tuple[Exchange, int, Request] | None:
        """What waited too long is answered here."""
        while (work := self._turns.take()) is not None and self.time() > work[0].leave_by:
            flow, index, _request = work
            flow.finish(index, Failure("there was no room for it in time", never_left=True))
        return work

    def _release(self, slot: Slot) -> Exchange:
        self._multi.remove_handle(slot.curl)
        del self._busy[slot.curl]
        if slot.era == self._era:
            self._abreast -= 1
        if not self._busy:
            self._resting_since = self.time()
        self._idle.append(slot)
        flow, slot.flow = slot.flow, None
        assert flow is not None
        return flow

    def _act(self, descriptor: int, events: int) -> None:
        """Let libcurl work on a socket or a timer, then hand on what it finished and fill the room it left."""
        self._multi.socket_action(descriptor, events)
        remaining, has_lost_connection = 1, False
        while remaining:
            remaining, succeeded, failed = self._multi.info_read()
            for curl in succeeded:
                slot = self._busy[curl]
                self._learn(slot)
                self._release(slot).finish(slot.index, slot.reply())
            for curl, code, text in failed:
                slot = self._busy[curl]
                flow = self._release(slot)
                flow.finish(slot.index, self._judge(slot, code, text))
                if code not in STREAM_ENDS:
                    has_lost_connection = True
                    self._take_care()
        if has_lost_connection and not self._busy:
            self._reopen()
        self._fill()

    def _judge(self, slot: Slot, code: int, text: str) -> Reply | Failure:
        """What libcurl's error means for us.

        A refused stream (REFUSED_STREAM, or above the last one a GOAWAY names) shows as libcurl's wish to send again
        on a fresh connection, which our body does not allow. A broken HTTP/2 connection may end in the same code, but
        then its own text was recorded first. A kept HTTP/1.1 connection closed in order looks just like it, so an
        origin that ever answered in HTTP/1.1 gets no such credit. Should the wording change one day, refused requests
        count as perhaps received: the safe side.
        """
        if code == pycurl.E_FILESIZE_EXCEEDED:
            return slot.reply(is_cut=True)
        if code == pycurl.E_SEND_FAIL_REWIND and text.startswith(REWIND_REFUSED) and not self._has_met_http1:
            return Failure("the server refused the stream", never_left=True)
        return Failure(f"{text or 'the connection broke'} (libcurl {code})", never_left=not slot.has_sent)

    def _watch(self, event: int, descriptor: int, _multi: object, _data: object) -> None:
        """Libcurl says which events of a socket it waits for."""
        loop = self._loop
        if event in {pycurl.POLL_IN, pycurl.POLL_INOUT}:
            loop.add_reader(descriptor, self._act, descriptor, pycurl.CSELECT_IN)
        else:
            loop.remove_reader(descriptor)
        if event in {pycurl.POLL_OUT, pycurl.POLL_INOUT}:
            loop.add_writer(descriptor, self._act, descriptor, pycurl.CSELECT_OUT)
        else:
            loop.remove_writer(descriptor)

    def _schedule(self, milliseconds: int) -> None:
        """Libcurl says when it wants to be called at the latest; -1: not at all."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if milliseconds == 0:
            self._timer = self._loop.call_soon(self._expire)
        elif milliseconds > 0:
            self._timer = self._loop.call_later(milliseconds / 1000, self._expire)

    def _expire(self) -> None:
        self._timer = None
        self._act(pycurl.SOCKET_TIMEOUT, 0)


def _is_address(origin: str) -> bool:
    """Whether there is no name in it to be looked up."""
    try:
        ipaddress.ip_address(urlsplit(origin).hostname or "")
    except ValueError:
        return False
    return True
