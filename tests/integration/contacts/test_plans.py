"""A page of contacts costs as much as it has rows, however large the project and however little is known of it."""

from collections.abc import Iterator
from typing import Any

import pytest
from psycopg import Connection

from shared.db.queries.contacts import lookups, merge, write
from shared.settings import Settings
from tests.factories import Factory

PROJECT = 20_000
ROWS = 500
EMAILS = [f"person{number}@example.com" for number in range(1, ROWS + 1)]
STEPS_PER_ROW = 20
"""Rows that pass through a plan for each row of the page. A join that reads the project once takes 40."""


@pytest.fixture
def factory(settings: Settings) -> Factory:
    """A project that has just grown: nothing was analyzed yet."""
    factory = Factory(settings)
    factory.audience(PROJECT, channel="email")
    return factory


def test_existing_targets_are_found_by_key(factory: Factory) -> None:
    assert steps(factory, lookups._FIND_TARGETS, identifiers=EMAILS) < STEPS_PER_ROW * ROWS


def test_existing_users_are_found_by_key(factory: Factory) -> None:
    assert steps(factory, lookups._FIND_USERS, emails=EMAILS, phones=EMAILS) < STEPS_PER_ROW * ROWS


def test_targets_are_held_by_key(factory: Factory) -> None:
    seqs = list(range(1, ROWS + 1))
    assert steps(factory, write._HOLD_TARGETS, seqs=seqs, identifiers=EMAILS) < STEPS_PER_ROW * ROWS


def test_owners_of_new_targets_are_found_by_key(factory: Factory) -> None:
    planned = {
        "ids": [f"t{number}" for number in range(ROWS)],
        "user_ids": [f"person-{number}" for number in range(1, ROWS + 1)],
        "channels": ["push"] * ROWS,
        "identifiers": [f"token-{number}" for number in range(ROWS)],
    }
    assert steps(factory, write._CREATE_TARGETS, **planned) < STEPS_PER_ROW * ROWS


def test_a_page_is_taken_by_key_however_few_rows_there_were_when_it_was_planned(settings: Settings) -> None:
    """A connection keeps the plan it made for an earlier import."""
    values = {"seq": "$1", "merged_to": "$2", "limit": "$3", "most": "$4"}
    with Factory(settings).connect() as connection, connection.transaction():
        connection.execute(merge._PREPARE.encode())
        connection.execute("SET LOCAL plan_cache_mode = force_generic_plan")
        connection.execute(f"PREPARE take (bigint, bigint, bigint, bigint) AS {merge._TAKE_PAGE % values}".encode())
        stage(connection, import_seq=1, rows=10)
        connection.execute("EXECUTE take (1, 0, 10, 100)")
        stage(connection, import_seq=2, rows=PROJECT)
        row = connection.execute(
            f"EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE take (2, 0, {ROWS}, {ROWS * 2})".encode()
        ).fetchone()
    assert 2 * ROWS < rows_through(row) < STEPS_PER_ROW * ROWS


def stage(connection: Connection[Any], *, import_seq: int, rows: int) -> None:
    connection.execute(
        "INSERT INTO contact_import_rows (import_seq, line, user_id, name, email, phone, push_tokens, topics)"
        " SELECT %s, line, 'user-' || line, '', '', '', '{}', '{}' FROM generate_series(2, %s + 1) AS line",
        [import_seq, rows],
    )


def steps(factory: Factory, statement: str, **parameters: object) -> int:
    """How many rows pass through the nodes of the plan, under the settings of a merge."""
    with factory.connect() as connection, connection.transaction():
        connection.execute(merge._PREPARE.encode())
        row = connection.execute(
            f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}".encode(), {"project": factory.project_seq, **parameters}
        ).fetchone()
    return rows_through(row)


def rows_through(row: tuple[Any, ...] | None) -> int:
    """Of all nodes of an explained plan."""
    assert row is not None
    explained: Any = row[0]
    return sum(_rows_through(node) for node in _nodes(explained[0]["Plan"]))


def _rows_through(node: dict[str, Any]) -> int:
    removed = sum(count for name, count in node.items() if name.startswith("Rows Removed by"))
    return int((node["Actual Rows"] + removed) * node["Actual Loops"])


def _nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for child in node.get("Plans", ()):
        yield from _nodes(child)
