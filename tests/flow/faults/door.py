"""A door before a provider: open, it lets everything through; shut, it resets every connection, and counts them."""

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER with no time: closing sends RST."""


@dataclass(slots=True)
class Door:
    behind: str  # host:port
    port: int = 0
    is_open: bool = True
    refused_at: list[float] = field(default_factory=list)  # monotonic

    def refusals_since(self, moment: float) -> int:
        return sum(at >= moment for at in self.refused_at)

    @contextmanager
    def standing(self) -> Iterator["Door"]:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            self.port = listening.getsockname()[1]
            thread = threading.Thread(target=self._serve, args=(listening,), daemon=True)
            thread.start()
            yield self
            self.is_open = False
            listening.shutdown(socket.SHUT_RDWR)
            thread.join()

    def _serve(self, listening: socket.socket) -> None:
        while True:
            try:
                came, _ = listening.accept()
            except OSError:
                return
            if not self.is_open:
                self.refused_at.append(time.monotonic())
                came.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                came.close()
                continue
            host, _, port = self.behind.rpartition(":")
            beyond = socket.create_connection((host, int(port)))
            for source, sink in ((came, beyond), (beyond, came)):
                threading.Thread(target=_pass_on, args=(source, sink), daemon=True).start()


def _pass_on(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65_536):
            sink.sendall(data)
    for end in (source, sink):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
        end.close()
