"""Lists and searches read what they show, not what there is: plans over tables of some ten thousand rows."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from sqlalchemy import select
from sqlalchemy.dialects.postgresql.psycopg import dialect

from shared.db.models import Message, Subscriber, Topic, User
from shared.db.queries.lists import AnySelect
from shared.db.queries.messages import select_listed
from shared.db.queries.search import MESSAGE_TEXT, TOPIC_TEXT, USER_TEXT, MemberIds, Words
from shared.db.queries.subscribers import select_memberships
from shared.ids import ProjectSeq
from tests.factories import Factory

ROWS = 20_000
BLOCKS = 120
"""Pages of 8 kB that a list may touch. Each of the tables has more than 300."""

FILL = (
    """
    INSERT INTO messages (project_seq, id, channel, status, lane, data, topics, users, targets)
    SELECT %(project)s, 'm' || n, 'email', 'sent', 'bulk', jsonb_build_object('subject', 'number ' || n),
        '{}', '{}', '{}'
    FROM generate_series(1, %(rows)s) AS n
    """,
    """
    INSERT INTO topics (project_seq, id, name)
    SELECT %(project)s, 't' || n, 'number ' || n FROM generate_series(1, %(rows)s) AS n
    """,
    """
    INSERT INTO users (project_seq, id, name)
    SELECT %(project)s, 'u' || n, 'number ' || n FROM generate_series(1, %(rows)s) AS n
    """,
    """
    INSERT INTO targets (project_seq, id, user_seq, channel, identifier)
    SELECT project_seq, 'p' || seq, seq, 'push', 'token' || seq FROM users
    """,
    """
    INSERT INTO subscribers (project_seq, id, topic_seq, target_seq, channel)
    SELECT project_seq, 's' || seq, (SELECT min(seq) FROM topics), seq, 'push' FROM targets
    """,
)

Connection = psycopg.Connection[tuple[object, ...]]


@pytest.fixture(scope="module")
def filled(engines: Any, migrated_template: str) -> Iterator[Factory]:

    from shared.settings import Settings  # noqa: PLC0415  # see above

    with psycopg.connect(engines.postgres.url_of("postgres"), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE test_list_plans TEMPLATE {migrated_template}".encode())
    factory = Factory(
        Settings(
            database_url=engines.postgres.url_of("test_list_plans"), broker_url="redis://127.0.0.1", secret_keys=None
        )
    )
    yield factory
    with psycopg.connect(engines.postgres.url_of("postgres"), autocommit=True) as connection:
        connection.execute(b"DROP DATABASE test_list_plans WITH (FORCE)")


@pytest.fixture(scope="module")
def connection(filled: Factory) -> Iterator[Connection]:
    with filled.connect() as connection:
        parameters = {"project": filled.project_seq, "rows": ROWS}
        for statement in FILL:
            connection.execute(statement.encode(), parameters)
        connection.execute("VACUUM ANALYZE")
        yield connection


def members(connection: Connection) -> AnySelect:
    """Those of the first topic."""
    row = connection.execute("SELECT min(seq) FROM topics").fetchone()
    assert row is not None
    assert isinstance(row[0], int)
    return select_memberships(row[0])


def blocks_and_scans(connection: Connection, statement: AnySelect) -> tuple[int, set[str]]:
    """8-kB pages touched, and the tables that were read from end to end."""
    postgres = dialect()  # type: ignore[no-untyped-call]  # SQLAlchemy leaves it untyped
    compiled = statement.compile(dialect=postgres, compile_kwargs={"render_postcompile": True})
    row = connection.execute(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {compiled}".encode(), compiled.params).fetchone()
    assert row is not None
    (plan,) = row
    assert isinstance(plan, list)
    top = plan[0]["Plan"]
    scanned = {node["Relation Name"] for node in _nodes(top) if node["Node Type"] == "Seq Scan"}
    return top["Shared Hit Blocks"] + top["Shared Read Blocks"], scanned


def _nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for child in node.get("Plans", ()):
        yield from _nodes(child)


@pytest.mark.parametrize("search", ["12345", "1234", "nobody 19999", '"number 777"', "absent"])
@pytest.mark.parametrize(("model", "text"), [(Message, MESSAGE_TEXT), (Topic, TOPIC_TEXT), (User, USER_TEXT)])
def test_words_are_looked_up(connection: Connection, filled: Factory, model: Any, text: str, search: str) -> None:
    listed = select_listed(ProjectSeq(filled.project_seq)) if model is Message else select(model)
    listed = listed.where(model.project_seq == filled.project_seq)
    found = listed.where(Words(text, {}).condition(search)).order_by(model.seq).limit(25)

    blocks, scanned = blocks_and_scans(connection, found)

    assert not scanned - {"message_progress"}
    assert blocks < BLOCKS


@pytest.mark.parametrize("search", ["s12345", "p12345", "u12345", "absent"])
def test_members_are_found_by_their_ids(connection: Connection, filled: Factory, search: str) -> None:
    searched = MemberIds(ProjectSeq(filled.project_seq), {})
    found = members(connection).where(searched.condition(search))

    blocks, scanned = blocks_and_scans(connection, found.order_by(Subscriber.seq).limit(25))

    assert not scanned
    assert blocks < BLOCKS


@pytest.mark.parametrize("beyond", [0, ROWS // 2, ROWS - 10])
def test_a_page_of_messages_costs_the_same_wherever_it_starts(
    connection: Connection, filled: Factory, beyond: int
) -> None:
    page = select_listed(ProjectSeq(filled.project_seq)).where(Message.seq > beyond).order_by(Message.seq).limit(25)
    blocks, scanned = blocks_and_scans(connection, page)
    assert (blocks < BLOCKS, scanned - {"message_progress"}) == (True, set())

    newest = select_listed(ProjectSeq(filled.project_seq)).order_by(Message.seq.desc()).limit(25)
    assert blocks_and_scans(connection, newest)[0] < BLOCKS


def test_a_page_of_members_costs_what_it_shows(connection: Connection) -> None:
    page = members(connection).where(Subscriber.seq > ROWS // 2).order_by(Subscriber.seq).limit(25)
    blocks, scanned = blocks_and_scans(connection, page)
    assert (blocks < 4 * BLOCKS, scanned - {"topics"}) == (True, set())
