"""The API on loopback, as in tests/integration/api, over a database of these tests' own."""

import base64
import secrets
from collections.abc import Iterator

import psycopg
import pytest
from pydantic import SecretStr

from shared.settings import Settings
from tests.conftest import Engines
from tests.integration.api.conftest import caller, running_api, stranger

__all__ = ["caller", "running_api", "stranger"]  # fixtures

DATABASE = "test_security"


@pytest.fixture(scope="session")
def api_settings(engines: Engines, migrated_template: str) -> Iterator[Settings]:
    with psycopg.connect(engines.postgres.url_of("postgres"), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {DATABASE} TEMPLATE {migrated_template}".encode())
    yield Settings(
        database_url=engines.postgres.url_of(DATABASE),
        broker_url=engines.redis.url,
        secret_keys=SecretStr(f"test:{base64.b64encode(secrets.token_bytes(32)).decode()}"),
        port=0,
        key_cache_seconds=0,
        allowed_origins="app.example.com, https://exact.example.com:8443",
    )
    with psycopg.connect(engines.postgres.url_of("postgres"), autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {DATABASE} WITH (FORCE)".encode())
