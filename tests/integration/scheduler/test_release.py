"""Release: scheduled messages become due once, by the database's clock, whoever else is after them."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from shared.db.queries.release import Released, release_due_messages
from shared.db.session import create_engine, hot_transaction
from shared.settings import Settings
from tests.factories import Factory

TIME_TO_LIVE_SECONDS = 3_600.0

# what a PATCH does to the row it has judged (shared/db/queries/accept.py)
RESCHEDULE = (
    "UPDATE messages SET scheduled_at = now() + interval '1 hour', version = version + 1"
    " WHERE version = 1 AND status IN ('draft', 'scheduled') AND deleted_at IS NULL"
    " AND (scheduled_at IS NULL OR scheduled_at > now()) RETURNING version"
)

DELETE = (
    "UPDATE messages SET deleted_at = now() WHERE deleted_at IS NULL"
    " AND NOT (status = 'scheduled' AND scheduled_at <= now()) RETURNING status"
)


@dataclass(slots=True)
class Calendar:
    factory: Factory
    engine: AsyncEngine

    def schedule(self, message_id: str, *, due_in: str, status: str = "scheduled") -> None:
        self.ask(
            "INSERT INTO messages (project_seq, id, channel, status, lane, data, topics, users, targets, scheduled_at)"
            " VALUES (%s, %s, 'push', %s, 'bulk', '{}', '{}', '{}', '{}', now() + %s::interval) RETURNING id",
            self.factory.project_seq,
            message_id,
            status,
            due_in,
        )

    def ask(self, question: str, *parameters: object) -> list[tuple[object, ...]]:
        with self.factory.connect() as connection:
            return connection.execute(question.encode(), parameters).fetchall()

    async def release(self, *, limit: int = 500) -> Released:
        async with hot_transaction(self.engine) as connection:
            return await release_due_messages(connection, time_to_live_seconds=TIME_TO_LIVE_SECONDS, limit=limit)

    def statuses(self) -> dict[object, object]:
        return dict(self.ask("SELECT id, status FROM messages"))  # type: ignore[arg-type]  # two columns


@pytest.fixture
async def calendar(settings: Settings) -> AsyncIterator[Calendar]:
    engine = create_engine(settings, role="test")
    yield Calendar(Factory(settings), engine)
    await engine.dispose()


async def test_only_what_is_scheduled_and_due_is_released(calendar: Calendar) -> None:
    calendar.schedule("due", due_in="-1 second")
    calendar.schedule("early", due_in="1 hour")
    calendar.schedule("draft", due_in="-1 second", status="draft")
    calendar.schedule("deleted", due_in="-1 second")
    calendar.ask("UPDATE messages SET deleted_at = now() WHERE id = 'deleted' RETURNING id")

    released = await calendar.release()

    assert released.released == 1
    assert 1 <= released.latest_seconds < 60
    assert calendar.statuses() == {
        "due": "processing",
        "early": "scheduled",
        "draft": "draft",
        "deleted": "scheduled",
    }


async def test_a_released_message_has_a_run_that_is_due_for_fan_out(calendar: Calendar) -> None:
    calendar.schedule("due", due_in="-1 second")

    await calendar.release()

    assert calendar.ask(
        "SELECT version, batches_left, fan_outs.due_at <= now(), expires_at > now() + interval '59 minutes'"
        " FROM messages JOIN message_progress USING (run) JOIN fan_outs USING (run)"
    ) == [(2, 1, True, True)]


async def test_the_time_to_live_of_a_late_message_begins_when_it_is_released(calendar: Calendar) -> None:
    calendar.schedule("late", due_in="-3 days")

    assert (await calendar.release()).latest_seconds > 250_000

    assert calendar.ask("SELECT expires_at > now() FROM messages") == [(True,)]


async def test_many_due_messages_are_released_in_pages_oldest_first(calendar: Calendar) -> None:
    for number in range(5):
        calendar.schedule(f"m{number}", due_in=f"-{number + 1} minutes")

    released = [(await calendar.release(limit=2)).released for _ in range(4)]

    assert released == [2, 2, 1, 0]
    assert [message_id for (message_id,) in calendar.ask("SELECT id FROM messages ORDER BY updated_at, id")] == [
        "m3",
        "m4",
        "m1",
        "m2",
        "m0",
    ]


async def test_several_schedulers_at_once_release_each_message_once(calendar: Calendar) -> None:
    for number in range(20):
        calendar.schedule(f"m{number}", due_in="-1 second")

    released = await asyncio.gather(*(calendar.release(limit=7) for _ in range(4)))

    assert sum(one.released for one in released) == 20
    assert calendar.ask("SELECT count(*), count(DISTINCT run), max(version) FROM messages") == [(20, 20, 2)]
    assert calendar.ask("SELECT count(*) FROM fan_outs") == [(20,)]


async def test_a_message_that_is_being_rescheduled_is_left_to_the_caller(calendar: Calendar) -> None:
    calendar.schedule("m", due_in="0.7 seconds")
    with calendar.factory.connect() as connection, connection.transaction():
        assert connection.execute(RESCHEDULE).fetchall() == [(2,)]
        await asyncio.sleep(0.8)
        assert (await calendar.release()).released == 0

    assert (await calendar.release()).released == 0
    assert calendar.statuses() == {"m": "scheduled"}


async def test_a_message_whose_time_has_come_can_no_longer_be_rescheduled(calendar: Calendar) -> None:
    calendar.schedule("m", due_in="-1 second")

    assert calendar.ask(RESCHEDULE) == []

    assert (await calendar.release()).released == 1
    assert calendar.ask(RESCHEDULE) == []


async def test_a_due_message_cannot_be_deleted_until_it_is_released(calendar: Calendar) -> None:
    calendar.schedule("m", due_in="-1 second")
    assert calendar.ask(DELETE) == []

    await calendar.release()

    assert calendar.ask(DELETE) == [("processing",)]


async def test_a_message_that_is_being_deleted_is_not_released(calendar: Calendar) -> None:
    calendar.schedule("m", due_in="0.7 seconds")
    with calendar.factory.connect() as connection, connection.transaction():
        assert connection.execute(DELETE).fetchall() == [("scheduled",)]
        await asyncio.sleep(0.8)
        assert (await calendar.release()).released == 0

    assert (await calendar.release()).released == 0
