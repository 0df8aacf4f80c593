"""Watches from a thread of its own that the event loop turns: while it stands still, nobody here is served."""

import asyncio
import os
import signal
import sys
import threading
import time
import traceback
from typing import Final

import structlog

from shared import metrics

BEAT_SECONDS: Final = 0.25

STANDSTILL_SECONDS: Final = 2.0
"""After so long it is told, with the place in the code where the loop is."""

HOPELESS_SECONDS: Final = 120.0
"""After so long the process is killed: its leases have run out or will, and others go on with its work."""

log = structlog.get_logger()


class LoopWatch:
    """One per process. Names places in the code, never what they work on."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._beat_at = time.monotonic()
        self._loop_thread_id = 0
        self._is_stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="loop-watch", daemon=True)

    def start(self) -> None:
        self._loop.call_soon_threadsafe(self._beat)
        self._thread.start()

    def stop(self) -> None:
        self._is_stopping.set()
        if self._thread.is_alive():
            self._thread.join(timeout=2)

    def _beat(self) -> None:
        self._loop_thread_id = threading.get_ident()
        self._beat_at = time.monotonic()
        if not self._is_stopping.is_set():
            self._loop.call_later(BEAT_SECONDS, self._beat)

    def _run(self) -> None:
        beat_at, still_seconds, is_told = self._beat_at, 0.0, False
        looked_at = time.monotonic()
        while not self._is_stopping.wait(BEAT_SECONDS):
            now = time.monotonic()
            # a process that was stopped as a whole and goes on has not stood still: this thread did not run either
            still_seconds += min(now - looked_at, 2 * BEAT_SECONDS)
            looked_at = now
            if self._beat_at != beat_at:
                beat_at, still_seconds, is_told = self._beat_at, 0.0, False
            metrics.LOOP_LATE_SECONDS.set(max(0.0, still_seconds - 2 * BEAT_SECONDS))
            if still_seconds > STANDSTILL_SECONDS and not is_told:
                is_told = True
                log.error("the event loop stands still", seconds=round(still_seconds, 1), at=self._place())
            if still_seconds > HOPELESS_SECONDS:
                log.critical("killing this process, its event loop does not turn any more", at=self._place())
                os.kill(os.getpid(), signal.SIGKILL)

    def _place(self) -> list[str]:
        """The innermost calls of the loop's thread, outermost first: file, line and function."""
        frame = sys._current_frames().get(self._loop_thread_id)  # noqa: SLF001  # documented, for debuggers
        calls = traceback.extract_stack(frame)[-6:] if frame else []
        return [f"{call.filename.rpartition('/')[2]}:{call.lineno} {call.name}" for call in calls]
