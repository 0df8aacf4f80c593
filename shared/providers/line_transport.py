"""What transports share: a line for each origin and pool, and flows that are admitted to it and dropped again."""

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path
from typing import Protocol

from shared.providers.flow import Flow
from shared.providers.transport import Failure, Pool, Reply, Request
from shared.providers.trust import combined_bundle

Exchange = Flow[Request, Reply | Failure]


class Line(Protocol):
    """The connections to one origin, and the requests waiting for room on them."""

    def time(self) -> float:
        """The event loop's."""

    def admit(self, flow: Exchange) -> None:
        """Send what it has, as there is room."""

    def drop(self, flow: Exchange) -> None:
        """Forget a flow; its requests in flight are reset."""

    def close(self) -> None:
        """Answer everything with a Failure and close the connections."""


class LineTransport(ABC):
    """See `transport.Transport`. Belongs to the event loop it is first used in."""

    def __init__(
        self,
        *,
        timeout_seconds: float,
        connect_timeout_seconds: float = 3.0,
        ca_file: Path | None = None,
        connections: int = 500,
    ) -> None:
        """`connections`: the most to one origin, whatever its pool asks for."""
        self.timeout_seconds = timeout_seconds
        self.connect_timeout_seconds = connect_timeout_seconds
        self.ca_file = ca_file
        self.bundle = combined_bundle(ca_file) if ca_file else None  # now: if it is missing, say so early
        self._connections = connections
        self._lines: dict[tuple[str, Pool], Line] = {}  # providers behind one origin keep their own connections
        self._is_closed = False

    @abstractmethod
    def open_line(self, origin: str, pool: Pool) -> Line:
        """Without connections yet: they are made as requests come."""

    async def exchange(
        self,
        origin: str,
        requests: Iterator[tuple[int, Request]],
        *,
        pool: Pool | None = None,
        leave_by: float | None = None,
    ) -> AsyncGenerator[list[tuple[int, Reply | Failure]], None]:
        if self._is_closed:
            raise RuntimeError("The transport is closed.")
        line = self._line_to(origin, pool or Pool())
        flow = Exchange(requests, leave_by=line.time() + self.timeout_seconds if leave_by is None else leave_by)
        line.admit(flow)
        try:
            async for batch in flow.batches():
                yield batch
        finally:
            line.drop(flow)

    async def aclose(self) -> None:
        self._is_closed = True
        for line in self._lines.values():
            line.close()
        self._lines.clear()
        if self.bundle is not None:
            self.bundle.close()

    def _line_to(self, origin: str, pool: Pool) -> Line:
        line = self._lines.get((origin, pool))
        if line is None:
            most = min(pool.connections, self._connections)
            line = self._lines[origin, pool] = self.open_line(origin, pool._replace(connections=most))
        return line
