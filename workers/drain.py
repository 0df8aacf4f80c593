"""What a worker process does all its life: look for due work, plan it, claim it, and have it delivered.

Every batch is delivered by a task of its own that lives as long as its provider takes; nothing here waits for one. So a
provider that is silent, slow or gone holds up its own account's recipients. Only a stop waits for what is in flight.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from heapq import nsmallest
from math import inf
from typing import Final

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from shared.db.queries.claim import LoadedProvider
from shared.db.queries.due import find_due_fan_outs, find_open_queues
from shared.db.session import hot_statements
from shared.domain.queues import FAN_OUT_QUEUE, DeliveryQueue, parse_delivery_queue
from shared.queue.rings import Ringer
from workers.accounts import Accounts
from workers.batch import OpenBatch
from workers.claim import Claimer
from workers.deliver import Deliverer
from workers.fan_out import Planner
from workers.recorder import DATABASE_AWAY, RECONNECT_SECONDS
from workers.window import Window

POLL_SECONDS: Final = 0.05
"""How soon a process looks again while there is more due than it can take."""

NEWS_SECONDS: Final = 0.01
"""How long batches that end are gathered before the room they leave is filled: thousands may end in a second."""

LONGEST_POLL_SECONDS: Final = 0.4
"""Where what is due cannot be taken at all, looks grow apart to this."""

RING_SECONDS: Final = 0.5
"""How often a process that has its hands full rings for what is left, here or on other machines."""

HEARD_SECONDS: Final = 1.0
"""How long a ring's task keeps its place while the process is busy, so that further rings wake others."""

REFRESH_SECONDS: Final = 2.0
"""How old what was loaded for a batch may be while it is being sent: deletions, suppressions, changed accounts."""

CLOSE_IDLE_SECONDS: Final = 60.0

MOST_TURNS: Final = 256
"""Messages one claim may take a batch of: a thousand one-recipient messages cost a handful of claims."""

PROBES_AT_ONCE: Final = 8
"""Accounts of a queue that one look probes: each costs a claim of its own, which others wait for."""

MOST_HELD: Final = 4
"""Times what one account takes: so many recipients of a queue may wait here for their accounts, over all of these. An
account of which none waits yet is served beyond that.
"""

log = structlog.get_logger()


@dataclass(slots=True)
class _Unmarked:
    """Recipients of one queue that are claimed and not yet marked."""

    of_account: dict[int, int] = field(default_factory=dict)  # key: provider_seq
    in_all: int = 0
    in_hand: int = 0  # in all but those that wait for their account: these must not keep out who need not wait

    def add(self, provider_seq: int, count: int, *, is_waiting: bool) -> None:
        self.of_account[provider_seq] = self.of_account.get(provider_seq, 0) + count
        self.in_all += count
        if not is_waiting:
            self.in_hand += count


class Drain:
    """Runs from the process's start to its stop."""

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
        unrung_seconds: float,
    ) -> None:
        """`unrung_seconds`: how long due work waits at most for a ring before it is looked for without one."""
        self._engine = engine
        self._plans = FAN_OUT_QUEUE in queues
        self._queues = [name for name in queues if name != FAN_OUT_QUEUE]
        self._planner = planner
        self._claimer = claimer
        self._deliverer = deliverer
        self._accounts = accounts
        self._window = window
        self._ringer = ringer
        self._unrung_seconds = unrung_seconds
        self._delivering: dict[asyncio.Task[None], OpenBatch] = {}
        self._planning: dict[bool, asyncio.Task[None]] = {}  # key: is it for large messages
        self._is_stopping = False
        self._is_away = False  # the database
        self._has_news = asyncio.Event()  # a ring, or a batch that ended
        self._is_idle = asyncio.Event()  # there was nothing to take at the last look
        self._is_full = False  # there was more to take than it had room for
        self._news_timer: asyncio.TimerHandle | None = None
        self._has_ended = asyncio.Event()
        self._next_due_seconds = inf  # at the last look
        self._rung_at = 0.0  # monotonic
        self._probed_last: dict[str, int] = {}  # queue -> provider_seq that was probed last, or would have been
        self._refreshed_at = self._closed_idle_at = time.monotonic()

    async def hear(self) -> None:
        """A ring: look at once. Returns when there is nothing more to take, or soon."""
        self._is_idle.clear()
        self._has_news.set()
        with suppress(TimeoutError):
            async with asyncio.timeout(HEARD_SECONDS):
                await self._is_idle.wait()

    async def run(self) -> None:
        """Until `stop`. Outages of the database are waited for."""
        try:
            await self._look_for_work()
        finally:
            self._has_ended.set()

    async def _look_for_work(self) -> None:
        pause_seconds = POLL_SECONDS
        while not self._is_stopping:
            try:
                self._is_full = False
                has_taken, has_left = await self._turn()
            except DATABASE_AWAY as error:
                if not self._is_away:
                    log.warning("work waits for the database", error=type(error).__name__)
                self._is_away = True
                await asyncio.sleep(RECONNECT_SECONDS)
                continue
            except Exception:
                log.exception("looking for work failed")  # a bug, for which what is in flight must not suffer
                await asyncio.sleep(RECONNECT_SECONDS)
                continue
            if self._is_away:
                log.info("the database is back")
                self._is_away = False
            if has_left:
                pause_seconds = POLL_SECONDS if has_taken else min(2 * pause_seconds, LONGEST_POLL_SECONDS)
            else:
                pause_seconds = max(POLL_SECONDS, min(self._unrung_seconds, self._next_due_seconds))
            # what belongs to accounts that can take nothing is no reason to be slow to hear of other work
            await self._wait(pause_seconds, is_idle=not has_taken and not self._is_full)

    async def stop(self, *, patience_seconds: float) -> None:
        """Mark nothing further; what is in flight is awaited and recorded, the rest given back. What takes longer is
        cancelled: its lease brings it back.
        """
        self._is_stopping = True
        self._has_news.set()
        for batch in self._delivering.values():
            batch.is_stopping = True
        gives_up_at = time.monotonic() + patience_seconds
        with suppress(TimeoutError):
            async with asyncio.timeout(patience_seconds):
                await self._has_ended.wait()  # a claim that is under way still makes deliveries
        pending = {*self._delivering, *self._planning.values()}
        if pending:
            _, late = await asyncio.wait(pending, timeout=max(0.0, gives_up_at - time.monotonic()))
            for task in late:
                task.cancel()
            if late:
                log.warning("stopped with calls unanswered", batches=len(late))
                await asyncio.wait(late)

    async def _turn(self) -> tuple[bool, bool]:
        """Look once and take what there is room for: whether anything was taken, and whether more may be due."""
        due = await self._look()
        await self._refresh()
        claimed = await self._claim(due)
        if self._is_full:
            self._ring_for(due)
        if time.monotonic() - self._closed_idle_at > CLOSE_IDLE_SECONDS:
            self._closed_idle_at = time.monotonic()
            self._accounts.close_idle()
        return claimed > 0, bool(due)

    async def _look(self) -> list[str]:
        """The delivery queues with due work; starts planning when messages wait for it."""
        async with hot_statements(self._engine) as connection:
            if self._plans:
                for is_bulk in await find_due_fan_outs(connection):
                    if is_bulk not in self._planning:
                        task = self._planning[is_bulk] = asyncio.create_task(self._plan(is_bulk=is_bulk))
                        task.add_done_callback(self._forget_planning)
            found = await find_open_queues(connection, self._queues)
        self._next_due_seconds = min((-waiting.oldest_seconds for waiting in found if not waiting.is_due), default=inf)
        return [due.queue for due in found if due.is_due]

    async def _plan(self, *, is_bulk: bool) -> None:
        """Until none is due. Large and small messages are planned side by side: no page of one delays the other."""
        while not self._is_stopping:
            planned = await self._planner.plan_due(is_bulk=is_bulk)
            if planned is None:
                return
            if planned:
                self._has_news.set()
            for queue in planned:
                self._ringer.ring(queue, count=4)

    async def _claim(self, due: Sequence[str]) -> int:
        """Claim where there is room to send; the number of batches taken."""
        claimed = 0
        unmarked = self._unmarked()
        for name in due:
            if self._is_stopping:
                break
            queue = parse_delivery_queue(name)
            held = unmarked[name]
            batches: list[OpenBatch] = []
            for provider in self._next_to_probe(queue, held):
                batches += await self._claimer.claim_of(provider, name)
            closed = {*self._accounts.closed_for(queue, held.of_account)}
            room = self._most(queue)
            if held.in_all >= MOST_HELD * room:
                closed |= held.of_account.keys()  # whoever has nothing here yet finds room all the same
            room -= held.in_hand
            if room <= 0 or any(self._accounts.is_busy(seq) for seq in closed & held.of_account.keys()):
                self._is_full = True
            if room > 0:
                batches += await self._claimer.claim(name, turns=MOST_TURNS, room=room, excluded_providers=[*closed])
            for batch in batches:
                batch.is_stopping = self._is_stopping
                task = asyncio.create_task(self._deliverer.deliver(batch))
                self._delivering[task] = batch
                task.add_done_callback(self._forget)
            claimed += len(batches)
        return claimed

    def _unmarked(self) -> defaultdict[str, _Unmarked]:
        """What this process holds of each queue."""
        held: defaultdict[str, _Unmarked] = defaultdict(_Unmarked)
        for batch in self._delivering.values():
            if (count := batch.unmarked) and not batch.is_stopping:
                held[batch.claimed.queue].add(batch.claimed.provider_seq, count, is_waiting=batch.is_waiting)
        return held

    def _next_to_probe(self, queue: DeliveryQueue, held: _Unmarked) -> list[LoadedProvider]:
        """Some of the accounts to be probed, in turns: of many of them nothing may be due for long."""
        waiting = [one for one in self._accounts.to_probe(queue) if one.seq not in held.of_account]
        last = self._probed_last.get(queue.name, 0)
        chosen = nsmallest(PROBES_AT_ONCE, waiting, key=lambda one: (one.seq <= last, one.seq))
        if chosen:
            self._probed_last[queue.name] = chosen[-1].seq
        return chosen

    def _most(self, queue: DeliveryQueue) -> int:
        """Recipients of a queue worth having in hand: enough to fill what one account takes."""
        most = self._window.most(queue.lane)
        limit = self._accounts.limit_of(queue.kind)
        return most if limit is None else min(most, limit)

    async def _refresh(self) -> None:
        """Load anew what batches need that have been sent for a while, or stop them where it tells to; begin anew with
        accounts at rest that somebody changed.
        """
        now = time.monotonic()
        if now - self._refreshed_at < REFRESH_SECONDS:
            return
        self._refreshed_at = now
        lasting = [batch for batch in self._delivering.values() if batch.unmarked and not batch.is_stopping]
        if lasting:
            await self._claimer.refresh(lasting)
        if resting := self._accounts.at_rest():
            unchanged = await self._claimer.find_unchanged(resting)
            for provider in resting:
                if provider.seq not in unchanged:
                    self._accounts.drop(provider.seq)

    def _ring_for(self, due: Sequence[str]) -> None:
        """This process goes on by itself; whoever else is free may help."""
        now = time.monotonic()
        if now - self._rung_at >= RING_SECONDS:
            self._rung_at = now
            for name in due:
                self._ringer.ring(name, count=2)

    def _forget(self, task: asyncio.Task[None]) -> None:
        batch = self._delivering.pop(task)
        if self._news_timer is None:
            self._news_timer = asyncio.get_running_loop().call_later(NEWS_SECONDS, self._tell_news)
        if not task.cancelled() and (error := task.exception()) is not None:
            # its lease runs out and the sweep applies the unknown rule
            log.error("batch failed", batch_seq=batch.claimed.seq, run=batch.claimed.run, exc_info=error)

    def _tell_news(self) -> None:
        self._news_timer = None
        self._has_news.set()

    def _forget_planning(self, task: asyncio.Task[None]) -> None:
        self._planning = {is_bulk: other for is_bulk, other in self._planning.items() if other is not task}
        self._has_news.set()
        if task.cancelled() or (error := task.exception()) is None:
            return
        if isinstance(error, DATABASE_AWAY):
            log.warning("planning waits for the database", error=type(error).__name__)
        else:
            log.error("planning failed", exc_info=error)

    async def _wait(self, seconds: float, *, is_idle: bool) -> None:
        """Until there is news, or it is time to look again without any."""
        if is_idle and not self._has_news.is_set():
            self._is_idle.set()
        with suppress(TimeoutError):  # nobody rang: look all the same
            async with asyncio.timeout(seconds):
                await self._has_news.wait()
        self._has_news.clear()
