"""A rate-limited account sends no faster than it may, whatever the number of workers."""

import asyncio
import time

import psycopg
import pytest

from shared.db.session import create_engine
from shared.settings import Settings
from tests.factories import Factory
from workers.rate import Rate

PER_SECOND = 200.0

_END_BLOCKED = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND wait_event_type = 'Lock'
"""


@pytest.fixture
def provider_seq(settings: Settings) -> int:
    return Factory(settings).provider("fcm", "fcm", credentials={})


async def _spend(rate: Rate, until: float) -> int:
    spent = 0
    while time.monotonic() < until:
        spent += await rate.take(50)
    return spent


async def test_two_workers_share_one_rate(settings: Settings, provider_seq: int) -> None:
    engine = create_engine(settings, role="test", pool_size=2)
    began = time.monotonic()
    workers = [Rate(engine, provider_seq, PER_SECOND) for _ in range(2)]

    spent = sum(await asyncio.gather(*(_spend(worker, began + 1.0) for worker in workers)))

    seconds = time.monotonic() - began
    await engine.dispose()
    # the bucket starts empty and holds a tenth of a second at most
    assert 0 < spent <= PER_SECOND * (seconds + 0.1)


async def test_tokens_given_back_are_taken_again(settings: Settings, provider_seq: int) -> None:
    engine = create_engine(settings, role="test", pool_size=1)
    rate = Rate(engine, provider_seq, PER_SECOND)
    while not (taken := await rate.take(1_000)):
        pass

    rate.give_back(taken)

    assert await rate.take(taken) == taken
    await engine.dispose()


async def test_a_slow_account_saves_up_a_whole_token(settings: Settings, provider_seq: int) -> None:
    engine = create_engine(settings, role="test", pool_size=1)
    rate = Rate(engine, provider_seq, 4.0)

    async with asyncio.timeout(5):
        while not await rate.take(1):
            pass
    await engine.dispose()


async def test_a_database_clock_that_was_put_back_neither_stops_an_account_nor_gives_less_than_nothing(
    settings: Settings, provider_seq: int
) -> None:
    engine = create_engine(settings, role="test", pool_size=1)
    rate = Rate(engine, provider_seq, PER_SECOND)
    async with asyncio.timeout(5):
        while not await rate.take(1_000):
            pass
        with psycopg.connect(settings.require_database_url()) as connection:
            connection.execute("UPDATE provider_buckets SET filled_at = filled_at + interval '1 hour'")

        while not (taken := await rate.take(1_000)):
            pass
    await engine.dispose()
    assert taken > 0


async def test_an_account_that_was_deleted_has_no_tokens(settings: Settings, provider_seq: int) -> None:
    engine = create_engine(settings, role="test", pool_size=1)
    with psycopg.connect(settings.require_database_url()) as connection:
        connection.execute("DELETE FROM providers")

    assert await Rate(engine, provider_seq, PER_SECOND).take(1) == 0
    await engine.dispose()


async def test_a_database_that_breaks_off_gives_no_tokens_and_no_error(settings: Settings, provider_seq: int) -> None:
    engine = create_engine(settings, role="test", pool_size=1)
    rate = Rate(engine, provider_seq, PER_SECOND)
    async with asyncio.timeout(5):
        while not await rate.take(1_000):  # all that it has leased
            pass
    with psycopg.connect(settings.require_database_url()) as connection:
        connection.execute("SELECT FROM provider_buckets FOR UPDATE")
        taking = asyncio.create_task(rate.take(1_000))
        async with asyncio.timeout(5):
            while not connection.execute(_END_BLOCKED).fetchone():  # noqa: ASYNC110  # Postgres sends no event
                await asyncio.sleep(0.01)

        assert await taking == 0

    async with asyncio.timeout(5):
        while not await rate.take(1):
            pass
    await engine.dispose()


async def test_who_does_not_want_tokens_any_more_does_not_wait_for_them(settings: Settings, provider_seq: int) -> None:
    engine = create_engine(settings, role="test", pool_size=1)
    rate = Rate(engine, provider_seq, 0.001)
    wanted = True
    waiting = [asyncio.create_task(rate.take(1, is_wanted=lambda: wanted)) for _ in range(100)]
    await asyncio.sleep(0.1)

    wanted = False

    async with asyncio.timeout(10):  # each would wait for half a second, in turn
        assert await asyncio.gather(*waiting) == [0] * 100
    await engine.dispose()
