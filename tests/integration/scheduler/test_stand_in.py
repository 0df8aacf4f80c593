"""Without a scheduler workers release and recover: one of them at a time, and nothing just after an outage."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable

import psycopg
import pytest
from structlog.testing import capture_logs

from shared.db.queries.ticks import seconds_since_tick, take_tick
from shared.db.session import create_engine, hot_statements
from shared.queue.rings import Ringer
from shared.settings import Settings
from shared.upkeep import context as upkeep
from shared.upkeep.context import UpkeepContext
from shared.upkeep.recover import recover
from shared.upkeep.stand_in import RECOVER, RELEASE, run_where_nobody_ticks
from tests.conftest import Engines
from tests.factories import Factory
from tests.integration.scheduler.outage import database_away

LEASE_SECONDS = 0.6
MakeWorker = Callable[[], UpkeepContext]


@pytest.fixture
def brisk(settings: Settings) -> Settings:
    return settings.model_copy(
        update={"lease_seconds": LEASE_SECONDS, "release_interval_seconds": 10.0, "sweep_interval_seconds": 20.0}
    )


@pytest.fixture
async def new_worker(brisk: Settings) -> AsyncIterator[MakeWorker]:
    """Makes what another worker process does upkeep with."""
    made: list[UpkeepContext] = []

    def make() -> UpkeepContext:
        made.append(UpkeepContext(create_engine(brisk, role="test"), brisk, Ringer(brisk)))
        return made[-1]

    yield make
    for context in made:
        await context.engine.dispose()


@pytest.fixture
def factory(brisk: Settings) -> Factory:
    """Of a database with a message that is due to be released and a lease that ran out."""
    factory = Factory(brisk)
    with factory.connect() as connection:
        connection.execute(
            "INSERT INTO messages (project_seq, id, channel, status, lane, data, topics, users, targets, scheduled_at)"
            " VALUES (%s, 'm', 'push', 'scheduled', 'bulk', '{}', '{}', '{}', '{}', now() - interval '1 second')",
            [factory.project_seq],
        )
        connection.execute(
            "INSERT INTO batches (run, project_seq, message_seq, queue, provider_seq, targets, state, lease_until)"
            " VALUES (1, 1, 1, 'push.fcm.bulk', 1, '{1}', 'claimed', now() - interval '1 second')"
        )
    return factory


Ask = Callable[[], tuple[bool, bool]]


@pytest.fixture
def settled(factory: Factory) -> Ask:
    """Whether the message was released and the lease recovered."""

    def ask() -> tuple[bool, bool]:
        with factory.connect() as connection:
            row = connection.execute(
                "SELECT (SELECT status = 'processing' FROM messages), (SELECT bool_and(state = 'due') FROM batches)"
            ).fetchone()
        assert row is not None
        return bool(row[0]), bool(row[1])

    return ask


def _ticked(factory: Factory, *, seconds_ago: float) -> None:
    """Both ticks, by a scheduler."""
    with factory.connect() as connection:
        for name in (RELEASE, RECOVER):
            connection.execute(
                "INSERT INTO ticks (name, ran_at) VALUES (%s, now() - %s * interval '1 second')"
                " ON CONFLICT (name) DO UPDATE SET ran_at = excluded.ran_at",
                [name, seconds_ago],
            )


async def _after_a_lease(context: UpkeepContext) -> list[str]:
    await asyncio.sleep(LEASE_SECONDS)
    return await run_where_nobody_ticks(context)


async def test_a_worker_does_nothing_while_a_scheduler_ticks(
    new_worker: MakeWorker, factory: Factory, settled: Ask
) -> None:
    worker = new_worker()
    _ticked(factory, seconds_ago=25.0)  # two periods and a half of one, one and a quarter of the other

    assert await _after_a_lease(worker) == []

    assert settled() == (False, False)


async def test_a_worker_stands_in_where_no_scheduler_has_ticked_for_three_periods(
    new_worker: MakeWorker, factory: Factory, settled: Ask
) -> None:
    worker = new_worker()
    _ticked(factory, seconds_ago=61.0)

    with capture_logs() as logs:
        assert await _after_a_lease(worker) == [RELEASE, RECOVER]

    assert settled() == (True, True)
    assert "no scheduler ticks, a worker does its work" in [entry["event"] for entry in logs]


async def test_a_worker_stands_in_where_no_scheduler_ever_ticked(
    new_worker: MakeWorker, factory: Factory, settled: Ask
) -> None:
    assert await _after_a_lease(new_worker()) == [RELEASE, RECOVER]

    assert settled() == (True, True)


async def test_of_many_workers_one_stands_in(new_worker: MakeWorker, factory: Factory) -> None:
    workers = [new_worker() for _ in range(6)]
    await asyncio.sleep(LEASE_SECONDS)

    ran = await asyncio.gather(*(run_where_nobody_ticks(worker) for worker in workers))

    assert sorted(name for names in ran for name in names) == [RELEASE, RECOVER]


async def test_a_worker_that_has_just_started_recovers_nothing(
    new_worker: MakeWorker, factory: Factory, settled: Ask
) -> None:
    assert await run_where_nobody_ticks(new_worker()) == [RELEASE]

    assert settled() == (True, False)


async def test_a_worker_whose_leases_ran_out_in_an_outage_recovers_none_until_it_could_renew_them(
    new_worker: MakeWorker,
    factory: Factory,
    settled: Ask,
    engines: Engines,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(upkeep, "DATABASE_SILENT_SECONDS", 0.5)
    worker = new_worker()
    worker.settings = worker.settings.model_copy(update={"release_interval_seconds": 0.1})
    await run_where_nobody_ticks(worker)
    with database_away(engines, worker.settings), pytest.raises(psycopg.OperationalError):
        await _after_a_lease(worker)

    assert RECOVER not in await run_where_nobody_ticks(worker)
    assert settled() == (True, False)

    deadline = time.monotonic() + 10
    while not settled()[1]:  # a lease later
        assert time.monotonic() < deadline
        await asyncio.sleep(0.1)
        await run_where_nobody_ticks(worker)


async def test_a_recovery_that_the_database_was_silent_to_takes_nothing(
    new_worker: MakeWorker, factory: Factory, settled: Ask
) -> None:
    """As if the database stood still just after it was asked: meanwhile nobody could renew a lease."""
    worker = new_worker()
    await asyncio.sleep(LEASE_SECONDS)
    with factory.connect() as other, other.transaction():
        other.execute("LOCK TABLE batches IN ACCESS EXCLUSIVE MODE")
        recovering = asyncio.create_task(recover(worker))
        await asyncio.sleep(LEASE_SECONDS)
    await recovering

    assert settled() == (False, False)

    await asyncio.sleep(LEASE_SECONDS)
    await recover(worker)
    assert settled() == (False, True)


async def test_a_message_whose_rows_are_locked_keeps_no_other_s_leases_from_being_recovered(
    new_worker: MakeWorker, factory: Factory
) -> None:
    worker = new_worker()
    worker.settings = worker.settings.model_copy(update={"lease_seconds": 5.0})  # longer than a lock is waited for
    worker.reachable_since -= 60
    with factory.connect() as stranger, stranger.transaction():
        for name in ("locked", "free"):
            run = factory.message(name, channel="push")
            with factory.connect() as connection:
                connection.execute(
                    "INSERT INTO batches (run, project_seq, message_seq, queue, provider_seq, targets, attempted_to,"
                    " recorded_total, state, lease_until)"
                    " SELECT run, project_seq, seq, 'push.fcm.bulk', 1, '{1}', 1, 1, 'claimed',"
                    " now() - interval '1 second' FROM messages WHERE run = %s",
                    [run],
                )
            if name == "locked":
                stranger.execute("SELECT FROM message_progress WHERE run = %s FOR UPDATE", [run])

        await recover(worker)

        with factory.connect() as connection:
            rows = connection.execute(
                "SELECT id FROM batches JOIN messages USING (run) WHERE state = 'claimed'"
            ).fetchall()
    assert rows == [("locked",)]


async def test_the_log_tells_what_became_of_those_whose_worker_died(new_worker: MakeWorker, factory: Factory) -> None:
    worker = new_worker()
    worker.reachable_since -= 60
    run = factory.message("sent-again-often", channel="push")
    with factory.connect() as connection:
        connection.execute(
            "INSERT INTO batches (run, project_seq, message_seq, queue, provider_seq, targets, attempted_to,"
            " resends, state, lease_until)"
            " SELECT run, project_seq, seq, queue, 1, held, 2, times, 'claimed', now() - interval '1 second'"
            " FROM messages, (VALUES ('push.fcm.bulk', '{1, 2}'::bigint[], %s), ('push.fcm.bulk', '{3, 4}', 0),"
            " ('sms.twilio.bulk', '{5, 6}', 0)) AS lost (queue, held, times) WHERE run = %s",
            [worker.settings.max_resends, run],
        )

    with capture_logs() as logs:
        await recover(worker)

    (told,) = [line for line in logs if line["event"] == "leases expired"]
    told_of = {name: told[name] for name in ("batches", "exhausted", "resent", "left", "poisoned")}
    # with the batch of this fixture, of which nothing was marked
    assert told_of == {"batches": 4, "exhausted": 2, "resent": 2, "left": 2, "poisoned": 0}


async def test_a_tick_is_known_by_its_age_also_where_the_database_s_clock_was_put_back(
    new_worker: MakeWorker, factory: Factory
) -> None:
    async with hot_statements(new_worker().engine) as connection:
        assert await seconds_since_tick(connection, RELEASE) is None
        _ticked(factory, seconds_ago=100.0)
        assert 100 <= (await seconds_since_tick(connection, RELEASE) or 0) < 110
        _ticked(factory, seconds_ago=-100.0)
        assert 90 < (await seconds_since_tick(connection, RELEASE) or 0) <= 100
        assert await take_tick(connection, RELEASE, unless_within_seconds=60.0)
        assert not await take_tick(connection, RELEASE, unless_within_seconds=60.0)
