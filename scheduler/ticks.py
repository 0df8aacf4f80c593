"""Celery beat with ticks that run here: straight against Postgres, with the broker down and every worker busy.

Beat keeps the time; a tick belongs to whoever moves its row, so any number of schedulers share the work.
"""

import asyncio
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import structlog
from celery import beat
from celery.schedules import schedule

from scheduler.context import TickContext
from scheduler.timetable import Entry, timetable
from shared import metrics
from shared.db.session import create_engine, hot_transaction
from shared.queue.rings import Ringer
from shared.settings import Settings

# Half an interval: two schedulers tick out of step, and a row moved by one keeps the other from repeating it.
_TAKE_TICK = """
INSERT INTO ticks (name, ran_at) VALUES (%(name)s, now())
ON CONFLICT (name) DO UPDATE SET ran_at = now()
WHERE ticks.ran_at <= now() - %(interval)s / 2 * interval '1 second'
RETURNING true
"""

DATABASE_SILENT_SECONDS = 3.0

log = structlog.get_logger()


class Ticker:
    """Runs ticks on an event loop of its own thread; a tick that is still running is not started again."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="ticks", daemon=True)
        self._ringer = Ringer(settings)
        self._running: dict[str, asyncio.Task[None]] = {}
        self._answered_at = time.monotonic()
        self.entries = {entry.name: entry for entry in timetable(settings)}

    def start(self) -> None:
        self._ringer.start()
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._open(), self._loop).result()

    def stop(self) -> None:
        """Wait for running ticks, then close."""
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(timeout=15)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=5)
        self._ringer.stop()

    def tick(self, name: str) -> None:
        """Start the named tick unless it runs already; returns at once."""
        self._loop.call_soon_threadsafe(self._begin, self.entries[name])

    def _begin(self, entry: Entry) -> None:
        if entry.name not in self._running:
            task = self._running[entry.name] = self._loop.create_task(self._tick(entry))
            task.add_done_callback(lambda _: self._running.pop(entry.name))

    async def _open(self) -> None:
        self._context = TickContext(
            create_engine(self._settings, role="scheduler", pool_size=3), self._settings, self._ringer
        )

    async def _close(self) -> None:
        await asyncio.gather(*self._running.values())
        await self._context.engine.dispose()

    async def _tick(self, entry: Entry) -> None:
        began = time.monotonic()
        try:
            if await self._take(entry):
                await entry.run(self._context)
                metrics.TICK_SECONDS.labels(entry.name).observe(time.monotonic() - began)
            self._note_answer()
        except Exception as error:
            # the edge of the scheduler: a tick that fails is logged and comes again
            log.warning("tick failed", tick=entry.name, error=type(error).__name__, exc_info=not _is_outage(error))

    async def _take(self, entry: Entry) -> bool:
        async with hot_transaction(self._context.engine) as connection:
            cursor = await connection.execute(_TAKE_TICK, {"name": entry.name, "interval": entry.interval_seconds})
            return await cursor.fetchone() is not None

    def _note_answer(self) -> None:
        now = time.monotonic()
        if now - self._answered_at > max(DATABASE_SILENT_SECONDS, 3 * self._settings.release_interval_seconds):
            self._context.reachable_since = now
        self._answered_at = now


def _is_outage(error: Exception) -> bool:
    import psycopg  # noqa: PLC0415  # only to name an error
    import sqlalchemy.exc  # noqa: PLC0415

    return isinstance(error, psycopg.OperationalError | sqlalchemy.exc.OperationalError | TimeoutError)


def scheduler_class(ticker: Ticker) -> Callable[..., beat.Scheduler]:
    """A beat scheduler whose entries are the ticker's, run here instead of being published."""

    class TickScheduler(beat.Scheduler):  # type: ignore[misc]
        sync_every = None

        def setup_schedule(self) -> None:
            self.data = {
                entry.name: self.Entry(
                    name=entry.name,
                    task=entry.name,
                    schedule=schedule(timedelta(seconds=entry.interval_seconds), app=self.app),
                    app=self.app,
                )
                for entry in ticker.entries.values()
            }

        def apply_async(self, entry: Any, producer: Any = None, advance: bool = True, **_: Any) -> None:  # noqa: ARG002, FBT001, FBT002  # beat's signature
            self.reserve(entry)
            ticker.tick(entry.name)

        def apply_entry(self, entry: Any, producer: Any = None) -> None:  # noqa: ARG002  # beat's signature
            ticker.tick(entry.name)

        @property
        def connection(self) -> None:
            """None: ticks need no broker."""
            return None

        producer = None

    return TickScheduler
