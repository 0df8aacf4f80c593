"""Rings: cheap for the caller, few in the broker, and never a reason to fail."""

import contextlib
import json
import logging
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis
from kombu import Consumer, Message
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from deploy.embedded import DataDirectory, EmbeddedRedis, choose_port
from shared.queue import rings
from shared.queue.broker import QUEUE_NAMES, RING_EXPIRES_SECONDS, create_celery
from shared.queue.rings import MAX_DEPTH, Ringer
from shared.settings import Settings
from tests.directories import new_directory
from tests.processes import wait_until

QUEUE = "push.fcm.bulk"
OTHER = "email.smtp.bulk"

log = logging.getLogger(__name__)


@pytest.fixture
def broker(settings: Settings) -> Iterator["redis.Redis"]:
    with redis.Redis.from_url(settings.require_broker_url()) as client:
        yield client


@contextmanager
def _ringing(settings: Settings) -> Iterator[Ringer]:
    ringer = Ringer(settings)
    ringer.start()
    try:
        yield ringer
    finally:
        ringer.stop()


def _depth(broker: "redis.Redis", queue: str = QUEUE) -> int:
    return int(str(broker.llen(queue)))


def _counter(result: str) -> Callable[[], float]:
    """Rings of that result since now."""

    def total() -> float:
        return REGISTRY.get_sample_value("tidings_rings_total", {"result": result}) or 0.0

    before = total()
    return lambda: total() - before


def test_rings_in_quick_succession_become_one(settings: Settings, broker: "redis.Redis") -> None:
    coalesced, published = _counter("coalesced"), _counter("published")
    ringer = Ringer(settings)

    for _ in range(100):
        ringer.ring(QUEUE)
    ringer.ring(OTHER)
    ringer.start()
    ringer.stop()

    assert (_depth(broker), _depth(broker, OTHER)) == (1, 1)
    assert (coalesced(), published()) == (99, 2)


def test_the_largest_wish_among_coalesced_rings_counts(settings: Settings, broker: "redis.Redis") -> None:
    ringer = Ringer(settings)
    for count in (1, 4, 2):
        ringer.ring(QUEUE, count)
    ringer.start()
    ringer.stop()

    assert _depth(broker) == 4


def test_a_queue_never_holds_more_than_its_share_of_rings(settings: Settings, broker: "redis.Redis") -> None:
    skipped = _counter("skipped")
    with _ringing(settings) as ringer:
        for _ in range(3):
            ringer.ring(QUEUE, 1_000)
            wait_until(lambda: not ringer._wanted)
            time.sleep(3 * rings.COALESCE_SECONDS)

    assert _depth(broker) == MAX_DEPTH
    assert skipped() == 2


def test_a_ring_says_nothing_that_a_worker_s_clock_could_contradict(settings: Settings, broker: "redis.Redis") -> None:
    with _ringing(settings) as ringer:
        ringer.ring(QUEUE)
        wait_until(lambda: _depth(broker) == 1)

    ring = json.loads(broker.lrange(QUEUE, 0, 0)[0])
    assert (ring["headers"]["eta"], ring["headers"]["expires"]) == (None, None)
    assert ring["properties"]["expiration"] == f"{RING_EXPIRES_SECONDS * 1_000}"  # for RabbitMQ, which counts itself


def test_every_queue_there_is_can_be_rung(settings: Settings, broker: "redis.Redis") -> None:
    with _ringing(settings) as ringer:
        for name in QUEUE_NAMES:
            ringer.ring(name)

    assert {name: _depth(broker, name) for name in QUEUE_NAMES} == dict.fromkeys(QUEUE_NAMES, 1)


def test_a_wiped_broker_is_rung_again(settings: Settings, broker: "redis.Redis") -> None:
    with _ringing(settings) as ringer:
        for _ in range(3):
            ringer.ring(QUEUE)
            wait_until(lambda: _depth(broker) == 1)
            broker.flushall()


def test_a_broker_that_is_away_costs_the_caller_nothing(
    settings: Settings, broker: "redis.Redis", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rings, "PAUSE_AFTER_FAILURE_SECONDS", 0.05)
    failed = _counter("failed")
    away = settings.model_copy(update={"broker_url": f"redis://127.0.0.1:{choose_port()}/0"})
    with _ringing(away) as ringer:
        began = time.monotonic()
        for _ in range(1_000):
            ringer.ring(QUEUE)
        assert time.monotonic() - began < 0.3
        wait_until(lambda: failed() >= 1)
        began = time.monotonic()
    assert time.monotonic() - began < 1.0  # stopping does not wait for it either


def test_rings_work_again_once_the_broker_is_back(
    settings: Settings, broker: "redis.Redis", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rings, "PAUSE_AFTER_FAILURE_SECONDS", 0.05)
    failed = _counter("failed")
    with _ringing(settings) as ringer:
        ringer.ring(QUEUE)
        wait_until(lambda: _depth(broker) == 1)
        broker.client_kill_filter(_type="normal", skipme=True)
        broker.delete(QUEUE)

        def is_rung() -> bool:
            ringer.ring(QUEUE)
            return _depth(broker) > 0

        wait_until(is_rung)
    assert failed() <= 1


@pytest.fixture
def own_broker() -> Iterator[EmbeddedRedis]:
    """One that a test may stop."""
    directory = DataDirectory(new_directory())
    with directory, EmbeddedRedis(directory) as server:
        yield server
        server.stop()
        directory.remove()


def test_a_ring_that_is_heard_when_the_broker_goes_is_not_the_last(
    settings: Settings, own_broker: EmbeddedRedis
) -> None:
    settings = settings.model_copy(update={"broker_url": own_broker.url})
    worker = create_celery(settings, main="worker")
    heard: list[Message] = []
    with worker.connection_for_read() as connection:
        consumer = Consumer(connection.channel(), worker.conf.task_queues, on_message=heard.append, prefetch_count=1)
        with _ringing(settings) as ringer, consumer:

            def is_heard(rings: int) -> bool:
                ringer.ring(QUEUE)
                with contextlib.suppress(TimeoutError, *connection.connection_errors):
                    connection.drain_events(timeout=0.1)
                return len(heard) >= rings

            wait_until(lambda: is_heard(1))
            own_broker.stop()
            heard[0].ack_log_error(log, connection.connection_errors)
            own_broker.start()
            wait_until(lambda: is_heard(2))


def test_a_ring_that_was_heard_is_not_put_back_while_redis_is_away(
    settings: Settings,
    own_broker: EmbeddedRedis,
    capfd: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Kombu would say so past the log, and leave a file in the temporary directory."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    worker = create_celery(settings.model_copy(update={"broker_url": own_broker.url}), main="worker")
    heard: list[Message] = []
    connection = worker.connection_for_read()
    consumer = Consumer(connection.channel(), worker.conf.task_queues, on_message=heard.append, prefetch_count=1)
    with consumer, redis.Redis.from_url(own_broker.url) as broker:
        with _ringing(settings.model_copy(update={"broker_url": own_broker.url})) as ringer:
            ringer.ring(QUEUE)
            while not heard:
                connection.drain_events(timeout=5)
        assert broker.llen(QUEUE) == 0
    own_broker.stop()

    connection.collect()

    assert capfd.readouterr() == ("", "")
    assert list(tmp_path.iterdir()) == []


def test_a_redis_that_is_full_refuses_rings_and_can_still_be_listened_to(
    settings: Settings, own_broker: EmbeddedRedis
) -> None:
    """A worker that met it while it was connecting ended."""
    worker = create_celery(settings.model_copy(update={"broker_url": own_broker.url}), main="worker")
    with redis.Redis.from_url(own_broker.url) as broker:
        broker.config_set("maxmemory", 1)
    with capture_logs() as said, _ringing(settings.model_copy(update={"broker_url": own_broker.url})) as ringer:
        ringer.ring(QUEUE)
        wait_until(lambda: len(said) == 1)
    assert said[0]["event"] == "ring refused by the broker"
    with worker.connection_for_read() as connection:
        consumer = Consumer(connection.channel(), worker.conf.task_queues, on_message=print)
        with consumer, pytest.raises(TimeoutError):
            connection.drain_events(timeout=0.1)
