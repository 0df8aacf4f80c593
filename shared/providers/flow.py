"""How many requests travel through few slots: pulled when a slot is free, answered in bulk, each flow in turn."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Iterator
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class Flow(Generic[Item, Result]):
    """Items on their way out and their results on the way back.

    Items are numbered by whoever supplies them and pulled one by one, so that nothing is rendered before it can
    leave. Results are collected over a turn of the event loop and handed over together: one task switch serves
    hundreds of them.
    """

    __slots__ = ("_count", "_finished", "_items", "_waiter", "exhausted", "is_abandoned", "leave_by", "travelling")

    def __init__(self, items: Iterator[tuple[int, Item]], *, leave_by: float, count: int | None = None) -> None:
        """`leave_by`, by the event loop's clock: what has not left by then must not leave any more, as the sender's
        claim may have passed to another. `count`: how many items there are, for those who open connections by need; at
        least 1.
        """
        self.leave_by = leave_by
        self._items = items
        self._count = count
        self.travelling = 0  # taken and not answered yet
        self._finished: list[tuple[int, Result]] = []
        self._waiter: asyncio.Future[None] | None = None
        self.exhausted = False  # nothing more to pull: all taken, or abandoned
        self.is_abandoned = False  # nobody waits for its results any more

    def take(self) -> tuple[int, Item] | None:
        """The next item, or None when there is none left."""
        if self.exhausted:
            return None
        pair = next(self._items, None)
        if pair is None:
            self.exhausted = True
            self._wake()
        else:
            self.travelling += 1
            if self._count is not None:
                self._count -= 1
                self.exhausted = self._count == 0
        return pair

    @property
    def waiting(self) -> int:
        """How many items are still to be taken, as far as their number was given."""
        return 0 if self.exhausted else self._count or 0

    def finish(self, index: int, result: Result) -> None:
        """Answer an item that was taken: once for each."""
        self.travelling -= 1
        self._finished.append((index, result))
        self._wake()

    def abandon(self) -> None:
        """Pull no more. What travels already may still be answered."""
        self.exhausted = self.is_abandoned = True

    async def batches(self) -> AsyncGenerator[list[tuple[int, Result]], None]:
        """Results in the order they come, as many at a time as there are; ends when every item is answered."""
        while True:
            if self._finished:
                batch, self._finished = self._finished, []
                yield batch
            elif self.exhausted and not self.travelling:
                return
            else:
                self._waiter = asyncio.get_running_loop().create_future()
                await self._waiter

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class Turns(Generic[Item, Result]):
    """Flows that have something to send, one item of each in turn, so that a small one never waits for a large one."""

    __slots__ = ("_flows",)

    def __init__(self) -> None:
        self._flows: deque[Flow[Item, Result]] = deque()

    def join(self, flow: Flow[Item, Result]) -> None:
        self._flows.append(flow)

    @property
    def waiting(self) -> int:
        return sum(flow.waiting for flow in self._flows)

    def take(self) -> tuple[Flow[Item, Result], int, Item] | None:
        """The next item of the flow whose turn it is, or None when no flow has any."""
        while self._flows:
            flow = self._flows.popleft()
            pair = flow.take()
            if pair is not None:
                self._flows.append(flow)
                return flow, *pair
        return None
