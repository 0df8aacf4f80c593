"""The window: how many recipients of a process may be marked and not yet recorded. It bounds the copies of a kill."""

import asyncio
from collections import deque
from dataclasses import dataclass

from shared.domain.queues import DeliveryQueue
from shared.domain.status import Lane


@dataclass(slots=True)
class _Waiter:
    queue: DeliveryQueue
    wanted: int
    granted: asyncio.Future[int]


class Window:
    """Slots shared by all batches of a process; each queue and the bulk lane are kept from taking all of them.

    A slot is taken before a recipient is marked and given back when its outcome is committed, so
    capacity is the number of recipients that a SIGKILL can leave unknown.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._most_of_a_queue = max(1, capacity * 2 // 3)
        self._most_of_bulk = max(1, capacity * 5 // 6)
        self._limits: dict[str, int] = {}  # in-flight limit by provider kind, as the adapters ask for
        self._taken: dict[DeliveryQueue, int] = {}
        self._taken_in_bulk = 0
        self._taken_in_all = 0
        self._waiters: deque[_Waiter] = deque()

    def set_limit(self, kind: str, limit: int) -> None:
        """Recipients in flight that a provider kind takes now; it adapts to throttling."""
        is_wider = limit > self._limits.get(kind, 0)
        self._limits[kind] = limit
        if is_wider:
            self._grant()

    def most(self, queue: DeliveryQueue) -> int:
        """Slots the queue could have if it were alone."""
        most = min(self._most_of_a_queue, self._limits.get(queue.kind, self.capacity))
        return min(most, self._most_of_bulk) if queue.lane is Lane.BULK else most

    def room(self, queue: DeliveryQueue) -> int:
        """Slots that a queue could take now; 0 or less: none."""
        taken = self._taken.get(queue, 0)
        room = min(self.capacity - self._taken_in_all, self.most(queue) - taken)
        return min(room, self._most_of_bulk - self._taken_in_bulk) if queue.lane is Lane.BULK else room

    async def take(self, queue: DeliveryQueue, wanted: int) -> int:
        """Wait for at least one slot; as many as there are, up to `wanted`. First come, first served."""
        if not self._waiters and (room := self.room(queue)) > 0:
            return self._give(queue, min(wanted, room))
        waiter = _Waiter(queue, wanted, asyncio.get_running_loop().create_future())
        self._waiters.append(waiter)
        self._grant()
        try:
            return await waiter.granted
        except asyncio.CancelledError:
            if not waiter.granted.cancelled():  # one that is leaves the line when its turn comes
                self.give_back(queue, waiter.granted.result())
            raise

    def charge(self, queue: DeliveryQueue, count: int) -> None:
        """Take slots at once, beyond the capacity if need be: for recipients that end without a provider call.

        They are in flight nowhere; the recorder gives a slot back for every result it commits.
        """
        self._give(queue, count)

    def give_back(self, queue: DeliveryQueue, count: int) -> None:
        self._taken[queue] = self._taken.get(queue, 0) - count
        self._taken_in_all -= count
        if queue.lane is Lane.BULK:
            self._taken_in_bulk -= count
        self._grant()

    def _give(self, queue: DeliveryQueue, count: int) -> int:
        self._taken[queue] = self._taken.get(queue, 0) + count
        self._taken_in_all += count
        if queue.lane is Lane.BULK:
            self._taken_in_bulk += count
        return count

    def _grant(self) -> None:
        """Serve the waiters in order; one whose queue is full does not hold up the others."""
        passed_over: deque[_Waiter] = deque()
        full: set[DeliveryQueue] = set()
        while self._waiters and self._taken_in_all < self.capacity:
            waiter = self._waiters.popleft()
            if waiter.granted.done():
                continue
            room = 0 if waiter.queue in full else self.room(waiter.queue)
            if room > 0:
                waiter.granted.set_result(self._give(waiter.queue, min(waiter.wanted, room)))
            else:
                full.add(waiter.queue)
                passed_over.append(waiter)
        self._waiters.extendleft(reversed(passed_over))
