"""Housekeeping: ledger partitions ahead of time, and what deleted topics leave behind."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
from structlog.testing import capture_logs

from scheduler.context import TickContext
from scheduler.retention import keep_partitions_ahead, purge_topics
from shared.db.queries import purge
from shared.db.queries.partitions import PARTITIONED_TABLES, partitions_ahead
from shared.db.session import create_engine
from shared.ids import run_floor
from shared.queue.rings import Ringer
from shared.settings import Settings
from tests.factories import Factory

STRAY = (
    "INSERT INTO deliveries (run, target_seq, project_seq, state, attempts, resends) VALUES (%s, 1, 1, 'sent', 1, 0)"
    " RETURNING tableoid::regclass::text"
)


@pytest.fixture
async def context(settings: Settings) -> AsyncIterator[TickContext]:
    engine = create_engine(settings, role="test")
    yield TickContext(engine, settings, Ringer(settings))
    await engine.dispose()


@pytest.fixture
def factory(settings: Settings) -> Factory:
    return Factory(settings)


def _ask(factory: Factory, question: str, *parameters: object) -> list[tuple[object, ...]]:
    with factory.connect() as connection:
        return connection.execute(question.encode(), parameters).fetchall()


def _partitions(factory: Factory) -> set[str]:
    rows = _ask(
        factory,
        "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent::regclass::text = ANY(%s)",
        list(PARTITIONED_TABLES),
    )
    return {str(name) for (name,) in rows}


def _drop_partitions(factory: Factory) -> None:
    """As if nothing had made any for months."""
    with factory.connect() as connection:
        for name in _partitions(factory):
            if not name.endswith("_default"):
                connection.execute(f"DROP TABLE {name}".encode())


def test_partitions_follow_each_other_without_a_gap_over_the_end_of_the_year() -> None:
    ahead = [
        partition
        for partition in partitions_ahead(datetime(2026, 11, 30, tzinfo=UTC))
        if partition.parent == "deliveries"
    ]

    assert [partition.name for partition in ahead] == [
        "deliveries_2026_11",
        "deliveries_2026_12",
        "deliveries_2027_01",
        "deliveries_2027_02",
    ]
    assert [partition.high for partition in ahead[:-1]] == [partition.low for partition in ahead[1:]]
    assert ahead[0].low == run_floor(int(datetime(2026, 11, 1, tzinfo=UTC).timestamp() * 1000))


async def test_partitions_of_the_coming_months_are_there_before_they_are_needed(
    context: TickContext, factory: Factory
) -> None:
    _drop_partitions(factory)

    await keep_partitions_ahead(context)
    await keep_partitions_ahead(context)

    assert _partitions(factory) >= {partition.name for partition in partitions_ahead(datetime.now(UTC))}
    ((run,),) = _ask(factory, "SELECT tidings_draw_run()")
    assert _ask(factory, STRAY, run) == [(f"deliveries_{datetime.now(UTC):%Y_%m}",)]


async def test_rows_without_a_partition_raise_an_alarm(context: TickContext, factory: Factory) -> None:
    assert _ask(factory, STRAY, 1) == [("deliveries_default",)]

    with capture_logs() as logs:
        await keep_partitions_ahead(context)

    assert [(entry["log_level"], entry["rows"]) for entry in logs] == [("error", 1)]


async def test_rows_that_stand_in_a_new_partition_s_way_keep_no_other_from_being_made(
    context: TickContext, factory: Factory
) -> None:
    _drop_partitions(factory)
    ((run,),) = _ask(factory, "SELECT tidings_draw_run()")
    assert _ask(factory, STRAY, run) == [("deliveries_default",)]

    with capture_logs() as logs:
        await keep_partitions_ahead(context)

    this_month = f"deliveries_{datetime.now(UTC):%Y_%m}"
    assert [(entry["rows"], entry["partitions_not_made"]) for entry in logs] == [(1, [this_month])]
    assert _partitions(factory) >= {p.name for p in partitions_ahead(datetime.now(UTC))} - {this_month}


async def test_a_deleted_topic_loses_its_subscribers_in_pages_and_then_goes(
    context: TickContext, factory: Factory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(purge, "PAGE", 2)
    factory.audience(5, channel="push")
    kept, deleted = factory.topic("kept"), factory.topic("deleted")
    for topic in (kept, deleted):
        factory.subscribe(topic)
    _ask(factory, "UPDATE topics SET deleted_at = now() - interval '2 minutes' WHERE seq = %s RETURNING seq", deleted)

    await purge_topics(context)

    assert _ask(factory, "SELECT seq FROM topics") == [(kept,)]
    assert _ask(factory, "SELECT topic_seq, count(*) FROM subscribers GROUP BY 1") == [(kept, 5)]


async def test_a_topic_deleted_just_now_keeps_its_row_for_a_message_that_is_being_planned(
    context: TickContext, factory: Factory
) -> None:
    topic = factory.topic("fresh")
    _ask(factory, "UPDATE topics SET deleted_at = now() WHERE seq = %s RETURNING seq", topic)

    await purge_topics(context)

    assert _ask(factory, "SELECT seq FROM topics") == [(topic,)]
