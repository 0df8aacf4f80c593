"""Postgres and Redis for the measurements: the embedded engines as `tidings up` runs them, nothing made unsafe."""

import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql

from deploy.embedded import DataDirectory, EmbeddedPostgres, EmbeddedRedis
from tests.benchmarks.accounting import descendants


@dataclass(frozen=True, slots=True)
class Servers:
    directory: Path  # for logs and other files of the session; gone at its end
    postgres: EmbeddedPostgres
    redis: EmbeddedRedis
    pids: frozenset[int]  # of both engines: what they burn counts for whoever uses them

    def create_database(self, name: str) -> str:
        """The URL of a new, empty database."""
        with psycopg.connect(self.postgres.url, autocommit=True) as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        return self.postgres.url_of(name)

    @property
    def version(self) -> str:
        with psycopg.connect(self.postgres.url) as connection:
            return str(connection.info.parameter_status("server_version"))


@contextmanager
def running_servers() -> Iterator[Servers]:
    """Both engines on a directory of their own until the block ends; then both are gone."""
    directory = DataDirectory(Path(tempfile.gettempdir()) / f"tidings-bench-{secrets.token_hex(4)}")
    with directory:
        try:
            with EmbeddedPostgres(directory) as postgres, EmbeddedRedis(directory) as redis:
                mine = os.getpid()
                pids = frozenset(descendants([mine])) - {mine}
                yield Servers(directory.path, postgres, redis, pids)
        finally:
            directory.remove()
