"""A worker process: its loop runs between tasks, and a task that is cut short leaves nothing running."""

import asyncio
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import pytest
from kombu.utils import functional

from deploy.embedded import choose_port
from shared.queue.broker import QUEUE_NAMES, create_celery
from shared.settings import Settings
from tests.factories import Factory
from tests.processes import wait_until
from workers.app import LONGEST_RECONNECT_SECONDS, Consumer
from workers.process import WorkerProcess


class TimeIsUp(Exception):  # an event, as Celery's soft time limit raises one
    """Raised by a signal in the task's thread."""


class NoController:
    """What a consumer that has not started asks of the worker around it."""

    use_eventloop = False


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


def test_a_broker_that_is_away_is_asked_for_every_few_seconds(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    away = settings.model_copy(update={"broker_url": f"redis://127.0.0.1:{choose_port()}/0"})
    consumer = Consumer(lambda _request: None, app=create_celery(away, main="test"), controller=NoController())
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) > 100:
            raise TimeIsUp

    monkeypatch.setattr(functional, "sleep", pause)  # kombu's
    with pytest.raises(TimeIsUp):
        consumer.connection_for_read()

    tries = [record for record in caplog.records if "Cannot connect" in record.message]
    assert sum(pauses) / len(tries) <= LONGEST_RECONNECT_SECONDS
