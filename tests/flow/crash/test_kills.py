"""Workers killed while they hold marked recipients: nobody is lost, every copy is bounded and on file."""

import itertools
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg
import pytest
import redis

from tests.flow.conftest import WINDOW, Installation
from tests.processes import is_alive, wait_until

RECIPIENTS = 2_000
EFFECTIVE_KILLS = 10
LATENCY: dict[str, object] = {"latency_ms": 200}

_names = itertools.count(1)

pytestmark = pytest.mark.timeout(240)


@pytest.fixture
def audience(installation: Installation) -> str:
    """A topic of RECIPIENTS push targets of this test's own; its id."""
    prefix = f"crash{next(_names)}"
    topic = installation.factory.topic(prefix)
    installation.factory.audience(RECIPIENTS, channel="push", prefix=prefix)
    installation.factory.subscribe(topic, prefix=prefix)
    installation.set_faults(fcm=LATENCY)
    return prefix


def _in_flight(connection: "psycopg.Connection[tuple[object, ...]]", process_ids: list[int]) -> int:
    """Marked recipients without an outcome in the hands of these processes."""
    row = connection.execute(
        "SELECT coalesce(sum(attempted_to - recorded_total), 0) FROM batches"
        " WHERE state = 'claimed' AND split_part(claimed_by, '/', 2)::int = ANY(%s)",
        [process_ids],
    ).fetchone()
    assert row is not None
    return int(str(row[0]))


def _kill_holding_worker(
    installation: Installation, name: str, run: int, *, pause_seconds: float, spares_parent: bool
) -> bool:
    """SIGKILL the worker while it holds marked recipients. True when it still held some after it was dead.

    `pause_seconds` after the first mark was seen: before, while and after the provider accepts. `spares_parent`: only
    the process that delivers is killed, and the worker itself is to replace it.
    """
    supervisor = installation.system.supervisor
    with installation.factory.connect() as connection:
        while True:
            process_ids = supervisor.processes_of(name)
            if _in_flight(connection, process_ids):
                break
            if _is_finished(installation, run):
                return False
            time.sleep(0.005)
        time.sleep(pause_seconds)
        if spares_parent:
            for child in process_ids[1:]:
                os.kill(child, signal.SIGKILL)
            wait_until(lambda: not any(map(is_alive, process_ids[1:])))
        else:
            supervisor.kill(name)
        return _in_flight(connection, process_ids) > 0


def _kill_in_turn(installation: Installation, run: int) -> int:
    """Kill and replace workers, the two in turn, until EFFECTIVE_KILLS were effective or the message is finished.

    Every other time it is only the process within the worker that delivers.
    """
    effective = 0
    pauses = itertools.cycle((0.0, 0.15, 0.3, 0.45))
    ways = itertools.cycle((False, False, True, True))
    for name in itertools.cycle(("worker-1", "worker-2")):
        if effective == EFFECTIVE_KILLS or _is_finished(installation, run):
            return effective
        effective += _kill_holding_worker(installation, name, run, pause_seconds=next(pauses), spares_parent=next(ways))
        installation.replace_worker(name)
    return effective


def _is_finished(installation: Installation, run: int) -> bool:
    with installation.factory.connect() as connection:
        return (
            connection.execute(
                "SELECT 1 FROM message_progress WHERE run = %s AND finished_at IS NOT NULL", [run]
            ).fetchone()
            is not None
        )


def test_ten_kills_lose_nobody(
    installation: Installation, audience: str, record_property: Callable[[str, object], None]
) -> None:
    several = f"{audience}more"
    installation.factory.audience(RECIPIENTS, channel="push", prefix=several)
    installation.factory.subscribe(installation.factory.topic(several), prefix=several)
    run = installation.factory.message(audience, channel="push", topics=[audience, several])

    kills = _kill_in_turn(installation, run)
    installation.set_faults(fcm={"latency_ms": 5})
    installation.await_finish(run, seconds=90)

    verdict = installation.judge(run)
    record_property("figure", f"{kills} kills, {verdict.copies} copies, bound {kills * WINDOW} (W = {WINDOW} per kill)")
    assert kills >= EFFECTIVE_KILLS
    assert verdict.violations == []
    assert verdict.planned == verdict.sent == 2 * RECIPIENTS
    assert verdict.copies <= verdict.resends <= kills * WINDOW


def test_wiping_the_broker_every_two_seconds_loses_and_doubles_nothing(
    installation: Installation, audience: str
) -> None:
    assert installation.system.redis is not None
    with _repeating(redis.Redis.from_url(installation.system.redis.url).flushall, every_seconds=2.0):
        run = installation.factory.message(audience, channel="push", topics=[audience])
        installation.await_finish(run, seconds=90)

    verdict = installation.judge(run)
    assert verdict.violations == []
    assert (verdict.sent, verdict.copies) == (RECIPIENTS, 0)


def test_postgres_stopped_at_once_three_times_loses_nobody(installation: Installation, audience: str) -> None:
    postgres = installation.system.postgres
    assert postgres is not None
    run = installation.factory.message(audience, channel="push", topics=[audience])

    for _ in range(3):
        time.sleep(2.5)
        assert not _is_finished(installation, run)
        postgres.stop(immediate=True)
        postgres.start()
    installation.await_finish(run, seconds=90)

    verdict = installation.judge(run)
    assert verdict.violations == []
    assert verdict.sent == RECIPIENTS
    # a write that met the outage was repeated under its token, so nothing had to be sent again
    assert verdict.copies == 0


@contextmanager
def _repeating(action: Callable[[], object], *, every_seconds: float) -> Iterator[None]:
    stop = threading.Event()

    def repeat() -> None:
        while not stop.wait(every_seconds):
            action()

    thread = threading.Thread(target=repeat)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
