"""A process that stands still in the middle of a COPY keeps its locks only for a time."""

import asyncio
from collections.abc import AsyncIterator

import psycopg
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from shared.db.queries.sessions import end_silent_copies
from shared.db.session import HotConnection, create_engine, hot_statements, hot_transaction
from shared.settings import Settings

BATCH = (
    "INSERT INTO batches (run, project_seq, message_seq, queue, provider_seq, targets)"
    " VALUES (1, 1, 1, 'push.fcm.bulk', 1, '{1}')"
)


@pytest.fixture
async def sweep(settings: Settings) -> AsyncIterator[HotConnection]:
    engine = create_engine(settings, role="test")
    async with hot_statements(engine) as connection:
        yield connection
    await engine.dispose()


@pytest.fixture
async def engine(settings: Settings) -> AsyncIterator[AsyncEngine]:
    """Of the process that is looked at."""
    engine = create_engine(settings, role="test")
    yield engine
    await engine.dispose()


async def test_a_session_that_stands_still_in_a_copy_is_ended(sweep: HotConnection, engine: AsyncEngine) -> None:
    await sweep.execute(BATCH)
    with pytest.raises(psycopg.OperationalError):  # noqa: PT012  # wherever it notices
        async with hot_transaction(engine) as frozen, frozen.cursor() as cursor:
            await cursor.execute("SELECT FROM batches FOR UPDATE")
            async with cursor.copy("COPY fan_outs (run, project_seq, message_seq) FROM STDIN") as copy:
                await copy.write_row((1, 1, 1))
                assert await end_silent_copies(sweep, after_seconds=60.0) == 0
                await asyncio.sleep(0.3)
                assert await end_silent_copies(sweep, after_seconds=0.2) == 1
                async with asyncio.timeout(10):
                    while await _is_locked(sweep):  # noqa: ASYNC110  # Postgres sends no event
                        await asyncio.sleep(0.01)


async def test_a_session_that_works_is_left_alone(sweep: HotConnection, engine: AsyncEngine) -> None:
    async with hot_statements(engine) as busy:
        working = asyncio.create_task(busy.execute("SELECT pg_sleep(0.6)"))
        await asyncio.sleep(0.3)
        assert await end_silent_copies(sweep, after_seconds=0.2) == 0
        await working


async def _is_locked(connection: HotConnection) -> bool:
    cursor = await connection.execute("SELECT FROM batches FOR UPDATE SKIP LOCKED")
    return await cursor.fetchall() == []
