"""Connections that are met by nobody: what a client sees of a server that is silent, drips or talks nonsense."""

import asyncio
from collections.abc import Callable
from typing import cast

from shared.simulator.wire.manner import DRIP_SECONDS, GARBAGE, HELPING_BYTES, Opening

_GREETING = b"220 " + b"-" * 500
_HANDSHAKE = b"\x16\x03\x03\x40\x00\x02" + bytes(500)
"""The head of a TLS record that announces 16 KiB: the client waits for all of it."""

_LINE = b"220-And there is more to say\r\n"
_HELPING = _LINE * (HELPING_BYTES // len(_LINE))


class Stranger(asyncio.Protocol):
    """Reads what comes and heeds none of it."""

    def __init__(
        self,
        opening: Opening,
        *,
        on_open: Callable[["Stranger"], None],
        on_close: Callable[["Stranger"], None],
        is_secure: bool,
    ) -> None:
        """`is_secure`: the client expects TLS from the first byte."""
        self._opening = opening
        self._on_open = on_open
        self._on_close = on_close
        self._drops = iter(_HANDSHAKE if is_secure else _GREETING)
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one in all but class
        self._on_open(self)
        match self._opening:
            case Opening.GARBAGE:
                self._transport.write(GARBAGE)
            case Opening.DRIPPING | Opening.ENDLESS:
                self._go_on()

    def connection_lost(self, _error: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._on_close(self)

    def shut_down(self) -> None:
        self._transport.abort()

    def abort(self) -> None:
        self._transport.abort()

    def _go_on(self) -> None:
        if self._opening is Opening.DRIPPING:
            drop = next(self._drops, None)
            self._transport.write(b"" if drop is None else bytes([drop]))
        elif not self._transport.get_write_buffer_size():  # else the client has not read what there is
            self._transport.write(_HELPING)
        self._timer = asyncio.get_running_loop().call_later(DRIP_SECONDS, self._go_on)
