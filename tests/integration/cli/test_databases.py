"""Databases that cannot be used, named before anything is done in them."""

import json
from collections.abc import Iterator

import psycopg
import pytest

from tests.conftest import Engines
from tests.integration.cli.conftest import Tidings

pytestmark = pytest.mark.usefixtures("installation")

FAILED, USAGE = 1, 2


@pytest.fixture(params=["SQL_ASCII", "LATIN1"])
def encoding(request: pytest.FixtureRequest, engines: Engines, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The database of the test keeps its texts in this."""
    with psycopg.connect(engines.postgres.url_of("postgres"), autocommit=True) as connection:
        connection.execute(
            f"CREATE DATABASE test_encoding ENCODING '{request.param}' LOCALE 'C' LOCALE_PROVIDER libc"
            " TEMPLATE template0".encode()
        )
        monkeypatch.setenv("TIDINGS_DATABASE_URL", engines.postgres.url_of("test_encoding"))
        yield request.param
        connection.execute("DROP DATABASE test_encoding WITH (FORCE)")


def test_a_database_that_lacks_characters_is_refused(tidings: Tidings, encoding: str) -> None:
    migrated = tidings("migrate")
    assert f"keeps texts in {encoding}" in migrated.stderr
    assert "ENCODING 'UTF8'" in migrated.stderr
    assert migrated.status == USAGE

    examined = tidings("doctor", "--json")
    findings = {finding["check"]: finding for finding in json.loads(examined.stdout)}
    assert (findings["migrations"]["state"], examined.status) == ("wrong", FAILED)
    assert encoding in findings["migrations"]["detail"]
