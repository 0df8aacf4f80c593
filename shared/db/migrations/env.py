"""Alembic's door: one connection, one migration at a time, and never a long wait on somebody's lock."""

import time

from alembic import context
from sqlalchemy import Connection, create_engine, pool, text

from shared.db import models  # noqa: F401  # fills the metadata
from shared.db.base import Base

MIGRATION_LOCK = 7_310_579_662  # any number, the same for every process that migrates
ASK_AGAIN_SECONDS = 0.2


def run() -> None:
    engine = create_engine(
        context.config.attributes["database_url"],
        poolclass=pool.NullPool,
        connect_args={"connect_timeout": 5, "application_name": "tidings-migrate"},
    )
    with engine.connect() as connection:
        _take_turn(connection)
        connection.execute(text("SET lock_timeout = '5s'"))
        connection.execute(text("SET statement_timeout = '15min'"))
        connection.commit()
        context.configure(connection=connection, target_metadata=Base.metadata, transaction_per_migration=True)
        with context.begin_transaction():
            context.run_migrations()


def _take_turn(connection: Connection) -> None:
    """Asks again and again: who waited for the lock would do so within a statement, and an index that is built
    concurrently waits for every statement that is older than itself. That were a deadlock.
    """
    while not connection.execute(text("SELECT pg_try_advisory_lock(:key)"), {"key": MIGRATION_LOCK}).scalar_one():
        connection.commit()
        time.sleep(ASK_AGAIN_SECONDS)


run()
