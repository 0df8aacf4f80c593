"""Machines' clocks differ; what is stored, given or signed goes by the database's."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from shared.settings import Settings
from tests.integration.api.conftest import Caller, make_caller, run_api

HOURS_BEHIND = 2
PASSWORD = {"email": "ada@example.com", "password": "engine-no-1"}


@pytest.fixture
def caller(settings: Settings) -> Iterator[Caller]:
    """Of an API whose machine is two hours ahead of its database."""
    with psycopg.connect(settings.require_database_url(), autocommit=True) as connection:
        connection.execute("CREATE SCHEMA clock")
        connection.execute(
            "CREATE FUNCTION clock.now() RETURNS timestamptz STABLE LANGUAGE sql"
            f" AS $$ SELECT pg_catalog.now() - interval '{HOURS_BEHIND} hours' $$".encode()
        )
        name = connection.info.dbname
        connection.execute(f"ALTER DATABASE {name} SET search_path = clock, public, pg_catalog".encode())
    with run_api(settings.model_copy(update={"port": 0, "key_cache_seconds": 0})) as running:
        caller = make_caller(running)
        with caller.session:
            yield caller


def schedule(caller: Caller, at: datetime) -> int:
    body = {"messageId": "unique()", "title": "T", "users": ["ada"], "scheduledAt": at.isoformat()}
    return caller.post("/messaging/messages/push", body).status


def test_a_schedule_is_judged_by_the_clock_that_releases_it(caller: Caller) -> None:
    database_now = datetime.now(UTC) - timedelta(hours=HOURS_BEHIND)
    assert schedule(caller, database_now + timedelta(hours=1)) == 201  # past, says the API's machine
    assert schedule(caller, database_now - timedelta(minutes=1)) == 400


def test_sessions_and_tokens_last_as_long_as_they_should(caller: Caller) -> None:
    caller.create_user("ada", **PASSWORD)
    session = caller.create("/users/ada/sessions", {})
    ends_at = datetime.fromisoformat(session["expire"])
    wanted = datetime.now(UTC) - timedelta(hours=HOURS_BEHIND) + timedelta(seconds=31_536_000)
    assert abs(ends_at - wanted) < timedelta(minutes=5)

    def account(**headers: str) -> int:
        return caller.get("/account", headers={"X-Appwrite-Key": None, **headers}).status

    token = caller.create("/users/ada/jwts", {"duration": 900})["jwt"]
    assert account(**{"X-Appwrite-JWT": token}) == 200
    ended = caller.create("/users/ada/jwts", {"duration": 0})["jwt"]
    assert account(**{"X-Appwrite-JWT": ended}) == 401
