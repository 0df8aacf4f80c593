"""Celery beat with ticks that run here: straight against Postgres, with the broker down and every worker busy.

Beat keeps the time; a tick belongs to whoever moves its row, so any number of schedulers share the work.
"""

import asyncio
import threading
import time

import structlog
from celery import beat

from scheduler.context import TickContext
from scheduler.timetable import Entry, timetable
from shared import metrics
from shared.db.pools import SCHEDULER_HOUSEKEEPING, SCHEDULER_URGENT
from shared.db.queries.ticks import take_tick
from shared.db.session import create_engine, hot_statements
from shared.files.objects import open_object_store
from shared.queue.rings import Ringer
from shared.settings import Settings

LONGEST_SLEEP_SECONDS = 1.0
"""How long beat may sleep, and so how long a stop may take."""

LONGEST_LAST_TICK_SECONDS = 8.0
"""How long a stop waits for ticks that run; a purge of many pages may take longer."""

CUT_OFF_SECONDS = 2.0

log = structlog.get_logger()


class Ticker:
    """Runs ticks on an event loop of its own thread; a tick that is still running is not started again."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="ticks", daemon=True)
        self._ringer = Ringer(settings)
        self._running: dict[str, asyncio.Task[None]] = {}
        self.entries = {entry.name: entry for entry in timetable(settings)}

    def start(self) -> None:
        self._ringer.start()
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._open(), self._loop).result()

    def stop(self) -> None:
        """Let running ticks end, cut off those that take too long, then close."""
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=5)
        self._loop.close()
        self._ringer.stop()

    def tick(self, name: str) -> None:
        """Start the named tick unless it runs already; returns at once."""
        self._loop.call_soon_threadsafe(self._begin, self.entries[name])

    def _begin(self, entry: Entry) -> None:
        if entry.name not in self._running:
            task = self._running[entry.name] = self._loop.create_task(self._tick(entry))
            task.add_done_callback(lambda _: self._running.pop(entry.name))

    async def _open(self) -> None:
        objects = open_object_store(self._settings)
        self._urgent, self._housekeeping = (
            TickContext(
                create_engine(self._settings, role="scheduler", pool_size=pool_size),
                self._settings,
                self._ringer,
                objects=objects,
            )
            for pool_size in (SCHEDULER_URGENT, SCHEDULER_HOUSEKEEPING)
        )

    async def _close(self) -> None:
        """What a tick that is cut off has not committed is done by the next scheduler's."""
        for patience_seconds in (LONGEST_LAST_TICK_SECONDS, CUT_OFF_SECONDS):
            if self._running:
                _, late = await asyncio.wait(self._running.values(), timeout=patience_seconds)
                for tick in late:
                    tick.cancel()
        if self._running:  # the database stands still, and so does whoever waits for it to give up a statement
            log.warning("ticks left behind", ticks=sorted(self._running))
        else:
            for context in (self._urgent, self._housekeeping):
                await context.engine.dispose()

    async def _tick(self, entry: Entry) -> None:
        began = time.monotonic()
        context = self._urgent if entry.is_urgent else self._housekeeping
        try:
            if await _take(entry, context):
                await entry.run(context)
                metrics.TICK_SECONDS.labels(entry.name).observe(time.monotonic() - began)
        except Exception as error:
            # the edge of the scheduler: a tick that fails is logged and comes again
            log.warning("tick failed", tick=entry.name, error=type(error).__name__, exc_info=not _is_outage(error))


async def _take(entry: Entry, context: TickContext) -> bool:
    """Within half an interval, so that two schedulers that tick out of step do not repeat each other's work."""
    async with hot_statements(context.engine) as connection:
        is_ours = await take_tick(connection, entry.name, unless_within_seconds=entry.interval_seconds / 2)
    context.note_answer()
    return is_ours


def _is_outage(error: Exception) -> bool:
    import psycopg  # noqa: PLC0415  # only to name an error
    import sqlalchemy.exc  # noqa: PLC0415

    return isinstance(
        error,
        psycopg.OperationalError
        | psycopg.InterfaceError
        | sqlalchemy.exc.OperationalError
        | sqlalchemy.exc.InterfaceError
        | sqlalchemy.exc.TimeoutError,
    )


def scheduler_class(ticker: Ticker) -> type[beat.Scheduler]:
    """A beat scheduler that runs the ticker's entries here instead of publishing them."""

    class TickScheduler(beat.Scheduler):  # type: ignore[misc]
        def setup_schedule(self) -> None:
            self._due_at = dict.fromkeys(ticker.entries, time.monotonic())

        def tick(self) -> float:
            """Start what is due; seconds until the next. On the monotonic clock: a step of the host's clock or a
            change to summer time neither stops the ticks nor repeats them (celery #6742, #9074).
            """
            now = time.monotonic()
            for name, due_at in self._due_at.items():
                if due_at <= now:
                    ticker.tick(name)
                    self._due_at[name] = now + ticker.entries[name].interval_seconds
            return min(LONGEST_SLEEP_SECONDS, *(due_at - now for due_at in self._due_at.values()))

    return TickScheduler
