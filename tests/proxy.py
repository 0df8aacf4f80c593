"""A network between a client and its server that can be broken in ways in which two processes cannot break it."""

import asyncio
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Literal

LOOPBACK = "127.0.0.1"

DRIP_SECONDS = 0.2
"""Between two bytes."""


class _Line:
    """One connection through the proxy: its two ends."""

    def __init__(self, near: asyncio.StreamWriter, far: asyncio.StreamWriter) -> None:
        self.ends = (near, far)
        self.state: Literal["good", "half open", "dripping"] = "good"

    async def carry(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while chunk := await source.read(65_536):
                if self.state == "dripping" and target is self.ends[0]:
                    await self._drip(chunk, target)
                elif self.state != "half open":
                    target.write(chunk)
        if self.state != "half open":  # in which neither end hears of the other's
            self.close()

    async def _drip(self, chunk: bytes, target: asyncio.StreamWriter) -> None:
        for byte in chunk:
            if target.transport.is_closing():
                return
            target.write(bytes([byte]))
            await asyncio.sleep(DRIP_SECONDS)

    def close(self) -> None:
        for end in self.ends:
            end.transport.abort()


class Proxy:
    """Listens on a port of its own and passes everything on to `target_port`, in a thread of its own."""

    def __init__(self, target_port: int, *, tls: ssl.SSLContext | None = None) -> None:
        """`tls`: it is spoken with clients, not with the server."""
        self._target_port = target_port
        self._lines: list[_Line] = []
        self.connections = 0  # so far
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._thread.start()
        starting = asyncio.start_server(self._serve, LOOPBACK, 0, ssl=tls)
        self._server = asyncio.run_coroutine_threadsafe(starting, self._loop).result()
        self.port: int = self._server.sockets[0].getsockname()[1]

    def leave_half_open(self) -> int:
        """From now on what travels on the connections of this moment is swallowed, in both directions, and the end of
        one is not told to the other: a router that was restarted. New ones work. How many there are.
        """
        return self._worsen("half open")

    def drip(self) -> int:
        """From now on what travels on the connections of this moment reaches the client byte by byte. New ones work."""
        return self._worsen("dripping")

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _worsen(self, state: Literal["half open", "dripping"]) -> int:
        lines = [line for line in self._lines if line.state == "good"]
        for line in lines:
            line.state = state
        return len(lines)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection(LOOPBACK, self._target_port)
        except OSError:  # the server is away: so is the proxy
            writer.transport.abort()
            return
        line = _Line(writer, far_writer)
        self._lines.append(line)
        self.connections += 1
        await asyncio.gather(line.carry(reader, far_writer), line.carry(far_reader, writer))
        if line.state != "half open":
            self._lines.remove(line)

    async def _end(self) -> None:
        self._server.close()
        for line in list(self._lines):
            line.close()
        await asyncio.gather(*(asyncio.all_tasks() - {asyncio.current_task()}), return_exceptions=True)


@contextmanager
def proxied(target_port: int, *, tls: ssl.SSLContext | None = None) -> Iterator[Proxy]:
    proxy = Proxy(target_port, tls=tls)
    try:
        yield proxy
    finally:
        proxy.close()


@contextmanager
def silent_server() -> Iterator[int]:
    """A port that takes connections and says nothing on them."""
    with socket.create_server((LOOPBACK, 0)) as listener:  # the kernel takes them
        yield int(listener.getsockname()[1])
