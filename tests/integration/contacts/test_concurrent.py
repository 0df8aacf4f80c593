"""Imports beside each other and beside other writers: nothing doubled, nothing lost, totals exact."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psycopg
import pytest

from shared.db.queries.contacts import run
from shared.db.session import LOCK_TIMEOUT_MS, create_engine
from shared.domain.contacts.progress import ImportProgress, ImportState
from tests.integration.contacts.conftest import LEFT_BEHIND, Desk, Rows, people
from tests.integration.contacts.test_resume import Stopped
from tests.processes import wait_until


async def test_two_files_with_the_same_people(desk: Desk) -> None:
    """Overlapping users and topics, in opposite order."""
    forwards = desk.file(*people(range(60), topics="news;sport"), name="forwards.csv")
    backwards = desk.file(*people(range(79, 19, -1), topics="sport;offers"), name="backwards.csv")

    first, second = await asyncio.gather(desk.bring_in(forwards, page_rows=7), desk.bring_in(backwards, page_rows=11))

    holdings = desk.holdings()  # asserts that totals are exact
    assert len(holdings["users"]) == 80
    assert len(holdings["subscriptions"]) == 2 * (60 + 80 + 60)
    assert first.users_created + second.users_created == 80
    assert first.subscriptions_created + second.subscriptions_created == len(holdings["subscriptions"])
    assert first.bad_total + second.bad_total == 0


async def test_one_file_imported_by_several_at_once(desk: Desk) -> None:
    """They share the work: each row is counted once."""
    file = desk.file(*people(range(60)))
    done = await asyncio.gather(*(desk.bring_in(file, page_rows=7) for _ in range(3)))
    assert {progress.state for progress in done} == {ImportState.FINISHED}
    assert desk.ask("SELECT rows_total, users_created, passes FROM contact_imports") == [(60, 60, 1)]
    assert len(desk.holdings()["subscriptions"]) == 120


@pytest.mark.parametrize("pages_before", [1, 2, 3, 4, 5])  # three that stage, two that merge
async def test_a_slow_import_that_others_have_overtaken_twice(desk: Desk, pages_before: int) -> None:
    """One of them finished the file, the other has begun it again and stopped: no row of its pass is left out."""
    file = desk.file(*people(range(19)), "user-19,Nobody,broken@,,news")
    stopped: list[BaseException | None] = []

    async def overtake() -> None:
        engine = create_engine(desk.factory.settings, role="other")
        others = Desk(desk.factory, engine, desk.directory)
        await others.bring_in(file)
        with pytest.raises(Stopped) as stop:
            await others.bring_in(file, page_rows=7, report=stop_at_once)
        stopped.append(stop.value)
        await engine.dispose()

    def stop_at_once(_progress: ImportProgress, _read_bytes: int) -> None:
        raise Stopped

    pages: list[int] = []

    def let_others_pass(progress: ImportProgress, _read_bytes: int) -> None:
        pages.append(progress.staged_to)
        if len(pages) == pages_before:
            overtaking = threading.Thread(target=lambda: asyncio.run(overtake()))
            overtaking.start()
            overtaking.join()

    done = await desk.bring_in(file, page_rows=7, report=let_others_pass)

    assert len(stopped) == 1
    assert (done.state, done.rows_total, done.bad_total, done.is_repeated) == (ImportState.FINISHED, 20, 1, True)
    assert list(await desk.faults(done)) == [21]
    assert desk.ask(LEFT_BEHIND) == []
    assert len(desk.holdings()["users"]) == 19


async def test_an_import_whose_row_is_held_for_long(desk: Desk) -> None:
    """By one that was killed, whose last page Postgres still writes: whoever repeats it waits."""
    file = desk.file(*people(range(5)))
    await desk.bring_in(file)
    async with someone_else(desk) as other:
        await other.execute("SELECT FROM contact_imports FOR UPDATE")
        repeating = asyncio.create_task(desk.bring_in(file))
        await until_it_waits(desk)
        await asyncio.wait({repeating}, timeout=LOCK_TIMEOUT_MS / 1000 + 0.5)
        await other.rollback()

    assert (await repeating).state is ImportState.FINISHED


async def test_an_address_taken_while_its_page_is_merged(desk: Desk) -> None:
    """Planned as free, found taken when it is written: the page is planned again."""
    async with someone_else(desk) as other:
        await other.execute("INSERT INTO users (project_seq, id) VALUES (%s, 'first')", [desk.factory.project_seq])
        await other.execute(
            "INSERT INTO targets (project_seq, id, user_seq, channel, identifier)"
            " SELECT project_seq, 't', seq, 'email', 'anna@example.com' FROM users WHERE id = 'first'"
        )
        importing = asyncio.create_task(
            desk.bring_in(desk.file("user_id,email,topics", "anna,anna@example.com,news", "bob,bob@example.com,news"))
        )
        await until_it_waits(desk)
        await other.commit()

    done = await importing
    assert list(await desk.faults(done)) == [2]
    assert desk.ask("SELECT id FROM users ORDER BY id") == [("bob",), ("first",)]
    assert (done.users_created, done.targets_created, done.subscriptions_created) == (1, 1, 1)


async def test_a_target_deleted_while_its_page_is_merged(desk: Desk) -> None:
    """Planned as existing, found gone when it is subscribed: the page is planned again."""
    await desk.bring_in(desk.file("user_id,email", "anna,anna@example.com"))
    async with someone_else(desk) as other:
        await other.execute("DELETE FROM targets")
        importing = asyncio.create_task(desk.bring_in(desk.file("user_id,email,topics", "anna,anna@example.com,news")))
        await until_it_waits(desk)
        await other.commit()

    done = await importing
    assert (done.targets_created, done.subscriptions_created) == (1, 1)
    assert desk.holdings()["subscriptions"] == [("news", "anna@example.com", "email")]


async def test_a_target_given_another_address_while_its_page_is_merged(desk: Desk) -> None:
    """It is no longer who is to be subscribed."""
    await desk.bring_in(desk.file("user_id,email", "anna,anna@example.com"))
    async with someone_else(desk) as other:
        await other.execute("UPDATE targets SET identifier = 'new@example.com'")
        importing = asyncio.create_task(desk.bring_in(desk.file("user_id,email,topics", "anna,anna@example.com,news")))
        await until_it_waits(desk)
        await other.commit()

    assert (await importing).targets_created == 1
    assert desk.holdings()["subscriptions"] == [("news", "anna@example.com", "email")]


async def test_a_subscriber_created_while_its_page_is_merged(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both lock the topic before they write subscribers: neither waits for the other in a circle."""
    monkeypatch.setattr(run, "MAX_PAGE_TRIES", 1)  # a deadlock would be survived by trying again
    desk.factory.audience(2, channel="email")
    topic = desk.factory.topic("news")
    async with someone_else(desk) as other:
        await other.execute("SELECT FROM topics FOR NO KEY UPDATE")
        importing = asyncio.create_task(
            desk.bring_in(desk.file("email,topics", "person1@example.com,news", "person2@example.com,news"))
        )
        await until_it_waits(desk)
        await other.execute(
            "INSERT INTO subscribers (project_seq, id, topic_seq, target_seq, channel)"
            " SELECT project_seq, 's', %s, seq, channel FROM targets WHERE id = 'person-1'",
            [topic],
        )
        await other.execute("UPDATE topics SET email_total = email_total + 1")
        await other.commit()

    assert (await importing).subscriptions_created == 1
    assert desk.ask("SELECT email_total FROM topics") == [(2,)]
    assert len(desk.holdings()["subscriptions"]) == 2


@asynccontextmanager
async def someone_else(desk: Desk) -> AsyncIterator[psycopg.AsyncConnection[tuple[object, ...]]]:
    """Another writer in the middle of a transaction."""
    url = desk.factory.settings.require_database_url()
    async with await psycopg.AsyncConnection.connect(url) as connection:
        yield connection


async def until_it_waits(desk: Desk) -> None:
    def blocked() -> Rows:
        return desk.ask(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database()"
            " AND application_name = 'tidings-test' AND wait_event_type = 'Lock'"
        )

    await asyncio.to_thread(wait_until, lambda: bool(blocked()))
