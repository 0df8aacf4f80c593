"""S6: nobody takes more than a share, by what is sent or by how often.

Sizes, depths, times and hostile input: tests/integration/api/test_hostile_input.py and test_connections.py.
"""

import asyncio
from collections.abc import AsyncIterator

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from api.quotas import Quotas
from shared.db.session import create_engine
from shared.settings import Settings
from tests.integration.api.conftest import Caller, RunningApi, make_caller, run_api


def limit(caller: Caller, table: str, calls: int) -> None:
    column = "seq" if table == "projects" else "project_seq"
    statement = f"UPDATE {table} SET calls_per_minute = {calls} WHERE {column} = %(project)s RETURNING seq"  # noqa: S608
    assert caller.rows(statement)


@pytest.mark.parametrize("table", ["api_keys", "projects"])
def test_a_key_that_has_made_its_calls_of_the_minute_is_told_when_to_come_again(
    caller: Caller, stranger: Caller, table: str
) -> None:
    limit(caller, table, 5)

    answers = [caller.get("/messaging/topics") for _ in range(12)]

    # the minute may end in between, once
    assert [answer.status for answer in answers].count(200) in range(5, 11)
    refused = [answer for answer in answers if answer.status != 200]
    assert {answer.refusal for answer in refused} == {(429, "general_rate_limit_exceeded")}
    assert all(0 < int(answer.headers["retry-after"]) <= 60 for answer in refused)
    assert stranger.get("/messaging/topics").status == 200, "another project's key"
    limit(caller, table, 0)
    assert caller.get("/messaging/topics").status == 200, "no limit"


def test_what_a_key_may_not_do_counts_too_and_guests_do_not(caller: Caller) -> None:
    limit(caller, "api_keys", 3)
    guest = {"X-Appwrite-Key": None}
    assert {caller.get("/ping", headers=guest).status for _ in range(12)} == {200}
    assert 429 in [caller.get("/messaging/topics/missing").status for _ in range(12)]


def test_windows_of_users_and_guests_say_when_to_come_again(caller: Caller) -> None:
    body = {"email": "nobody@example.com", "password": "wrong password"}
    answers = [caller.post("/account/sessions/email", body, headers={"X-Appwrite-Key": None}) for _ in range(21)]
    refused = [answer for answer in answers if answer.status == 429]
    assert refused
    assert all(int(answer.headers["retry-after"]) > 0 for answer in refused)


@pytest.fixture
async def engine(api_settings: Settings) -> AsyncIterator[AsyncEngine]:
    engine = create_engine(api_settings, role="test", pool_size=4)
    yield engine
    await engine.dispose()


async def spend(quotas: list[Quotas], seq: int, *, calls: int, tries: int) -> list[bool]:
    """Whether each try was let in; side by side, over these processes in turn."""
    spent = await asyncio.gather(*(quotas[number % len(quotas)].spend("key", seq, calls) for number in range(tries)))
    return [exceeded is None for exceeded in spent]


@pytest.mark.parametrize("calls", [1, 7, 150, 1_000])
async def test_processes_together_let_in_no_more_than_the_limit(engine: AsyncEngine, calls: int) -> None:
    quotas = [Quotas(engine) for _ in range(3)]
    let_in = (await spend(quotas, 10_000_000 + calls, calls=calls, tries=calls + 50)).count(True)
    assert 0.95 * calls <= let_in <= 2 * calls, "at most one minute ended meanwhile"
    assert let_in <= calls or let_in > calls + 5


async def test_without_the_database_a_process_lets_in_as_many_as_the_limit(settings: Settings) -> None:
    nowhere = settings.model_copy(update={"database_url": "postgresql://nobody@127.0.0.1:1/none"})
    engine = create_engine(nowhere, role="test")
    let_in = await spend([Quotas(engine)], 1, calls=10, tries=30)
    assert let_in.count(True) == 10
    await engine.dispose()


def test_the_settings_limit_keys_that_have_no_limit_of_their_own(running_api: RunningApi) -> None:
    settings = running_api.settings.model_copy(update={"key_calls_per_minute": 2})
    with run_api(settings) as running:
        caller = make_caller(running)
        with caller.session:
            assert 429 in [caller.get("/messaging/topics").status for _ in range(8)]
            limit(caller, "api_keys", 1_000)
            assert caller.get("/messaging/topics").status == 200
