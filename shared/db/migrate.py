"""Brings a database to the newest migration, and tells whether it is there."""

from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine
from sqlalchemy.exc import IntegrityError

from shared.db.queries.partitions import PARTITION_SQL, partitions_ahead
from shared.errors import ConfigurationError

MIGRATIONS = Path(__file__).parent / "migrations"


def _configuration(database_url: str) -> Config:
    configuration = Config()
    configuration.set_main_option("script_location", str(MIGRATIONS))
    configuration.attributes["database_url"] = database_url
    return configuration


def upgrade(database_url: str, revision: str = "head") -> None:
    """Run the migrations and create the ledger partitions of the near future. Safe to repeat, also at once."""
    command.upgrade(_configuration(database_url), revision)
    if revision != "head":
        return
    engine = create_engine(database_url)
    try:
        with engine.connect() as connection:
            for partition in partitions_ahead(datetime.now(UTC)):
                # rows of its in the DEFAULT partition are in the way: the scheduler, which tries too, tells of them
                with suppress(IntegrityError), connection.begin():
                    connection.exec_driver_sql(PARTITION_SQL, partition.parameters())
    finally:
        engine.dispose()


def downgrade(database_url: str, revision: str) -> None:
    command.downgrade(_configuration(database_url), revision)


def newest_revision() -> str:
    head = ScriptDirectory.from_config(_configuration("")).get_current_head()
    assert head is not None
    return head


def current_revision(database_url: str) -> str | None:
    """The migration the database is at; None when it holds no Tidings tables.

    Raises ConfigurationError when it is one that cannot keep every text: who would use it is told at the start.
    """
    engine = create_engine(database_url, connect_args={"connect_timeout": 5, "client_encoding": "utf8"})
    try:
        with engine.connect() as connection:
            encoding = connection.exec_driver_sql("SHOW server_encoding").scalar_one()
            if encoding != "UTF8":
                raise ConfigurationError(
                    f"The database keeps texts in {encoding}, which lacks most of the world's characters.",
                    hint="Make one with CREATE DATABASE ... ENCODING 'UTF8' TEMPLATE template0, and name it in"
                    " TIDINGS_DATABASE_URL.",
                )
            return MigrationContext.configure(connection).get_current_revision()
    finally:
        engine.dispose()
