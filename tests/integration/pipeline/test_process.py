"""A worker process: its loop runs between tasks, and a task that is cut short leaves nothing running."""

import asyncio
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import pytest

from shared.queue.broker import QUEUE_NAMES
from shared.settings import Settings
from tests.factories import Factory
from tests.processes import wait_until
from workers.process import WorkerProcess


class TimeIsUp(Exception):  # an event, as Celery's soft time limit raises one
    """Raised by a signal in the task's thread."""


@pytest.fixture
def process(settings: Settings) -> Iterator[WorkerProcess]:
    process = WorkerProcess(settings, QUEUE_NAMES)
    process.start()
    yield process
    process.stop()


@contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    def end(_signal: int, _frame: FrameType | None) -> None:
        raise TimeIsUp

    earlier = signal.signal(signal.SIGUSR1, end)
    timer = threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGUSR1))
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        signal.signal(signal.SIGUSR1, earlier)


def test_a_slice_without_work_ends_at_once(process: WorkerProcess) -> None:
    process.serve_slice()
    process.serve_slice()


def test_a_slice_that_takes_too_long_is_over_when_its_task_is(process: WorkerProcess, settings: Settings) -> None:
    lasting = asyncio.all_tasks(process._loop)
    with Factory(settings).connect() as connection, connection.transaction():
        connection.execute("LOCK TABLE batches IN ACCESS EXCLUSIVE MODE")
        with _time_limit(0.3), pytest.raises(TimeIsUp):
            process.serve_slice()

        wait_until(lambda: asyncio.all_tasks(process._loop) == lasting, seconds=0.5)
