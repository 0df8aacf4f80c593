"""Engines outlive the connections that Postgres closes."""

import psycopg
from sqlalchemy import text

from shared.db.session import create_engine, create_sessions, hot_transaction
from shared.settings import Settings


def end_all(settings: Settings) -> int:
    """As a restart does, to everybody who is called `tidings-test`; how many."""
    with psycopg.connect(settings.require_database_url(), autocommit=True) as connection:
        return len(
            connection.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
                " WHERE application_name = 'tidings-test' AND datname = current_database()"
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
