"""Ticks: shared by any number of schedulers, forgiving towards failures, patient after an outage."""

import asyncio
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from pydantic import SecretStr

from deploy.embedded import choose_port
from scheduler import ticks
from scheduler.context import TickContext
from scheduler.ticks import Ticker
from scheduler.timetable import Entry
from shared.db.pools import SCHEDULER_HOUSEKEEPING
from shared.db.session import hot_transaction
from shared.settings import Settings
from shared.upkeep import context
from tests.conftest import Engines
from tests.factories import Factory
from tests.integration.scheduler.outage import database_away
from tests.processes import wait_until
from tests.tcp_server import tcp_server

LEASE_SECONDS = 0.6


@pytest.fixture
def brisk(settings: Settings) -> Settings:
    """Leases and timeouts short enough to wait for."""
    return settings.model_copy(
        update={
            "lease_seconds": LEASE_SECONDS,
            "provider_timeout_seconds": 0.1,
            "smtp_final_timeout_seconds": 0.1,
            "release_interval_seconds": 0.05,
            "sweep_interval_seconds": 0.1,
        }
    )


@contextmanager
def _running(settings: Settings, *entries: Entry) -> Iterator[Ticker]:
    ticker = Ticker(settings)
    ticker.entries.update({entry.name: entry for entry in entries})
    ticker.start()
    try:
        yield ticker
    finally:
        ticker.stop()


def _tick(ticker: Ticker, name: str) -> None:
    """Until it is over."""
    ticker.tick(name)
    asyncio.run_coroutine_threadsafe(asyncio.sleep(0), ticker._loop).result()
    wait_until(lambda: name not in ticker._running)


def _entry(run: Callable[[], None], *, interval_seconds: float = 60.0) -> Entry:
    async def tick(_context: TickContext) -> None:
        run()

    return Entry("test", interval_seconds, tick)


def test_a_tick_belongs_to_one_of_two_schedulers(brisk: Settings) -> None:
    ran: list[str] = []
    with (
        _running(brisk, _entry(lambda: ran.append("first"))) as first,
        _running(brisk, _entry(lambda: ran.append("second"))) as second,
    ):
        for ticker in (first, second, first, second):
            _tick(ticker, "test")
        assert ran == ["first"]

        with psycopg.connect(brisk.require_database_url()) as connection:
            connection.execute("UPDATE ticks SET ran_at = ran_at - interval '30 seconds'")  # half of one passes
        _tick(second, "test")
        assert ran == ["first", "second"]


def test_a_database_clock_that_was_put_back_stops_no_tick(brisk: Settings) -> None:
    ran: list[int] = []
    with _running(brisk, _entry(lambda: ran.append(1))) as ticker:
        _tick(ticker, "test")
        with psycopg.connect(brisk.require_database_url()) as connection:
            connection.execute("UPDATE ticks SET ran_at = ran_at + interval '2 hours'")
        _tick(ticker, "test")

    assert len(ran) == 2


def test_a_tick_that_takes_long_does_not_hold_up_a_stop(brisk: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ticks, "LONGEST_LAST_TICK_SECONDS", 0.05)
    has_begun, was_cut_off = threading.Event(), threading.Event()

    async def purge_without_end(_context: TickContext) -> None:
        has_begun.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            was_cut_off.set()
            raise

    with _running(brisk, Entry("test", 60.0, purge_without_end)) as ticker:
        ticker.tick("test")
        assert has_begun.wait(10)

    assert was_cut_off.is_set()


def test_a_tick_that_fails_comes_again(brisk: Settings) -> None:
    ran: list[int] = []

    def fail_once() -> None:
        ran.append(1)
        if len(ran) == 1:
            raise RuntimeError

    with _running(brisk, _entry(fail_once, interval_seconds=0.0)) as ticker:
        _tick(ticker, "test")
        _tick(ticker, "test")

    assert len(ran) == 2


def test_a_tick_that_still_runs_is_not_started_again(brisk: Settings) -> None:
    started, may_end = [], threading.Event()

    async def tick(_context: TickContext) -> None:
        started.append(1)
        await asyncio.to_thread(may_end.wait)

    with _running(brisk, Entry("test", 0.0, tick)) as ticker:
        for _ in range(3):
            ticker.tick("test")
        wait_until(lambda: bool(started))
        may_end.set()

    assert len(started) == 1


def test_housekeeping_that_takes_long_holds_up_no_release(brisk: Settings) -> None:
    factory = Factory(brisk)
    may_end = threading.Event()
    holding: list[str] = []

    async def purge_a_large_page(context: TickContext) -> None:
        async with hot_transaction(context.engine):
            holding.append("a connection")
            await asyncio.to_thread(may_end.wait, 60)

    slow = [Entry(f"slow-{number}", 60.0, purge_a_large_page) for number in range(SCHEDULER_HOUSEKEEPING)]
    waiting = [Entry(f"waiting-{number}", 60.0, purge_a_large_page) for number in range(3)]
    with _running(brisk, *slow, *waiting) as ticker:
        for entry in (*slow, *waiting):
            ticker.tick(entry.name)
        wait_until(lambda: len(holding) == SCHEDULER_HOUSEKEEPING)
        _schedule_a_message(factory)

        _tick(ticker, "release")

        assert _statuses(factory) == ["processing"]
        may_end.set()


async def test_storage_that_never_answers_holds_up_no_other_tick_and_no_stop(
    brisk: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ticks, "LONGEST_LAST_TICK_SECONDS", 0.05)
    factory = Factory(brisk)
    with factory.connect() as connection:
        connection.execute(
            "INSERT INTO loose_objects (key, due_at) VALUES ('of-a-deleted-file', now() - interval '1 day')"
        )
    asked = asyncio.Event()

    async def say_nothing(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        asked.set()

    async with tcp_server(say_nothing) as address:
        silent = brisk.model_copy(
            update={
                "files_url": "s3://bucket",
                "files_endpoint": f"http://{address}",
                "files_access_key": SecretStr("key"),
                "files_secret_key": SecretStr("secret"),
            }
        )
        with _running(silent) as ticker:
            ticker.tick("files.objects")
            await asyncio.wait_for(asked.wait(), timeout=10)
            _schedule_a_message(factory)
            _tick(ticker, "release")
            assert _statuses(factory) == ["processing"]
            assert "files.objects" in ticker._running


def _schedule_a_message(factory: Factory) -> None:
    """Due since a second ago."""
    with factory.connect() as connection:
        connection.execute(
            "INSERT INTO messages (project_seq, id, channel, status, lane, data, topics, users, targets, scheduled_at)"
            " VALUES (%s, 'm', 'push', 'scheduled', 'bulk', '{}', '{}', '{}', '{}', now() - interval '1 second')",
            [factory.project_seq],
        )


def _statuses(factory: Factory) -> list[str]:
    with factory.connect() as connection:
        return [str(status) for (status,) in connection.execute("SELECT status FROM messages").fetchall()]


def _claimed_batches(factory: Factory) -> int:
    with factory.connect() as connection:
        row = connection.execute("SELECT count(*) FROM batches WHERE state = 'claimed'").fetchone()
    assert row is not None
    return int(str(row[0]))


def _let_a_lease_run_out(factory: Factory) -> None:
    with factory.connect() as connection:
        connection.execute(
            "INSERT INTO batches (run, project_seq, message_seq, queue, provider_seq, targets, state, lease_until)"
            " VALUES (1, 1, 1, 'push.fcm.bulk', 1, '{1}', 'claimed', now() - interval '1 second')"
        )


def test_an_outage_is_no_reason_to_take_the_work_of_those_who_could_not_renew(
    brisk: Settings, engines: Engines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(context, "DATABASE_SILENT_SECONDS", 0.5)
    factory = Factory(brisk)
    _let_a_lease_run_out(factory)
    with _running(brisk) as ticker:
        time.sleep(LEASE_SECONDS)
        with database_away(engines, brisk):
            time.sleep(0.2)
            _tick(ticker, "sweep.recover")

        _tick(ticker, "sweep.recover")
        assert _claimed_batches(factory) == 1

        def is_swept_up() -> bool:
            _tick(ticker, "sweep.recover")
            return _claimed_batches(factory) == 0

        wait_until(is_swept_up)  # a lease later


def test_without_an_outage_a_lease_that_ran_out_is_swept_up(brisk: Settings) -> None:
    factory = Factory(brisk)
    _let_a_lease_run_out(factory)
    with _running(brisk) as ticker:
        time.sleep(LEASE_SECONDS)
        _tick(ticker, "sweep.recover")

    assert _claimed_batches(factory) == 0


def test_the_scheduler_stops_at_once_on_term_also_while_the_database_and_the_broker_are_away(
    engines: Engines, settings: Settings, tmp_path: Path
) -> None:
    factory = Factory(settings)
    environment = {
        **os.environ,
        "TIDINGS_DATABASE_URL": settings.require_database_url(),
        "TIDINGS_BROKER_URL": f"redis://127.0.0.1:{choose_port()}/0",
        "TIDINGS_RELEASE_INTERVAL_SECONDS": "0.1",
    }
    log = tmp_path / "log"
    with log.open("w") as output:
        scheduler = subprocess.Popen([sys.executable, "-m", "scheduler"], env=environment, stderr=output)
    try:
        with factory.connect() as connection:
            wait_until(lambda: connection.execute("SELECT FROM ticks").fetchall() != [], seconds=30)
        with database_away(engines, settings):
            wait_until(lambda: "tick failed" in log.read_text(), seconds=30)
            scheduler.terminate()
            assert scheduler.wait(timeout=10) == 0
    finally:
        scheduler.kill()
        scheduler.wait()

    assert "Traceback" not in log.read_text()
