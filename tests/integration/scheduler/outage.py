"""A database that is away, for tests of those who keep the time."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from shared.settings import Settings
from tests.conftest import Engines


@contextmanager
def database_away(engines: Engines, settings: Settings) -> Iterator[None]:
    """The test's database refuses and drops every connection."""
    name = settings.require_database_url().rpartition("/")[2].partition("?")[0]
    with psycopg.connect(engines.postgres.url_of("postgres"), autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false".encode())
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
        yield
        connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true".encode())
