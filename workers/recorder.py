"""The one writer of a worker process: marks, outcomes and settlements of all its batches, grouped into commits."""

import asyncio
import time
from dataclasses import dataclass

import psycopg
import sqlalchemy.exc
import structlog
from psycopg.errors import LockNotAvailable
from sqlalchemy.ext.asyncio import AsyncEngine

from shared import metrics
from shared.db.queries.claim import renew_leases
from shared.db.queries.record import Recorded, Recording, record, was_recorded
from shared.db.session import hot_transaction
from shared.domain.clock import DatabaseClock
from shared.domain.retry import RetryPolicy
from shared.errors import StaleClaim
from workers.batch import OpenBatch, Result
from workers.settle import Settling

COMMIT_INTERVAL_SECONDS = 0.02
"""Commits start no closer than this: at thousands of outcomes a second each then carries dozens, not one."""

RECONNECT_SECONDS = 0.25

LOCKED_SECONDS = 0.5
"""Between two tries to write what somebody else's lock keeps back."""

LATE_LOCK_TIMEOUT_MS = 200
"""How long such a try waits for the lock, others that wait for theirs behind it."""

DATABASE_AWAY = (
    psycopg.OperationalError,
    psycopg.InterfaceError,
    sqlalchemy.exc.OperationalError,
    sqlalchemy.exc.TimeoutError,  # every pooled connection was busy for too long
)
"""What a restarting, unreachable or overloaded Postgres raises."""

log = structlog.get_logger()


@dataclass(slots=True)
class _Taken:
    """What a commit writes of one batch, kept until it is known to be written."""

    batch: OpenBatch
    results: int
    mark_to: int
    is_closing: bool
    is_release: bool
    waiters: list[asyncio.Future[None]]


class Recorder:
    """Group commit. While one transaction runs, what comes next gathers for the following one.

    Outcome writes never give up while our token holds: a lost connection is answered by asking whether the commit
    happened, then by writing again. The token is the fence, so late is as good as early.
    """

    def __init__(self, engine: AsyncEngine, clock: DatabaseClock, policy: RetryPolicy, *, lease_seconds: float) -> None:
        self._engine = engine
        self._clock = clock
        self._policy = policy
        self._lease_seconds = lease_seconds
        self._dirty: dict[OpenBatch, None] = {}  # an ordered set
        self._has_dirty = asyncio.Event()
        self._held: dict[int, OpenBatch] = {}  # batches under our lease; key: seq
        self._tasks: list[asyncio.Task[None]] = []
        self._locked_runs: dict[int, list[OpenBatch]] = {}  # run -> its batches that have more to write after that
        self._late: set[asyncio.Task[None]] = set()
        self._late_turns = asyncio.Semaphore()  # one connection for all that waits for locks

    def start(self) -> None:
        self._tasks = [asyncio.create_task(self._run()), asyncio.create_task(self._renew())]

    async def stop(self) -> None:
        for task in (*self._tasks, *self._late):
            task.cancel()
        await asyncio.gather(*self._tasks, *self._late, return_exceptions=True)

    def hold(self, batch: OpenBatch) -> None:
        """Keep the batch's lease renewed until it is closed, released or lost."""
        self._held[batch.claimed.seq] = batch

    def let_go(self, batch: OpenBatch) -> None:
        """Renew its lease no more. What it has gathered is still written, if the token holds so long."""
        if self._held.get(batch.claimed.seq) is batch:  # else it was given back and claimed again, under another token
            del self._held[batch.claimed.seq]

    async def mark(self, batch: OpenBatch, mark_to: int) -> None:
        """Commit that `targets[:mark_to]` may be sent from now on. Raises StaleClaim when the batch is lost."""
        batch.mark_to = mark_to
        await self._committed(batch)

    def add(self, batch: OpenBatch, result: Result) -> None:
        """Have an outcome written with the next commit; its window slot comes back then."""
        batch.results.append(result)
        self._touch(batch)

    async def close(self, batch: OpenBatch) -> None:
        """Every recipient is accounted for: settle the batch. Raises StaleClaim when it is lost."""
        batch.is_closing = True
        await self._committed(batch)

    async def release(self, batch: OpenBatch) -> None:
        """Give the batch back, due at `batch.release_at`. Raises StaleClaim when it is lost."""
        await self._committed(batch)

    def _touch(self, batch: OpenBatch) -> None:
        self._dirty[batch] = None
        self._has_dirty.set()

    async def _committed(self, batch: OpenBatch) -> None:
        if batch.is_stale:
            raise StaleClaim
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        batch.waiters.append(waiter)
        self._touch(batch)
        await waiter

    async def _run(self) -> None:
        while True:
            await self._has_dirty.wait()
            began = time.monotonic()
            dirty, self._dirty = list(self._dirty), {}
            self._has_dirty.clear()
            recording, taken = self._gather(dirty)
            try:
                failed = await self._record(recording)
            except LockNotAvailable:
                self._write_apart(recording, taken)
            else:
                self._acknowledge(taken, failed, began)
            await asyncio.sleep(max(0.0, COMMIT_INTERVAL_SECONDS - (time.monotonic() - began)))

    def _gather(self, dirty: list[OpenBatch]) -> tuple[Recording, list[_Taken]]:
        recording = Recording()
        taken = []
        seqs: set[int] = set()
        now = self._clock.now()
        for batch in dirty:
            if (waiting := self._locked_runs.get(batch.claimed.run)) is not None:
                waiting.append(batch)
                continue
            if batch.claimed.seq in seqs:
                self._touch(batch)  # another claim of the same row: a recording knows a batch by its seq
                continue
            seqs.add(batch.claimed.seq)
            results, batch.results = batch.results, []
            waiters, batch.waiters = batch.waiters, []
            part = _Taken(batch, len(results), batch.mark_to, batch.is_closing, batch.release_at is not None, waiters)
            try:
                change = Settling(recording, batch, self._policy, now).settle(results)
            except Exception as error:
                # a bug: the lease brings the batch's work back; its neighbours and those to come are still recorded
                log.exception("outcomes not understood", batch_seq=batch.claimed.seq, run=batch.claimed.run)
                self._lose(part, error)
            else:
                recording.changes.append(change)
                taken.append(part)
        return recording, taken

    async def _record(self, recording: Recording, lock_timeout_ms: int | None = None) -> dict[int, Exception]:
        """Why batches were not recorded, by seq. One that cannot be takes none of the others along.

        Raises LockNotAvailable, and then nothing was written.
        """
        try:
            recorded = await self._write(recording, lock_timeout_ms)
        except LockNotAvailable:
            raise
        except Exception as error:
            # a bug, not an outage: the leases of what is not recorded bring its work back
            log.exception("recording failed", batches=len(recording.changes))
            if len(recording.changes) < 2:  # nobody to be parted from
                return {change.seq: error for change in recording.changes}
        else:
            return {seq: StaleClaim() for seq in recorded.stale}
        failed: dict[int, Exception] = {}
        for part in recording.apart():
            while True:
                try:
                    failed |= await self._record(part, lock_timeout_ms)
                    break
                except LockNotAvailable:  # earlier parts are written, so there is no way back
                    await asyncio.sleep(LOCKED_SECONDS)
        return failed

    async def _write(self, recording: Recording, lock_timeout_ms: int | None) -> Recorded:
        is_doubtful = False
        while True:
            try:
                async with hot_transaction(self._engine) as connection:
                    if lock_timeout_ms is not None:
                        await connection.execute(f"SET LOCAL lock_timeout = {lock_timeout_ms}")
                    # what names no batch is safe to repeat
                    if is_doubtful and recording.changes and await was_recorded(connection, recording):
                        return Recorded(set(), 0)
                    return await record(connection, recording, lease_seconds=self._lease_seconds)
            except LockNotAvailable:
                raise
            except DATABASE_AWAY as error:
                is_doubtful = True
                log.warning("recording waits for the database", error=type(error).__name__)
                await asyncio.sleep(RECONNECT_SECONDS)

    def _write_apart(self, recording: Recording, taken: list[_Taken]) -> None:
        """Somebody holds a lock on a row of ours for long: the message whose it is waits for it, and no other.

        Batches of one message are written together, as they share its progress; what is said of addresses and accounts
        is written by itself.
        """
        log.warning("recording waits for a lock", batches=len(taken))
        for part in recording.by_run():
            runs = {change.run for change in part.changes}
            self._locked_runs |= {run: [] for run in runs}
            task = asyncio.create_task(self._write_late(part, [one for one in taken if one.batch.claimed.run in runs]))
            self._late.add(task)
            task.add_done_callback(self._late.discard)

    async def _write_late(self, part: Recording, taken: list[_Taken]) -> None:
        """Until it is written."""
        while True:
            async with self._late_turns:
                began = time.monotonic()
                try:
                    failed = await self._record(part, LATE_LOCK_TIMEOUT_MS)
                    break
                except LockNotAvailable:
                    pass  # nothing was written
            await asyncio.sleep(LOCKED_SECONDS)
        for run in {change.run for change in part.changes}:
            for batch in self._locked_runs.pop(run):
                self._touch(batch)
        self._acknowledge(taken, failed, began)

    def _acknowledge(self, taken: list[_Taken], failed: dict[int, Exception], began: float) -> None:
        """Tell who waits. `began`: monotonic, before the commit that renewed the leases of what is kept."""
        for part in taken:
            error = failed.get(part.batch.claimed.seq)
            if error is None:
                self._keep(part, began)
            else:
                if isinstance(error, StaleClaim):
                    metrics.STALE_WRITES.inc()
                self._lose(part, error)

    def _keep(self, part: _Taken, began: float) -> None:
        batch = part.batch
        batch.attempted_to = max(batch.attempted_to, part.mark_to)
        batch.recorded_total += part.results
        batch.lease_deadline = max(batch.lease_deadline, began + self._lease_seconds)
        if part.results:
            batch.share.give_back(batch.queue.lane, part.results)
        if part.is_closing or part.is_release:
            self.let_go(batch)
        for waiter in part.waiters:
            if not waiter.done():
                waiter.set_result(None)

    def _lose(self, part: _Taken, error: Exception) -> None:
        """The batch is no longer ours: its slots come back, and whoever waits for it is told."""
        batch = part.batch
        if not batch.is_stale:
            log.warning("batch lost", batch_seq=batch.claimed.seq, run=batch.claimed.run)
        batch.is_stale = batch.is_stopping = True
        self.let_go(batch)
        if part.results:
            batch.share.give_back(batch.queue.lane, part.results)
        for waiter in part.waiters:
            if not waiter.done():
                waiter.set_exception(error)

    async def _renew(self) -> None:
        """Renew the leases of all held batches at a third of the lease."""
        while True:
            await asyncio.sleep(self._lease_seconds / 3)
            held = list(self._held.values())
            if not held:
                continue
            began = time.monotonic()
            try:
                async with hot_transaction(self._engine) as connection:
                    renewed = await renew_leases(
                        connection,
                        [(batch.claimed.seq, batch.claimed.token) for batch in held],
                        lease_seconds=self._lease_seconds,
                    )
            except DATABASE_AWAY as error:
                log.warning("leases not renewed", batches=len(held), error=type(error).__name__)
                continue
            except Exception:
                log.exception("leases not renewed", batches=len(held))  # a bug, for which the next ones must not suffer
                continue
            for batch in held:
                if batch.claimed.seq in renewed.ours:
                    batch.lease_deadline = began + self._lease_seconds
                elif batch.claimed.seq not in renewed.locked and self._held.get(batch.claimed.seq) is batch:
                    batch.is_stale = batch.is_stopping = True
                    self.let_go(batch)
