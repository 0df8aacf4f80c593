"""SQLAlchemy's pool, whose connections go to whoever has waited longest.

The queue below SQLAlchemy's own lets whoever asks just then overtake those who wait, and those queue up again at the
end: at 32 callers of 10 connections that cost a quarter of the API's CPU, and one answer in a hundred took eight
times as long as the middle one.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar

from sqlalchemy.exc import InvalidRequestError, OperationalError
from sqlalchemy.pool import AsyncAdaptedQueuePool, ConnectionPoolEntry, PoolProxiedConnection
from sqlalchemy.pool.base import _ConnectionRecord  # what its own pools keep; there is no public name
from sqlalchemy.util import await_only
from sqlalchemy.util.queue import Empty, Full, QueueCommon

Item = TypeVar("Item")


class FairQueue(QueueCommon[Item]):
    """Idle items, or those who wait for one: never both. For one event loop."""

    def __init__(self, maxsize: int = 0, use_lifo: bool = False) -> None:  # noqa: FBT001, FBT002  # SQLAlchemy's
        """`maxsize`: the most idle items; 0: any number."""
        self.maxsize = maxsize
        self.use_lifo = use_lifo
        self._idle: deque[Item] = deque()
        self._waiting: deque[asyncio.Future[Item]] = deque()
        self._keeps_idle = True
        self.give_back: Callable[[Item], None] = self.put_nowait
        """For one that came too late for who waited for it; the pool closes it where it is too many."""

    def keep_no_more(self) -> None:
        """From now on an item that comes back goes to one who waits, or is too many."""
        self._keeps_idle = False

    def empty(self) -> bool:
        return not self._idle

    def full(self) -> bool:
        return not self._keeps_idle or 0 < self.maxsize <= len(self._idle)

    def qsize(self) -> int:
        return len(self._idle)

    def put_nowait(self, item: Item) -> None:
        """Raises Full."""
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(item)
                return
        if self.full():
            raise Full
        self._idle.append(item)

    def put(self, item: Item, block: bool = True, timeout: float | None = None) -> None:  # noqa: ARG002, FBT001, FBT002
        """The pool never waits to give a connection back: what is too many, it closes."""
        self.put_nowait(item)

    def get_nowait(self) -> Item:
        """Raises Empty."""
        if not self._idle:
            raise Empty
        return self._idle.pop() if self.use_lifo else self._idle.popleft()

    def get(self, block: bool = True, timeout: float | None = None) -> Item:  # noqa: FBT001, FBT002
        """Raises Empty once `timeout` seconds have passed."""
        if self._idle or not block:
            return self.get_nowait()
        waiter: asyncio.Future[Item] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        try:
            return await_only(self._wait(waiter, timeout))
        except (TimeoutError, asyncio.CancelledError) as error:
            if waiter.done() and not waiter.cancelled():  # too late for us: it came in the same turn of the loop
                self.give_back(waiter.result())
            else:
                waiter.cancel()
            if isinstance(error, TimeoutError):
                raise Empty from error
            raise

    async def _wait(self, waiter: asyncio.Future[Item], timeout: float | None) -> Item:  # noqa: ASYNC109  # SQLAlchemy's
        async with asyncio.timeout(timeout):
            return await waiter


class FairPool(AsyncAdaptedQueuePool):
    """For engines of one event loop."""

    _queue_class: type[QueueCommon[ConnectionPoolEntry]] = FairQueue
    _pool: FairQueue[ConnectionPoolEntry]

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._pool.give_back = self._do_return_conn

    def dispose(self) -> None:
        """Closes what is idle now, and later what is still in use, when it comes back.

        SQLAlchemy's own would keep the latter in a pool that nobody takes from any more: lines to Postgres that stay
        open for as long as nobody collects the garbage.
        """
        self._pool.keep_no_more()
        super().dispose()

    def connect(self) -> PoolProxiedConnection:
        """Raises OperationalError where Postgres ends connections as soon as they are made, which is an outage too:
        SQLAlchemy tries twice and then calls it a mistake of the caller's.
        """
        try:
            return super().connect()
        except InvalidRequestError as error:
            raise OperationalError(None, None, error) from error

    def _create_connection(self) -> ConnectionPoolEntry:
        """A place in the pool, which makes its connection when it is taken out.

        Where that fails the place comes back, and goes to whoever has waited longest, like any other. A connection
        that was never made would leave them waiting for the whole of the pool's timeout, and newcomers overtake them.
        """
        return _ConnectionRecord(self, connect=False)
