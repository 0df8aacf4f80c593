"""The one writer of a process: it neither loses what it was told nor gets in its own way."""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import replace

import psycopg
import pytest
from sqlalchemy.pool import AsyncAdaptedQueuePool
from structlog.testing import capture_logs

from shared.db.session import hot_transaction
from shared.domain.outcome import Accepted
from tests.conftest import Engines
from tests.integration.pipeline.conftest import Bench
from tests.integration.pipeline.worker import Provider, Worker, working
from workers.batch import OpenBatch


async def _finish(worker: Worker, batch: OpenBatch) -> None:
    """Everybody accepted: outcomes and closing with the next commit."""
    worker.recorder.hold(batch)
    batch.mark_to = len(batch.claimed.targets)
    batch.share.charge(batch.queue.lane, len(batch.claimed.targets))
    for target in batch.claimed.targets:
        worker.recorder.add(batch, (target, "", Accepted()))
    await worker.recorder.close(batch)


@pytest.mark.parametrize("table", ["message_progress", "batches"])
async def test_a_message_whose_row_somebody_locks_waits_alone(bench: Bench, table: str) -> None:
    locked_run, run = await bench.planned_campaign(2), await bench.planned_campaign(2)
    async with working(bench, Provider()) as worker:
        locked, free = await worker.claim(turns=2)
        with bench.factory.connect() as connection, connection.transaction():
            connection.execute(f"SELECT FROM {table} WHERE run = %s FOR UPDATE".encode(), [locked_run])
            recording = asyncio.create_task(_finish(worker, locked))
            await _finish(worker, free)
            await bench.planned_campaign(1)
            (another,) = await worker.claim()
            await _finish(worker, another)

            assert not recording.done()
            assert bench.states(run) == {"sent": 2}
        await recording

        assert worker.slots_out() == 0
    assert bench.states(locked_run) == {"sent": 2}
    assert bench.progress(locked_run, "sent, batches_left") == (2, 0)


async def test_what_else_a_message_has_to_write_follows_when_the_lock_is_gone(bench: Bench) -> None:
    await bench.planned_campaign(3)
    async with working(bench, Provider()) as worker:
        (batch,) = await worker.claim()
        worker.recorder.hold(batch)
        with bench.factory.connect() as connection, connection.transaction():
            connection.execute("SELECT FROM batches FOR UPDATE")
            first = asyncio.create_task(worker.recorder.mark(batch, 1))
            await asyncio.sleep(2.5)  # longer than anybody waits for a lock
            second = asyncio.create_task(worker.recorder.mark(batch, 2))
            await asyncio.sleep(0.1)
        await asyncio.gather(first, second)

    assert bench.ask("SELECT attempted_to FROM batches") == [(2,)]


async def test_renewing_leases_waits_for_no_lock(bench: Bench) -> None:
    await bench.planned_campaign(2, batch_size=1)
    async with working(bench, Provider(), lease_seconds=0.9) as worker:
        locked, free = [(await worker.claim(turns=1))[0] for _ in range(2)]
        with bench.factory.connect() as connection, connection.transaction():
            connection.execute("SELECT FROM batches WHERE seq = %s FOR UPDATE", [locked.claimed.seq])
            worker.recorder.hold(locked)
            worker.recorder.hold(free)
            before = free.lease_deadline
            async with asyncio.timeout(5):
                while free.lease_deadline == before:  # noqa: ASYNC110  # the recorder tells nobody
                    await asyncio.sleep(0.01)

        assert not locked.is_stale


async def test_outcomes_survive_a_connection_that_is_lost_while_they_are_written(bench: Bench) -> None:
    run = await bench.planned_campaign(3)
    async with working(bench, Provider()) as worker:
        (batch,) = await worker.claim()
        with bench.factory.connect() as connection, connection.transaction():
            connection.execute("SELECT FROM message_progress FOR UPDATE")
            done = asyncio.create_task(_finish(worker, batch))
            await bench.wait_for_a_blocked_statement()
            bench.do(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND wait_event_type = 'Lock'"
            )
        await done

        assert worker.slots_out() == 0
    assert bench.states(run) == {"sent": 3}
    assert bench.progress(run, "sent, batches_left") == (3, 0)


async def test_outcomes_wait_as_long_as_the_database_is_away(bench: Bench, engines: Engines) -> None:
    run = await bench.planned_campaign(3)
    name = bench.ask("SELECT current_database()")[0][0]
    async with working(bench, Provider()) as worker:
        (batch,) = await worker.claim()
        with psycopg.connect(engines.postgres.url_of("postgres"), autocommit=True) as connection:
            connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false".encode())
            connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
            done = asyncio.create_task(_finish(worker, batch))
            await asyncio.sleep(0.6)
            assert not done.done()
            connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true".encode())
        await done

    assert bench.states(run) == {"sent": 3}


async def test_a_renewal_that_fails_for_good_is_not_the_last_one(bench: Bench) -> None:
    await bench.planned_campaign(2, batch_size=1)
    async with working(bench, Provider(), lease_seconds=0.3) as worker:
        broken, whole = [(await worker.claim(turns=1))[0] for _ in range(2)]
        broken = replace(broken, claimed=replace(broken.claimed, token=2**70))  # no row has this
        worker.recorder.hold(broken)
        worker.recorder.hold(whole)
        with capture_logs() as logs:
            async with asyncio.timeout(5):
                while not logs:  # noqa: ASYNC110  # the recorder tells nobody else
                    await asyncio.sleep(0.01)
        worker.recorder.let_go(broken)
        before = whole.lease_deadline
        async with asyncio.timeout(5):
            while whole.lease_deadline == before:  # noqa: ASYNC110  # likewise
                await asyncio.sleep(0.01)


async def test_a_renewal_that_is_too_late_for_one_claim_of_a_batch_lets_go_of_no_later_one(bench: Bench) -> None:
    await bench.planned_campaign(1)
    async with working(bench, Provider(), lease_seconds=0.6) as worker:
        (given_back,) = await worker.claim()
        worker.recorder.hold(given_back)
        with bench.factory.connect() as connection, connection.transaction():
            connection.execute("LOCK TABLE batches IN ACCESS EXCLUSIVE MODE")
            await bench.wait_for_a_blocked_statement()  # the renewal of the first claim
            connection.execute("UPDATE batches SET token = token + 1")
            claimed_again = replace(given_back, claimed=replace(given_back.claimed, token=given_back.claimed.token + 1))
            worker.recorder.hold(claimed_again)
        before = claimed_again.lease_deadline
        async with asyncio.timeout(5):
            while claimed_again.lease_deadline == before:  # noqa: ASYNC110  # the recorder tells nobody
                await asyncio.sleep(0.01)

        assert not claimed_again.is_stale


async def test_what_comes_too_late_for_one_claim_of_a_batch_is_not_written_under_the_next(bench: Bench) -> None:
    run = await bench.planned_campaign(3)
    async with working(bench, Provider()) as worker:
        (lost,) = await worker.claim()
        worker.recorder.hold(lost)
        lost.share.charge(lost.queue.lane, 1)
        await worker.recorder.mark(lost, 1)
        bench.run_out(lost.claimed)
        await bench.recover()
        claimed = {len(batch.claimed.targets): batch for batch in await worker.claim(turns=1) + await worker.claim()}
        rest, resent = claimed[3], claimed[1]

        worker.recorder.add(lost, (lost.claimed.targets[0], "", Accepted()))  # with the next commit, as the others are
        await asyncio.gather(worker.recorder.mark(rest, 2), _finish(worker, resent))
        await worker.come_to_rest()

        assert bench.progress(run, "sent, resends") == (1, 1)
        assert bench.ask("SELECT target_seq, resends FROM deliveries") == [(resent.claimed.targets[0], 1)]
        assert bench.ask("SELECT seq, attempted_to FROM batches") == [(rest.claimed.seq, 2)]


async def test_a_batch_whose_recording_fails_for_good_is_left_to_the_sweep_and_takes_nobody_along(bench: Bench) -> None:
    run = await bench.planned_campaign(3, batch_size=1)
    async with working(bench, Provider()) as worker:
        whole, broken, after = [(await worker.claim(turns=1))[0] for _ in range(3)]
        broken.claimed.targets[0] = 2**70  # no row takes this
        recording = [_finish(worker, batch) for batch in (whole, broken, after)]  # in one commit
        first, second, third = await asyncio.gather(*recording, return_exceptions=True)

        assert (first, third) == (None, None)
        assert isinstance(second, psycopg.DataError)
        assert worker.slots_out() == 0
    assert bench.states(run) == {"sent": 2, "queued": 1}
    assert bench.progress(run, "sent, batches_left") == (2, 1)


async def test_an_outcome_that_nobody_understands_ends_its_batch_and_not_the_recorder(bench: Bench) -> None:
    run = await bench.planned_campaign(2, batch_size=1)
    async with working(bench, Provider()) as worker:
        broken, whole = [(await worker.claim(turns=1))[0] for _ in range(2)]
        broken.share.charge(broken.queue.lane, 1)
        worker.recorder.add(broken, (broken.claimed.targets[0], "", object()))  # type: ignore[arg-type]  # the bug
        await _finish(worker, whole)

        assert worker.slots_out() == 0
        assert broken.is_stale
    assert bench.states(run) == {"sent": 1, "queued": 1}


async def test_outcomes_wait_for_a_connection_as_long_as_the_pool_has_none(bench: Bench) -> None:
    run = await bench.planned_campaign(3)
    pool = bench.engine.sync_engine.pool
    assert isinstance(pool, AsyncAdaptedQueuePool)
    async with working(bench, Provider()) as worker, AsyncExitStack() as others:
        (batch,) = await worker.claim()
        pool._timeout = 0.2
        for _ in range(pool.size()):
            await others.enter_async_context(hot_transaction(bench.engine))
        done = asyncio.create_task(_finish(worker, batch))
        await asyncio.sleep(0.5)
        assert not done.done()
        await others.aclose()
        await done

    assert bench.states(run) == {"sent": 3}
