"""Lists, searches and cursors at a million rows: what each of their statements reads, by EXPLAIN ANALYZE.

The tables have some ten thousand rows of two projects, and statistics that tell the planner of a million, so it chooses
as it would for those; what it then reads is counted.
"""

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncSession

from api.queries import Attributes, select, select_window
from api.routes import messages as message_routes
from api.routes import subscribers as subscriber_routes
from api.routes import targets as target_routes
from api.routes import topics as topic_routes
from api.routes import users as user_routes
from api.schemas.lists import ListParameters, UnsearchableListParameters
from shared.db.models import Subscriber
from shared.db.queries import messages, subscribers, targets, topics, users
from shared.db.queries.audit import list_entries
from shared.db.queries.lists import MAX_TOTAL, Page, Selection
from shared.db.queries.search import MemberIds, Searched
from shared.db.session import create_engine, create_sessions
from shared.domain.status import Channel
from shared.ids import ProjectSeq
from shared.settings import Settings
from tests.factories import Factory

ROWS = 12_000  # of each project; more than twice what is ever counted
CLAIMED = 1_000_000
PAGE_READS = 200
"""Rows of one table that a page of 25 may read."""

FILL = (
    """
    INSERT INTO messages (project_seq, id, channel, status, lane, data, topics, users, targets, created_at,
        delivered_at, scheduled_at)
    SELECT %(project)s, 'm' || n, CASE n %% 100 WHEN 7 THEN 'sms' ELSE 'email' END,
        CASE n %% 100 WHEN 1 THEN 'draft' WHEN 2 THEN 'scheduled' ELSE 'sent' END, 'bulk',
        jsonb_build_object('subject', 'number ' || n), '{}', '{}', '{}', now() - (%(rows)s - n) * interval '1 minute',
        CASE WHEN n %% 100 > 2 THEN now() - (%(rows)s - n) * interval '1 minute' END,
        CASE n %% 100 WHEN 2 THEN now() + n * interval '1 minute' END
    FROM generate_series(1, %(rows)s) AS n
    """,
    """
    INSERT INTO topics (project_seq, id, name, created_at)
    SELECT %(project)s, 't' || n, 'number ' || n, now() - (%(rows)s - n) * interval '1 minute'
    FROM generate_series(1, %(rows)s) AS n
    """,
    """
    INSERT INTO users (project_seq, id, name, email, created_at)
    SELECT %(project)s, 'u' || n, 'number ' || n, 'person' || n || '@example.com',
        now() - (%(rows)s - n) * interval '1 minute'
    FROM generate_series(1, %(rows)s) AS n
    """,
    """
    INSERT INTO targets (project_seq, id, user_seq, channel, identifier)
    SELECT project_seq, 'p' || id, seq, CASE seq %% 100 WHEN 7 THEN 'sms' ELSE 'push' END, 'token' || seq
    FROM users WHERE project_seq = %(project)s ORDER BY seq
    """,
    """
    INSERT INTO subscribers (project_seq, id, topic_seq, target_seq, channel, created_at)
    SELECT project_seq, 's' || id, (SELECT min(seq) FROM topics WHERE project_seq = %(project)s), seq, channel,
        now() - seq * interval '1 minute'
    FROM targets WHERE project_seq = %(project)s ORDER BY seq
    """,
    """
    INSERT INTO audit_log (project_seq, resource, resource_seq, resource_id, event, user_type)
    SELECT %(project)s, 'message', %(project)s, 'm1', 'message.update', 'keyProject'
    FROM generate_series(1, %(rows)s) AS n
    """,
)

CLAIM = """
UPDATE pg_class SET reltuples = %(claimed)s
WHERE relkind IN ('r', 'i') AND relnamespace = 'public'::regnamespace AND reltuples >= %(rows)s
"""


def query(method: str, attribute: str = "", *values: object) -> str:
    return json.dumps({"method": method, "attribute": attribute, "values": list(values)})


Listing = Callable[[AsyncSession, Selection], Awaitable[Page]]


@dataclass(frozen=True, slots=True)
class Listed:
    attributes: Attributes
    list_page: Listing
    some_id: str  # of an item in its middle
    search_in: Searched | None = None

    async def ask(self, session: AsyncSession, *queries: str, search: str | None = None, total: bool = True) -> Page:
        if self.search_in is None:
            unsearched = UnsearchableListParameters(queries=list(queries), total=total)
            return await self.list_page(session, select(unsearched, self.attributes))
        wanted = ListParameters(queries=list(queries), search=search, total=total)
        return await self.list_page(session, select(wanted, self.attributes, search_in=self.search_in))


@dataclass(slots=True)
class Database:
    """Two projects; the lists are those of the second."""

    settings: Settings
    lists: dict[str, Listed]

    def reads(self, ask: Callable[[AsyncSession], Awaitable[Page]]) -> tuple[Page, list[Counter[str]]]:
        """A page, and how many rows of which table each of its statements read."""
        return asyncio.run(self._read(ask))

    async def _read(self, ask: Callable[[AsyncSession], Awaitable[Page]]) -> tuple[Page, list[Counter[str]]]:
        engine = create_engine(self.settings, role="test")
        asked: list[tuple[str, Any]] = []

        def remember(_c: object, _cursor: object, statement: str, parameters: Any, *_: object) -> None:
            asked.append((statement, parameters))

        event.listen(engine.sync_engine, "before_cursor_execute", remember)
        async with create_sessions(engine)() as session:
            page = await ask(session)
        event.remove(engine.sync_engine, "before_cursor_execute", remember)
        async with engine.connect() as connection:
            plans = [
                (
                    await connection.exec_driver_sql(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", parameters)
                ).scalar_one()
                for statement, parameters in asked
            ]
        await engine.dispose()
        return page, [_rows_read(plan[0]["Plan"]) for plan in plans]


def _rows_read(plan: dict[str, Any]) -> Counter[str]:
    """By table: rows looked at, also those that a filter then removed."""
    reads: Counter[str] = Counter()
    for node in _nodes(plan):
        if "Relation Name" in node:
            looked_at = sum(node.get(key, 0) for key in ("Actual Rows", "Rows Removed by Filter"))
            reads[node["Relation Name"]] += round(looked_at * node["Actual Loops"])
    return reads


def _nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for child in node.get("Plans", ()):
        yield from _nodes(child)


def _lists_of(settings: Settings, project_seq: ProjectSeq) -> dict[str, Listed]:
    async def list_members(session: AsyncSession, selection: Selection) -> Page:
        topic = await topics.find_topic(session, project_seq, "t1")
        assert topic
        return await subscribers.list_subscribers(session, topic, selection, user_seq=None)

    async def list_named_targets(session: AsyncSession, selection: Selection) -> Page:
        named = [f"pu{number}" for number in range(1, 1001)]
        return await targets.list_targets_by_id(session, project_seq, named, selection)

    async def list_owned_targets(session: AsyncSession, selection: Selection) -> Page:
        user = await users.find_user(session, project_seq, "u77")
        assert user
        return await targets.list_targets_of_user(session, user.seq, selection)

    def listing(function: Callable[[AsyncSession, ProjectSeq, Selection], Awaitable[Page]]) -> Listing:
        return lambda session, selection: function(session, project_seq, selection)

    members = MemberIds(project_seq, {Subscriber.channel: tuple(Channel)})
    return {
        "messages": Listed(
            message_routes.ATTRIBUTES, listing(messages.list_messages), "m6000", message_routes.SEARCH_IN
        ),
        "topics": Listed(topic_routes.ATTRIBUTES, listing(topics.list_topics), "t6000", topic_routes.SEARCH_IN),
        "users": Listed(user_routes.ATTRIBUTES, listing(users.list_users), "u6000", user_routes.SEARCH_IN),
        "subscribers": Listed(subscriber_routes.ATTRIBUTES, list_members, "spu6000", members),
        "message targets": Listed(target_routes.ATTRIBUTES, list_named_targets, "pu500"),
        "user targets": Listed(target_routes.ATTRIBUTES, list_owned_targets, "pu77"),
    }


@pytest.fixture(scope="module")
def database(engines: Any, migrated_template: str) -> Iterator[Database]:
    name = "test_list_plans"
    with psycopg.connect(engines.postgres.url_of("postgres"), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {migrated_template}".encode())
    settings = Settings(database_url=engines.postgres.url_of(name), broker_url="redis://127.0.0.1", secret_keys=None)
    projects = [Factory(settings, project_id=project_id).project_seq for project_id in ("other", "own")]
    with psycopg.connect(engines.postgres.url_of(name), autocommit=True) as connection:
        for project in projects:
            for statement in FILL:
                connection.execute(statement.encode(), {"project": project, "rows": ROWS})
        connection.execute("VACUUM ANALYZE")
        assert connection.execute(CLAIM, {"claimed": CLAIMED, "rows": ROWS}).rowcount > 20
    yield Database(settings, _lists_of(settings, ProjectSeq(projects[-1])))
    with psycopg.connect(engines.postgres.url_of("postgres"), autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


EVERY_LIST = ("messages", "topics", "users", "subscribers", "message targets", "user targets")
LARGE_LISTS = EVERY_LIST[:4]

BY_DATE = query("orderDesc", "$createdAt")
RECENT = query("greaterThan", "$createdAt", "2020-01-01")
AT = "cursorAfter"  # stands for a cursor at the list's own item
BEFORE = "cursorBefore"

PAGES = [
    pytest.param([], id="default"),
    pytest.param([query("orderAsc", "$createdAt")], id="oldest first"),
    pytest.param([BY_DATE], id="newest first"),
    pytest.param([query("orderDesc")], id="backwards"),
    pytest.param([query("orderDesc", "$id")], id="by id"),
    pytest.param([AT], id="after a cursor"),
    pytest.param([BEFORE], id="before a cursor"),
    pytest.param([BY_DATE, AT], id="newest first, after a cursor"),
    pytest.param([BY_DATE, BEFORE], id="newest first, before a cursor"),
    pytest.param([query("orderAsc", "$id"), AT], id="by id, after a cursor"),
]


@pytest.mark.parametrize("queries", PAGES)
@pytest.mark.parametrize("name", LARGE_LISTS)
def test_a_page_costs_what_it_shows_wherever_it_starts(database: Database, name: str, queries: list[str]) -> None:
    listed = database.lists[name]
    asked = [query(text, "", listed.some_id) if text in (AT, BEFORE) else text for text in queries]
    page, reads = database.reads(lambda session: listed.ask(session, *asked, total=False))
    assert len(page.rows) == 25
    assert max(read for statement in reads for read in statement.values()) <= PAGE_READS, reads


@pytest.mark.parametrize("name", LARGE_LISTS)
def test_counting_ends_at_the_cap(database: Database, name: str) -> None:
    page, reads = database.reads(database.lists[name].ask)
    assert page.total == MAX_TOTAL
    assert max(read for statement in reads for read in statement.values()) <= MAX_TOTAL + PAGE_READS, reads


COMMON = (
    ("messages", query("equal", "status", "sent")),
    ("messages", query("equal", "providerType", "email")),
    ("messages", query("greaterThan", "$createdAt", "2020-01-01")),
    ("messages", query("isNotNull", "deliveredAt")),
    ("subscribers", query("equal", "providerType", "push")),
)
RARE = (
    ("messages", query("equal", "status", "draft")),
    ("messages", query("equal", "status", "draft", "scheduled")),
    ("messages", query("equal", "providerType", "sms")),
    ("messages", query("greaterThan", "scheduledAt", "2020-01-01")),
    ("messages", query("equal", "$id", "m77")),
    ("messages", query("lessThan", "$createdAt", "2020-01-01")),
    ("topics", query("equal", "$id", "t77")),
    ("topics", query("greaterThan", "$createdAt", "2100-01-01")),
    ("users", query("equal", "email", "person77@example.com")),
    ("users", query("greaterThan", "registration", "2100-01-01")),
    ("subscribers", query("equal", "providerType", "sms")),
    ("subscribers", query("equal", "targetId", "pu77")),
    ("subscribers", query("equal", "userId", "u77")),
    ("message targets", query("equal", "providerType", "sms")),
    ("user targets", query("equal", "providerType", "sms")),
)


@pytest.mark.parametrize("order", [[], [BY_DATE]], ids=["default", "newest first"])
@pytest.mark.parametrize(("name", "wanted"), [*COMMON, *RARE])
def test_a_filter_reads_at_most_what_is_counted(database: Database, name: str, wanted: str, order: list[str]) -> None:
    page, reads = database.reads(lambda session: database.lists[name].ask(session, wanted, *order))
    assert (page.total == MAX_TOTAL) is ((name, wanted) in COMMON)
    assert max(read for statement in reads for read in statement.values()) <= MAX_TOTAL + PAGE_READS, reads


SEARCHES = {
    "messages": ("m1234", "11999", "nobody 11999", '"number 777"', "absent", "sms", "draft", "number"),
    "topics": ("t1234", "11999", "nobody 11999", '"number 777"', "absent", "number"),
    "users": ("u1234", "person77", "nobody 11999", '"number 777"', "absent", "person1 u1"),
    "subscribers": ("spu1234", "pu1234", "u1234", "absent"),
}


@pytest.mark.parametrize("order", [[], [BY_DATE]], ids=["default", "newest first"])
@pytest.mark.parametrize(("name", "search"), [(name, search) for name in SEARCHES for search in SEARCHES[name]])
def test_a_search_reads_at_most_what_is_counted(database: Database, name: str, search: str, order: list[str]) -> None:
    page, reads = database.reads(lambda session: database.lists[name].ask(session, *order, search=search))
    assert (page.total == 0) is (search == "absent")
    assert max(read for statement in reads for read in statement.values()) <= MAX_TOTAL + PAGE_READS, reads


@pytest.mark.parametrize("queries", [[], [query("limit", "", 5), query("offset", "", 50)]])
def test_a_page_of_logs_costs_what_it_shows(database: Database, queries: list[str]) -> None:
    window = select_window(UnsearchableListParameters(queries=queries))
    page, (of_page, of_count) = database.reads(
        lambda session: list_entries(session, resource="message", seq=2, window=window)
    )
    assert (len(page.rows), page.total) == (window.limit, MAX_TOTAL)
    assert of_page["audit_log"] <= PAGE_READS
    assert of_count["audit_log"] <= MAX_TOTAL
