"""Housekeeping in pages: what it removes, what follows from that, and what a death in the middle leaves."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

import psycopg
import pytest
import sqlalchemy.exc

from scheduler.context import TickContext
from scheduler.retention import purge_audit_log, purge_sessions, purge_targets, purge_topics, purge_users
from shared.db.queries import purge
from shared.db.queries.purge import purge_user
from shared.db.session import create_engine, hot_transaction
from shared.queue.rings import Ringer
from shared.settings import Settings
from tests.factories import Factory


@pytest.fixture
async def context(settings: Settings) -> AsyncIterator[TickContext]:
    engine = create_engine(settings, role="test")
    yield TickContext(engine, settings, Ringer(settings))
    await engine.dispose()


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PAGE", "TARGETS_PAGE", "SESSIONS_PAGE"):
        monkeypatch.setattr(purge, name, 2)
    monkeypatch.setattr("scheduler.retention.PAGE", 2)


@pytest.fixture
def people(settings: Settings) -> Factory:
    """Seven people with a device each, all in `news`, the first three in `offers` as well."""
    factory = Factory(settings)
    factory.audience(7, channel="push")
    news, offers = factory.topic("news"), factory.topic("offers")
    factory.subscribe(offers, last=3)
    factory.subscribe(news)
    do(factory, "UPDATE topics SET push_total = (SELECT count(*) FROM subscribers WHERE topic_seq = topics.seq)")
    return factory


def ask(factory: Factory, question: str, *parameters: object) -> list[tuple[object, ...]]:
    with factory.connect() as connection:
        return connection.execute(question.encode(), parameters).fetchall()


def do(factory: Factory, statement: str, *parameters: object) -> None:
    with factory.connect() as connection:
        connection.execute(statement.encode(), parameters)


def totals(factory: Factory) -> dict[object, object]:
    """What topics say, which must be what they have."""
    ((wrong,),) = ask(
        factory,
        "SELECT count(*) FROM topics WHERE deleted_at IS NULL AND push_total <>"
        " (SELECT count(*) FROM subscribers WHERE topic_seq = topics.seq)",
    )
    assert wrong == 0
    return dict(ask(factory, "SELECT id, push_total FROM topics WHERE deleted_at IS NULL"))  # type: ignore[arg-type]


# What makes five of the seven people, or as many other rows, due


def let_targets_die(factory: Factory) -> None:
    """Of all but the first two; that of the third just now."""
    do(factory, "UPDATE targets SET expired = true WHERE id NOT IN ('person-1', 'person-2')")
    do(factory, "UPDATE targets SET updated_at = now() - interval '8 days' WHERE id <> 'person-3'")


def let_sessions_end(factory: Factory) -> None:
    """Everybody has a session that registered the device; those of the first two go on."""
    do(
        factory,
        "WITH sessions AS (INSERT INTO user_sessions (project_seq, id, user_seq, secret_hash, provider, expires_at)"
        " SELECT project_seq, id, seq, decode(md5(id), 'hex'), 'email',"
        " now() + CASE WHEN id IN ('person-1', 'person-2') THEN 1 ELSE -1 END * interval '1 hour'"
        " FROM users RETURNING seq, user_seq)"
        " UPDATE targets SET session_seq = sessions.seq FROM sessions WHERE sessions.user_seq = targets.user_seq",
    )


def break_off_a_deletion(factory: Factory) -> None:
    """Of person-7, who has the devices of all but the first two, each with a session."""
    do(
        factory,
        "UPDATE targets SET user_seq = (SELECT seq FROM users WHERE id = 'person-7')"
        " WHERE id NOT IN ('person-1', 'person-2')",
    )
    do(factory, "UPDATE users SET deleted_at = now() - interval '2 minutes' WHERE id = 'person-7'")
    do(
        factory,
        "INSERT INTO user_sessions (project_seq, id, user_seq, secret_hash, provider, expires_at)"
        " SELECT users.project_seq, 's' || n, users.seq, decode(md5(n::text), 'hex'), 'email', now() + interval '1 day'"
        " FROM users, generate_series(1, 5) AS n WHERE users.id = 'person-7'",
    )
    do(factory, "UPDATE targets SET session_seq = (SELECT min(seq) FROM user_sessions) WHERE id = 'person-7'")


def delete_a_topic(factory: Factory) -> None:
    do(factory, "UPDATE topics SET deleted_at = now() - interval '2 minutes' WHERE id = 'news'")


def write_a_log(factory: Factory) -> None:
    """Seven old entries and a new one."""
    do(
        factory,
        "INSERT INTO audit_log (project_seq, resource, resource_seq, resource_id, event, user_type, created_at)"
        " SELECT 1, 'topic', 1, 'old', 'topic.update', 'guest', now() - interval '91 days' FROM generate_series(1, 7)"
        " UNION ALL SELECT 1, 'topic', 1, 'new', 'topic.update', 'guest', now()",
    )


async def test_dead_targets_leave_with_their_subscriptions(context: TickContext, people: Factory) -> None:
    let_targets_die(people)
    await purge_targets(context)
    assert ask(people, "SELECT id FROM targets ORDER BY seq") == [("person-1",), ("person-2",), ("person-3",)]
    assert totals(people) == {"news": 3, "offers": 3}


async def test_sessions_that_are_over_take_their_devices_along(context: TickContext, people: Factory) -> None:
    let_sessions_end(people)
    await purge_sessions(context)
    assert ask(people, "SELECT id FROM user_sessions ORDER BY seq") == [("person-1",), ("person-2",)]
    assert ask(people, "SELECT id FROM targets ORDER BY seq") == [("person-1",), ("person-2",)]
    assert totals(people) == {"news": 2, "offers": 2}
    assert ask(people, "SELECT count(*) FROM users") == [(7,)]


async def test_many_devices_of_one_session_leave_in_pages(context: TickContext, people: Factory) -> None:
    let_sessions_end(people)
    do(people, "UPDATE targets SET session_seq = (SELECT min(seq) FROM user_sessions)")
    do(people, "UPDATE user_sessions SET expires_at = now() - interval '1 hour'")
    async with hot_transaction(context.engine) as connection:
        assert await purge.purge_expired_sessions(connection) == 2
    assert ask(people, "SELECT count(*) FROM targets") == [(5,)]
    await purge_sessions(context)
    assert (ask(people, "SELECT FROM targets"), ask(people, "SELECT FROM user_sessions")) == ([], [])
    assert totals(people) == {"news": 0, "offers": 0}


async def test_a_session_that_has_just_ended_may_still_be_in_use(context: TickContext, people: Factory) -> None:
    let_sessions_end(people)
    do(people, "UPDATE user_sessions SET expires_at = now() - interval '30 s'")
    await purge_sessions(context)
    assert ask(people, "SELECT count(*) FROM user_sessions") == [(7,)]


async def test_a_large_user_is_deleted_in_pages(context: TickContext, people: Factory) -> None:
    break_off_a_deletion(people)
    ((user_seq,),) = ask(people, "SELECT seq FROM users WHERE id = 'person-7'")
    assert isinstance(user_seq, int)
    pages = 0
    is_gone = False
    while not is_gone:
        async with hot_transaction(context.engine) as connection:
            is_gone = await purge_user(connection, user_seq)
        pages += 1
        assert totals(people)
    assert pages == 5  # two of devices; with the last device a page of sessions, and two more of them
    async with hot_transaction(context.engine) as connection:
        assert await purge_user(connection, user_seq), "somebody else was faster"


async def test_a_deletion_that_was_broken_off_is_finished(context: TickContext, people: Factory) -> None:
    break_off_a_deletion(people)
    await purge_users(context)
    assert ask(people, "SELECT count(*) FROM users") == [(6,)]
    assert ask(people, "SELECT id FROM targets ORDER BY seq") == [("person-1",), ("person-2",)]
    assert ask(people, "SELECT FROM user_sessions") == []
    assert totals(people) == {"news": 2, "offers": 2}


async def test_a_deletion_that_goes_on_is_left_alone(context: TickContext, people: Factory) -> None:
    break_off_a_deletion(people)
    do(people, "UPDATE users SET deleted_at = now() WHERE deleted_at IS NOT NULL")
    await purge_users(context)
    assert ask(people, "SELECT count(*) FROM users") == [(7,)]


async def test_old_entries_of_the_log_are_forgotten(context: TickContext, people: Factory) -> None:
    write_a_log(people)
    await purge_audit_log(context)
    assert ask(people, "SELECT resource_id FROM audit_log") == [("new",)]


@dataclass(frozen=True, slots=True)
class Work:
    """What makes a job's work, a row of a later page, and what is left while there is some."""

    make_due: Callable[[Factory], None]
    job: Callable[[TickContext], Awaitable[None]]
    later_row: str
    left: str


LAST_TARGET = "targets WHERE id = 'person-7'"
LAST_SUBSCRIBER = "subscribers WHERE seq = (SELECT max(seq) FROM subscribers)"
WORKS = {
    "targets": Work(let_targets_die, purge_targets, LAST_TARGET, "targets WHERE expired AND id <> 'person-3'"),
    "sessions": Work(let_sessions_end, purge_sessions, LAST_TARGET, "user_sessions WHERE expires_at < now()"),
    "users": Work(break_off_a_deletion, purge_users, LAST_TARGET, "users WHERE deleted_at IS NOT NULL"),
    "topics": Work(delete_a_topic, purge_topics, LAST_SUBSCRIBER, "topics WHERE deleted_at IS NOT NULL"),
    "log": Work(write_a_log, purge_audit_log, "audit_log WHERE seq = 5", "audit_log WHERE resource_id = 'old'"),
}


@pytest.mark.parametrize("name", WORKS)
async def test_a_death_in_the_middle_leaves_whole_pages(context: TickContext, people: Factory, name: str) -> None:
    work = WORKS[name]
    work.make_due(people)

    with psycopg.connect(people.settings.require_database_url()) as somebody:
        somebody.execute(f"SELECT FROM {work.later_row} FOR UPDATE".encode())
        running = asyncio.ensure_future(work.job(context))
        await kill_whoever_waits(people)
        with pytest.raises((psycopg.OperationalError, sqlalchemy.exc.OperationalError)):
            await running

    assert ask(people, f"SELECT FROM {work.left}") != []
    assert totals(people)

    await work.job(context)
    assert ask(people, f"SELECT FROM {work.left}") == []
    assert totals(people)


async def kill_whoever_waits(factory: Factory) -> None:
    """As if the process had died there."""
    waiting = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    async with asyncio.timeout(5):
        while not ask(factory, waiting):  # noqa: ASYNC110  # Postgres sends no event
            await asyncio.sleep(0.005)
