"""A drain slice: for some two seconds this process serves every queue it was started for, on one event loop.

A ring names one queue and starts the slice; while replies are awaited, the other queues are served too, so a slow
provider holds up nobody, and transactional work never waits for a bulk slice to end.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from shared.db.queries.due import find_due_queues, oldest_due_fan_out_seconds
from shared.db.session import hot_statements
from shared.domain.queues import FAN_OUT_QUEUE, DeliveryQueue, parse_delivery_queue
from shared.queue.rings import Ringer
from workers.accounts import Accounts
from workers.batch import OpenBatch
from workers.claim import Claimer
from workers.deliver import Deliverer
from workers.fan_out import Planner
from workers.window import Window

POLL_SECONDS = 0.05
"""How often a busy slice looks for due work in its other queues."""

FIRST_TURNS = 8
MOST_TURNS = 256
"""Messages one claim may take a batch of: a thousand one-recipient messages cost a handful of claims."""

log = structlog.get_logger()


@dataclass(slots=True)
class _Appetite:
    """How many batches of a queue are worth claiming at once: more while there are more, fewer of large ones."""

    turns: int = FIRST_TURNS
    recipients_per_batch: float = 1.0

    def for_room(self, room: int) -> int:
        return max(1, min(self.turns, int(room / self.recipients_per_batch)))

    def learn(self, asked: int, batches: Sequence[OpenBatch]) -> None:
        if batches:
            self.recipients_per_batch = sum(len(batch.claimed.targets) for batch in batches) / len(batches)
        self.turns = min(MOST_TURNS, 2 * asked) if len(batches) == asked else max(FIRST_TURNS, len(batches))


class Drain:
    """Serves slices, one at a time; holds nothing between them."""

    def __init__(
        self,
        *,
        engine: AsyncEngine,
        queues: Sequence[str],
        planner: Planner,
        claimer: Claimer,
        deliverer: Deliverer,
        accounts: Accounts,
        window: Window,
        ringer: Ringer,
        slice_seconds: float,
    ) -> None:
        self._engine = engine
        self._plans = FAN_OUT_QUEUE in queues
        self._queues = [name for name in queues if name != FAN_OUT_QUEUE]
        self._planner = planner
        self._claimer = claimer
        self._deliverer = deliverer
        self._accounts = accounts
        self._window = window
        self._ringer = ringer
        self._slice_seconds = slice_seconds
        self._appetites: defaultdict[str, _Appetite] = defaultdict(_Appetite)  # key: queue
        self._delivering: dict[asyncio.Task[None], OpenBatch] = {}
        self._planning: asyncio.Task[None] | None = None

    async def serve(self) -> None:
        """Plan and deliver until nothing is due or the slice is over; what is unfinished is given back and rung."""
        ends_at = time.monotonic() + self._slice_seconds
        try:
            while True:
                due = await self._look()
                if time.monotonic() >= ends_at:
                    break
                claimed = await self._claim(due)
                if not claimed and not self._delivering and self._planning is None and not due:
                    return
                await self._wait(ends_at)
        finally:
            await self._finish()
        await self._ring_rest()

    async def _look(self) -> list[str]:
        """The delivery queues with due work; starts the planner when messages wait to be planned."""
        async with hot_statements(self._engine) as connection:
            if self._plans and self._planning is None and await oldest_due_fan_out_seconds(connection) is not None:
                self._planning = asyncio.create_task(self._plan())
            return [due.queue for due in await find_due_queues(connection, self._queues)]

    async def _plan(self) -> None:
        ends_at = time.monotonic() + self._slice_seconds
        try:
            while time.monotonic() < ends_at:
                planned = await self._planner.plan_due()
                if planned is None:
                    return
                for queue in planned:
                    self._ringer.ring(queue, count=4)
        finally:
            self._planning = None

    async def _claim(self, due: Sequence[str]) -> int:
        """Claim where there is room to send; the number of batches taken."""
        claimed = 0
        for name in due:
            queue = parse_delivery_queue(name)
            room = self._room(queue)
            if room <= 0:
                continue
            appetite = self._appetites[name]
            turns = appetite.for_room(room)
            batches = await self._claimer.claim(name, turns=turns)
            appetite.learn(turns, batches)
            for batch in batches:
                task = asyncio.create_task(self._deliverer.deliver(batch))
                self._delivering[task] = batch
                task.add_done_callback(self._forget)
            claimed += len(batches)
        return claimed

    def _room(self, queue: DeliveryQueue) -> int:
        """Free slots less what is already claimed for them: enough unmarked work is held to fill the window once."""
        unmarked = sum(batch.unmarked for batch in self._delivering.values() if batch.queue == queue)
        return self._window.most(queue) - unmarked

    def _forget(self, task: asyncio.Task[None]) -> None:
        batch = self._delivering.pop(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            # its lease runs out and the sweep applies the unknown rule
            log.error("batch failed", batch_seq=batch.claimed.seq, run=batch.claimed.run, exc_info=error)

    async def _wait(self, ends_at: float) -> None:
        """Until a batch is done, planning has made work, or it is time to look again."""
        waiting: set[asyncio.Task[None]] = set(self._delivering)
        if self._planning is not None:
            waiting.add(self._planning)
        timeout = max(0.0, min(POLL_SECONDS, ends_at - time.monotonic()))
        if waiting:
            await asyncio.wait(waiting, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        else:
            await asyncio.sleep(timeout)

    async def _finish(self) -> None:
        """No further marks; what is in flight is awaited and recorded, the rest given back."""
        for batch in self._delivering.values():
            batch.is_stopping = True
        pending = [*self._delivering, *([self._planning] if self._planning else [])]
        if pending:
            await asyncio.gather(*pending, return_exceptions=True)
        await self._accounts.close_retired()

    async def _ring_rest(self) -> None:
        """Chain the next slice, here or on another worker, for what is still due."""
        async with hot_statements(self._engine) as connection:
            for due in await find_due_queues(connection, self._queues):
                self._ringer.ring(due.queue, count=2)
            if self._plans and await oldest_due_fan_out_seconds(connection) is not None:
                self._ringer.ring(FAN_OUT_QUEUE)
