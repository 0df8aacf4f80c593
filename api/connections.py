"""Bounds for the head of a request, which uvicorn reads without end: anybody may send one, before any check."""

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD_BYTES = 256 * 1024
"""Several times what clients send: the address alone may be 64 KiB long."""

HEAD_SECONDS = 20.0
"""From the connection, or the first byte of a further request, to the end of its head."""


class BoundedProtocol(HttpToolsProtocol):
    """One connection. Bodies have limits of their own, behind the checks of who is calling: see api/kernel.py."""

    _is_in_head = False
    _head_bytes = 0  # of the head that is being read, without what came together with its beginning
    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # uvicorn's signature
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
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
        self._stop_waiting()
        super().on_headers_complete()

    def _await_head(self) -> None:
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(HEAD_SECONDS, self.transport.close)

    def _stop_waiting(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
