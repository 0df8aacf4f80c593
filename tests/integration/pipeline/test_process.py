"""A worker process: it works by itself, and a ring only makes it look at once."""

import time
from collections.abc import Iterator

import pytest
from kombu.utils import functional
from structlog.testing import capture_logs

from deploy.embedded import choose_port
from shared.queue.broker import QUEUE_NAMES, create_celery
from shared.settings import Settings
from tests.factories import Factory
from tests.processes import wait_until
from workers import loop_watch
from workers.app import LONGEST_RECONNECT_SECONDS, Consumer
from workers.drain import HEARD_SECONDS
from workers.process import WorkerProcess


class TimeIsUp(Exception):  # an event
    """The test has seen enough."""


class NoController:
    """What a consumer that has not started asks of the worker around it."""

    use_eventloop = False


@pytest.fixture
def process(settings: Settings) -> Iterator[WorkerProcess]:
    process = WorkerProcess(settings, QUEUE_NAMES)
    process.start()
    yield process
    process.stop()


def test_a_ring_without_work_is_over_at_once(process: WorkerProcess) -> None:
    began = time.monotonic()
    process.hear()
    process.hear()

    assert time.monotonic() - began < 2 * HEARD_SECONDS


def test_a_ring_keeps_its_place_no_longer_than_a_moment_while_there_is_more_to_do(
    process: WorkerProcess, settings: Settings
) -> None:
    with Factory(settings).connect() as connection, connection.transaction():
        connection.execute("LOCK TABLE batches IN ACCESS EXCLUSIVE MODE")
        process.hear()  # it returns although nobody could look


def test_work_that_nobody_rang_for_is_found(process: WorkerProcess, settings: Settings) -> None:
    factory = Factory(settings)
    factory.audience(1, channel="push")
    run = factory.message("m", channel="push", users=["person-1"], lane="transactional")

    def is_over() -> bool:
        with factory.connect() as connection:
            row = connection.execute("SELECT finished_at FROM message_progress WHERE run = %s", [run]).fetchone()
        return row is not None and row[0] is not None  # failed, as there is no provider

    wait_until(is_over, seconds=settings.unrung_seconds + 5)


def test_without_a_scheduler_what_is_scheduled_is_released(process: WorkerProcess, settings: Settings) -> None:
    factory = Factory(settings)
    factory.audience(1, channel="push")
    factory.message("m", channel="push", users=["person-1"], lane="transactional")
    with factory.connect() as connection:
        connection.execute("DELETE FROM fan_outs")
        connection.execute("UPDATE messages SET status = 'scheduled', scheduled_at = now()")

    def is_released() -> bool:
        with factory.connect() as connection:
            return connection.execute("SELECT 1 FROM messages WHERE status = 'scheduled'").fetchone() is None

    wait_until(is_released, seconds=10)


def test_a_loop_that_stands_still_says_where(process: WorkerProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop_watch, "STANDSTILL_SECONDS", 0.5)
    with capture_logs() as logs:
        process._loop.call_soon_threadsafe(_stand_still)
        wait_until(lambda: any(entry["event"] == "the event loop stands still" for entry in logs), seconds=5)

    (told,) = [entry for entry in logs if entry["event"] == "the event loop stands still"]
    assert told["at"][-1].endswith("_stand_still")


def _stand_still() -> None:
    time.sleep(1.5)


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
