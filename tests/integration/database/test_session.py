"""Engines outlive the connections that Postgres closes."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
import sqlalchemy.exc
from psycopg.pq import TransactionStatus
from sqlalchemy import event, text
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.util import greenlet_spawn

from shared.db.fair_pool import FairQueue
from shared.db.session import _has_ended, create_engine, create_sessions, hot_statements, hot_transaction
from shared.settings import Settings
from tests.processes import wait_until


def end_all(settings: Settings) -> int:
    """As a restart does, to everybody who is called `tidings-test`; how many."""
    with psycopg.connect(settings.require_database_url(), autocommit=True) as connection:
        return len(
            connection.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
                " WHERE application_name = 'tidings-test' AND datname = current_database()"
            ).fetchall()
        )


def count_connections(settings: Settings) -> int:
    with psycopg.connect(settings.require_database_url(), autocommit=True) as connection:
        return len(
            connection.execute(
                "SELECT FROM pg_stat_activity WHERE application_name = 'tidings-test' AND datname = current_database()"
            ).fetchall()
        )


async def test_connections_that_ended_while_idle_are_replaced_unnoticed(settings: Settings) -> None:
    engine = create_engine(settings, role="test", pool_size=3)
    sessions = create_sessions(engine)
    async with hot_transaction(engine) as first, hot_transaction(engine) as second, sessions() as session:
        for connection in (first, second):
            await connection.execute("SELECT 1")
        await session.execute(text("SELECT 1"))

    assert end_all(settings) == 3

    for _ in range(3):
        async with hot_transaction(engine) as connection:
            assert await (await connection.execute("SELECT 1")).fetchone() == (1,)
        async with sessions() as session:
            assert await session.scalar(text("SELECT 1")) == 1
    await engine.dispose()


async def test_what_is_in_use_when_its_siblings_are_lost_is_closed_when_it_comes_back(settings: Settings) -> None:
    engine = create_engine(settings, role="test", pool_size=2)
    async with hot_transaction(engine) as survivor:
        with pytest.raises(psycopg.OperationalError):  # noqa: PT012
            async with hot_transaction(engine) as lost:
                await lost.close()
                await lost.execute("SELECT 1")
        closed_while_in_use = survivor.closed
    assert (closed_while_in_use, survivor.closed) == (False, True)
    async with hot_transaction(engine) as connection:
        assert await (await connection.execute("SELECT 1")).fetchone() == (1,)
    await engine.dispose()


async def test_no_connection_outlives_its_engine_whenever_its_callers_are_cancelled(settings: Settings) -> None:
    engine = create_engine(settings, role="test", pool_size=4)
    sessions = create_sessions(engine)
    made: list[psycopg.AsyncConnection[Any]] = []

    @event.listens_for(engine.sync_engine, "connect")
    def note(dbapi_connection: Any, _record: object) -> None:
        made.append(dbapi_connection.driver_connection)

    async def ask(way: int) -> None:
        if way == 0:
            async with hot_transaction(engine) as connection:
                await connection.execute("SELECT pg_sleep(0.005)")
        elif way == 1:
            async with hot_statements(engine) as connection:
                await connection.execute("SELECT pg_sleep(0.005)")
        else:
            async with sessions() as session:
                await session.execute(text("SELECT pg_sleep(0.005)"))

    for round_ in range(60):
        callers = [asyncio.create_task(ask(number % 3)) for number in range(12)]
        await asyncio.sleep(round_ / 2_000)
        for caller in callers[round_ % 2 :: 2]:
            caller.cancel()
        ends = await asyncio.gather(*callers, return_exceptions=True)
        assert [end for end in ends if end is not None and not isinstance(end, asyncio.CancelledError)] == []
    await engine.dispose()
    assert len(made) > 4
    assert [connection for connection in made if not connection.closed] == []


async def test_connections_that_end_as_soon_as_they_are_made_are_an_outage(settings: Settings) -> None:
    """As when an administrator makes room again and again. It is not for the caller to be blamed."""
    engine = create_engine(settings, role="test", pool_size=1)

    @event.listens_for(engine.sync_engine, "connect")
    def end_at_once(dbapi_connection: Any, _record: object) -> None:
        end_all(settings)
        wait_until(lambda: _has_ended(dbapi_connection.driver_connection))

    with pytest.raises(sqlalchemy.exc.OperationalError):
        async with hot_transaction(engine):
            pass
    with pytest.raises(sqlalchemy.exc.OperationalError):
        async with create_sessions(engine)() as session:
            await session.scalar(text("SELECT 1"))
    await engine.dispose()


async def is_in_transaction(engine: AsyncEngine) -> bool:
    async with hot_transaction(engine) as connection:
        await connection.execute("SELECT 1")
        return connection.info.transaction_status is TransactionStatus.INTRANS


async def test_a_statement_is_committed_at_once(settings: Settings) -> None:
    engine = create_engine(settings, role="test", pool_size=2)
    async with hot_statements(engine) as connection, hot_transaction(engine) as other:
        await connection.execute("CREATE TABLE committed_at_once ()")

        assert await (await other.execute("SELECT to_regclass('committed_at_once')::text")).fetchone() == (
            "committed_at_once",
        )
    await engine.dispose()


@pytest.mark.parametrize("how", ["ended", "failed", "cancelled"])
async def test_transactions_are_transactions_after_statements(settings: Settings, how: str) -> None:
    engine = create_engine(settings, role="test", pool_size=1)

    async def wait_long() -> None:
        async with hot_statements(engine) as connection:
            await connection.execute("SELECT pg_sleep(5)")

    if how == "ended":
        async with hot_statements(engine) as connection:
            await connection.execute("SELECT 1")
    elif how == "failed":
        with pytest.raises(psycopg.errors.UndefinedTable):
            async with hot_statements(engine) as connection:
                await connection.execute("SELECT FROM nowhere")
    else:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(wait_long(), timeout=0.2)

    assert await is_in_transaction(engine)
    await engine.dispose()


async def test_a_transaction_that_stood_still_is_a_lost_connection(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.db.session.IDLE_IN_TRANSACTION_TIMEOUT_MS", 50)
    engine = create_engine(settings, role="test", pool_size=1)

    async def stand_still(execute: Callable[[Any], Awaitable[object]], statement: object) -> None:
        await execute(statement)
        wait_until(lambda: count_connections(settings) == 0)
        await execute(statement)

    with pytest.raises(psycopg.OperationalError, match="idle-in-transaction"):
        async with hot_transaction(engine) as connection:
            await stand_still(connection.execute, "SELECT 1")
    with pytest.raises(sqlalchemy.exc.OperationalError, match="idle-in-transaction"):
        async with create_sessions(engine)() as session:
            await stand_still(session.execute, text("SELECT 1"))

    assert await is_in_transaction(engine)
    await engine.dispose()


async def test_moments_are_read_in_utc_whatever_the_servers_zone(settings: Settings) -> None:
    """The last hours of Python's calendar would lie beyond its end."""
    engine = create_engine(settings, role="test", pool_size=1)
    with psycopg.connect(settings.require_database_url(), autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {connection.info.dbname} SET timezone = 'Asia/Tokyo'".encode())

    async with create_sessions(engine)() as session:
        last = await session.scalar(text("SELECT timestamptz '9999-12-31 23:59:59+00'"))

    assert last == datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
    await engine.dispose()


async def test_texts_travel_as_they_are_whatever_the_environment_speaks(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    engine = create_engine(settings, role="test", pool_size=1)
    async with hot_statements(engine) as connection:
        assert await (await connection.execute("SELECT %s::text", ["10 €"])).fetchone() == ("10 €",)
    await engine.dispose()


async def test_connections_go_to_whoever_has_waited_longest(settings: Settings) -> None:
    engine = create_engine(settings, role="test", pool_size=1)
    served: list[int] = []

    async def ask(number: int) -> None:
        for _ in range(3):  # asks again in the turn of the loop in which it gives back
            async with hot_statements(engine) as connection:
                await connection.execute("SELECT 1")
                served.append(number)

    await asyncio.gather(*(ask(number) for number in range(4)))

    assert served == [0, 1, 2, 3] * 3
    await engine.dispose()


async def test_who_waited_in_vain_leaves_the_connection_to_the_next(settings: Settings) -> None:
    engine = create_engine(settings, role="test", pool_size=1)
    async with hot_statements(engine):
        impatient = asyncio.create_task(is_in_transaction(engine))
        patient = asyncio.create_task(is_in_transaction(engine))
        await asyncio.sleep(0.05)
        impatient.cancel()

    assert await patient
    assert impatient.cancelled()
    await engine.dispose()


async def test_who_waits_tries_for_itself_when_a_connection_cannot_be_made(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.db.session.POOL_TIMEOUT_SECONDS", 60.0)
    is_tried, may_fail = asyncio.Event(), asyncio.Event()

    async def hang_up(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        is_tried.set()
        await may_fail.wait()
        writer.close()

    server = await asyncio.start_server(hang_up, "127.0.0.1")
    nowhere = f"postgresql://nobody@127.0.0.1:{server.sockets[0].getsockname()[1]}/none?sslmode=disable"
    engine = create_engine(settings.model_copy(update={"database_url": nowhere}), role="test", pool_size=1)
    async with asyncio.timeout(10):
        callers = [asyncio.create_task(is_in_transaction(engine)) for _ in range(3)]
        await is_tried.wait()
        may_fail.set()
        failures = await asyncio.gather(*callers, return_exceptions=True)
    server.close()

    assert [type(failure) for failure in failures] == [psycopg.OperationalError] * 3
    await engine.dispose()


async def test_who_is_cancelled_when_it_has_just_come_passes_it_on() -> None:
    queue: FairQueue[str] = FairQueue()
    first, second = (asyncio.create_task(greenlet_spawn(queue.get, timeout=5.0)) for _ in range(2))
    await asyncio.sleep(0.05)

    queue.put_nowait("connection")
    first.cancel()

    assert await second == "connection"
    assert first.cancelled()


async def test_what_comes_to_who_is_cancelled_just_then_is_closed_where_nobody_keeps_it(settings: Settings) -> None:
    engine = create_engine(settings, role="test", pool_size=1)

    async def take() -> None:
        async with hot_transaction(engine):
            pytest.fail("It was cancelled.")

    async with hot_transaction(engine) as connection:
        waiting = asyncio.create_task(take())
        await asyncio.sleep(0.05)
    await engine.dispose()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert connection.closed


async def test_a_pool_that_is_busy_for_too_long_says_so(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.db.session.POOL_TIMEOUT_SECONDS", 0.1)
    engine = create_engine(settings, role="test", pool_size=1)
    async with hot_statements(engine):
        with pytest.raises(sqlalchemy.exc.TimeoutError):
            await is_in_transaction(engine)

    assert await is_in_transaction(engine)
    await engine.dispose()
