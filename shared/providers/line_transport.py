"""What transports share: a line for each origin and pool, and flows that are admitted to it and dropped again.

A pool names the account it belongs to, so each account has lines of its own. Those that rest are closed after a while:
a process serves as many accounts as there are.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path
from typing import Final, Protocol

from shared.providers.flow import Flow
from shared.providers.transport import Failure, Pool, Reply, Request
from shared.providers.trust import combined_bundle

Exchange = Flow[Request, Reply | Failure]

REST_SECONDS: Final = 30.0
"""Without an exchange, until a line's connections are closed: about the longest pause between batches of a campaign."""

MOST_RESTING: Final = 50
"""Lines. Of more the one that rested longest is closed at once."""


Place = tuple[str, Pool]
"""An origin, and whose connections of which number: providers behind one origin keep their own."""


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
        rest_seconds: float = REST_SECONDS,
    ) -> None:
        """`connections`: the most of a line, whatever its pool asks for."""
        self.timeout_seconds = timeout_seconds
        self.connect_timeout_seconds = connect_timeout_seconds
        self.ca_file = ca_file
        self.bundle = combined_bundle(ca_file) if ca_file else None  # now: if it is missing, say so early
        self._connections = connections
        self._lines: dict[Place, Line] = {}
        self._users: dict[Place, int] = {}  # exchanges under way
        self._rest_seconds = rest_seconds
        self._resting: dict[Place, float] = {}  # since when; longest first
        self._sweep: asyncio.TimerHandle | None = None
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
        place = origin, pool or Pool()
        line = self._use(place)
        flow = Exchange(requests, leave_by=line.time() + self.timeout_seconds if leave_by is None else leave_by)
        line.admit(flow)
        try:
            async for batch in flow.batches():
                yield batch
        finally:
            line.drop(flow)
            self._leave(place)

    async def aclose(self) -> None:
        self._is_closed = True
        if self._sweep is not None:
            self._sweep.cancel()
        for line in self._lines.values():
            line.close()
        self._lines.clear()
        self._resting.clear()
        if self.bundle is not None:
            self.bundle.close()

    def _use(self, place: Place) -> Line:
        self._resting.pop(place, None)
        self._users[place] = self._users.get(place, 0) + 1
        line = self._lines.get(place)
        if line is None:
            origin, pool = place
            most = min(pool.connections, self._connections)
            line = self._lines[place] = self.open_line(origin, pool._replace(connections=most))
        return line

    def _leave(self, place: Place) -> None:
        self._users[place] -= 1
        if self._users[place] or self._is_closed:
            return
        del self._users[place]
        self._resting[place] = self._lines[place].time()
        if len(self._resting) > MOST_RESTING:
            self._close(next(iter(self._resting)))
        if self._sweep is None:
            self._sweep = asyncio.get_running_loop().call_later(self._rest_seconds, self._close_rested)

    def _close_rested(self) -> None:
        """Looks again when the next one will have rested for long enough; no timer is moved with each exchange."""
        loop = asyncio.get_running_loop()
        while self._resting:
            place, since = next(iter(self._resting.items()))
            if since + self._rest_seconds > loop.time():
                self._sweep = loop.call_at(since + self._rest_seconds, self._close_rested)
                return
            self._close(place)
        self._sweep = None

    def _close(self, place: Place) -> None:
        del self._resting[place]
        self._lines.pop(place).close()
