"""The statements whose speed rests on an index use it: due messages, a fan-out page, a claim, what retries join,
the oldest due work.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest

from shared.db.queries import claim as claim_queries
from shared.db.queries import fan_out as fan_out_queries
from shared.db.queries import record as record_queries
from shared.settings import Settings
from tests.factories import Factory
from workers.fan_out import MESSAGES_AT_ONCE

Connection = psycopg.Connection[tuple[object, ...]]

BLOCKS_OF_A_BATCH = 50
BLOCKS_OF_A_CLAIM = 400
BLOCKS_OF_A_PAGE = 12_000
"""Pages of 8 kB that the statement may touch. A walk over the million targets would touch at least 10,000 more."""


@pytest.fixture
def factory(settings: Settings) -> Factory:
    return Factory(settings)


@pytest.fixture
def connection(factory: Factory) -> Iterator[Connection]:
    with factory.connect() as connection:
        yield connection


def _explain(connection: Connection, statement: str, parameters: dict[str, object]) -> tuple[int, set[str], set[str]]:
    """8-kB pages touched by the statement, the tables it reads from end to end, and the indexes it uses."""
    row = connection.execute(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement}".encode(), parameters).fetchone()
    assert row is not None
    plan = row[0]
    assert isinstance(plan, list)
    top = plan[0]["Plan"]
    nodes = list(_nodes(top))
    scanned = {node["Relation Name"] for node in nodes if node["Node Type"] == "Seq Scan"}
    indexes = {node["Index Name"] for node in nodes if "Index Name" in node}
    return top["Shared Hit Blocks"] + top["Shared Read Blocks"], scanned, indexes


def _nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for child in node.get("Plans", ()):
        yield from _nodes(child)


def test_a_page_of_a_small_topic_does_not_walk_the_project(factory: Factory, connection: Connection) -> None:
    # a topic of 1,000 spread over a million targets of the project; foreign keys are not checked a million times
    connection.execute("SET session_replication_role = replica")
    topic = factory.topic("small")
    connection.execute("INSERT INTO users (project_seq, id) VALUES (%s, 'owner')", [factory.project_seq])
    connection.execute(
        "INSERT INTO targets (project_seq, id, user_seq, channel, identifier)"
        " SELECT %s, 't' || n, (SELECT seq FROM users), 'push', 'token' || n FROM generate_series(1, 1000000) AS n",
        [factory.project_seq],
    )
    connection.execute(
        "INSERT INTO subscribers (project_seq, id, topic_seq, target_seq, channel)"
        " SELECT project_seq, 's' || seq, %s, seq, channel FROM targets WHERE seq %% 1000 = 0",
        [topic],
    )
    # the planner cannot know how large a topic is: beside a large one it must not take a detour through that one
    connection.execute(
        "INSERT INTO subscribers (project_seq, id, topic_seq, target_seq, channel)"
        " SELECT project_seq, 'l' || seq, %s, seq, channel FROM targets WHERE seq %% 5 = 0",
        [factory.topic("large")],
    )
    connection.execute("RESET session_replication_role")
    run = factory.message("m", channel="push", topics=["small"])
    connection.execute("ANALYZE")
    connection.execute(fan_out_queries._START.encode(), [[run]])

    blocks, scanned, indexes = _explain(
        connection, fan_out_queries._PAGE, {"runs": [run], "channel": "push", "limit": 10_000}
    )

    assert not scanned & {"targets", "subscribers"}
    assert "subscribers_topic_seq_channel_target_seq_key" in indexes
    assert blocks < BLOCKS_OF_A_PAGE


@pytest.mark.parametrize("is_bulk", [False, True])
def test_messages_of_one_lane_are_found_behind_any_number_of_the_others(
    factory: Factory, connection: Connection, *, is_bulk: bool
) -> None:
    # 10 that are due beside 50,000 older ones of the other lanes
    connection.execute(
        "INSERT INTO fan_outs (run, project_seq, message_seq, is_bulk, due_at)"
        " SELECT n, %s, n, (n > 10) <> %s, now() - n * interval '1 second' FROM generate_series(1, 50010) AS n",
        [factory.project_seq, is_bulk],
    )
    connection.execute("ANALYZE")

    blocks, scanned, indexes = _explain(
        connection, fan_out_queries._LOCK_DUE, {"is_bulk": is_bulk, "limit": MESSAGES_AT_ONCE}
    )

    assert "fan_outs_lane_due_idx" in indexes
    assert "fan_outs" not in scanned
    assert blocks < BLOCKS_OF_A_CLAIM


@pytest.mark.parametrize(("turns", "room"), [(8, 8), (256, 120)], ids=["one of each", "several of each"])
def test_a_claim_reads_only_what_can_be_claimed(
    factory: Factory, connection: Connection, turns: int, room: int
) -> None:
    # 10,000 ready batches of 100 messages beside 40,000 paused ones
    connection.execute(
        "INSERT INTO batches (run, project_seq, message_seq, queue, provider_seq, state, targets)"
        " SELECT n %% 100, %s, n %% 100, 'push.fcm.bulk', 1, CASE WHEN n %% 5 = 0 THEN 'due' ELSE 'paused' END, '{1}'"
        " FROM generate_series(1, 50000) AS n",
        [factory.project_seq],
    )
    connection.execute("ANALYZE")

    blocks, scanned, indexes = _explain(
        connection,
        claim_queries._CLAIM,
        {
            "queue": "push.fcm.bulk",
            "after_project": 0,
            "after_message": 0,
            "after_provider": 0,
            "from_start": True,
            "turns": turns,
            "room": room,
            "of_account": turns,
            "most": claim_queries.MOST_BATCHES,
            "excluded": [2],
            "only": None,
            "steps": claim_queries.MOST_STEPS,
            "lease": 60.0,
            "worker": "test",
        },
    )

    assert "batches_turns_idx" in indexes
    assert "batches" not in scanned
    assert blocks < BLOCKS_OF_A_BATCH * room


def test_retries_find_what_they_join_among_any_number_of_batches(factory: Factory, connection: Connection) -> None:
    # 10,000 batches of 10 messages, 1,000 moments each
    connection.execute(
        "INSERT INTO batches (run, project_seq, message_seq, queue, provider_seq, targets, attempt, due_at)"
        " SELECT n %% 10, %s, n %% 10, 'push.fcm.bulk', 1, '{1}', 2, '2026-07-01 12:00Z'::timestamptz"
        " + (n / 10) * interval '1 second' FROM generate_series(0, 9999) AS n",
        [factory.project_seq],
    )
    connection.execute("ANALYZE")
    moments = [datetime(2026, 7, 1, 12, minute, tzinfo=UTC) for minute in range(8)]
    joining = {
        "number": list(range(8)),
        "run": [3] * 8,
        "project_seq": [factory.project_seq] * 8,
        "message_seq": [3] * 8,
        "queue": ["push.fcm.bulk"] * 8,
        "provider_seq": [1] * 8,
        "due_at": moments,
        "attempt": [2] * 8,
        "resends": [0] * 8,
        "waiting_since": [None] * 8,
        "targets": ["{2}"] * 8,
        "size": [1] * 8,
        "most": record_queries.MOST_GATHERED,
    }

    blocks, scanned, indexes = _explain(connection, record_queries._JOIN, joining)

    assert "batches_turns_idx" in indexes
    assert "batches" not in scanned
    assert blocks < BLOCKS_OF_A_BATCH * 8
    assert connection.execute("SELECT count(*) FROM batches WHERE cardinality(targets) = 2").fetchone() == (8,)
