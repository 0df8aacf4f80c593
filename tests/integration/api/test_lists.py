"""Contract §6: queries, order, cursors, totals and search, on the list of topics and where others differ."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from api.queries import MAX_DEPTH
from tests.integration.api.conftest import Answer, Caller, RunningApi, make_caller

Query = dict[str, Any]


def query(method: str, attribute: str = "", *values: object) -> Query:
    return {"method": method, "attribute": attribute, "values": list(values)}


def ask(caller: Caller, path: str, *queries: Query | str, **parameters: str) -> Answer:
    texts = [text if isinstance(text, str) else json.dumps(text) for text in queries]
    return caller.get(path, params={f"queries[{index}]": text for index, text in enumerate(texts)} | parameters)


def ids(answer: Answer) -> list[str]:
    assert answer.status == 200, answer.body
    (plural,) = set(answer.body) - {"total"}
    return [item["$id"] for item in answer.body[plural]]


@pytest.fixture(scope="module")
def listed(running_api: RunningApi) -> Iterator[Caller]:
    """Topics a to e; e-mail totals 0 to 4; names with odd characters."""
    caller = make_caller(running_api)
    names = {"a": "News", "b": "100% off_er", "c": "News flash", "d": "back\\slash", "e": "old news"}
    for topic_id, name in names.items():
        caller.create_topic(topic_id, name=name)
    with caller.factory.connect() as connection:
        connection.execute(
            "UPDATE topics SET email_total = ascii(id) - 97, created_at = timestamptz '2030-01-01 00:00:00.0004+00'"
            " + (ascii(id) - 97) * interval '1 day' WHERE project_seq = %s",
            [caller.factory.project_seq],
        )
    yield caller
    caller.session.close()


TOPICS = "/messaging/topics"
THIRD_DAY = "2030-01-03T00:00:00.000+00:00"


QUERIES: list[tuple[list[Query], str]] = [
    ([], "abcde"),
    ([query("equal", "$id", "b")], "b"),
    ([query("equal", "$id", "b", "d")], "bd"),
    ([query("equal", "name", "News")], "a"),
    ([query("notEqual", "$id", "b")], "acde"),
    ([query("lessThan", "emailTotal", 2)], "ab"),
    ([query("lessThanEqual", "emailTotal", 2)], "abc"),
    ([query("greaterThan", "emailTotal", 2)], "de"),
    ([query("greaterThanEqual", "emailTotal", 2)], "cde"),
    ([query("between", "emailTotal", 1, 3)], "bcd"),
    ([query("notBetween", "emailTotal", 1, 3)], "ae"),
    ([query("equal", "emailTotal", 3, 2**40)], "d"),
    ([query("notEqual", "emailTotal", 2**31)], "abcde"),
    ([query("greaterThan", "emailTotal", 2**31)], ""),
    ([query("between", "emailTotal", 1 - 2**63, 2**63 - 1)], "abcde"),
    ([query("isNull", "name")], ""),
    ([query("isNotNull", "name")], "abcde"),
    ([query("startsWith", "name", "News")], "ac"),
    ([query("notStartsWith", "name", "News")], "bde"),
    ([query("endsWith", "name", "news")], "e"),
    ([query("notEndsWith", "name", "news")], "abcd"),
    ([query("contains", "name", "ew")], "ace"),
    ([query("contains", "name", "flash", "old")], "ce"),
    ([query("notContains", "name", "ew")], "bd"),
    ([query("contains", "name", "0%")], "b"),
    ([query("contains", "name", "%")], "b"),
    ([query("contains", "name", "_")], "b"),
    ([query("contains", "name", "\\")], "d"),
    ([query("equal", "$createdAt", THIRD_DAY)], "c"),
    ([query("greaterThan", "$createdAt", THIRD_DAY)], "de"),
    ([query("lessThanEqual", "$createdAt", "2030-01-03 01:00:00.000+01:00")], "abc"),
    ([query("equal", "description", "")], "abcde"),
    ([query("or", "", query("equal", "$id", "a"), query("equal", "$id", "e"))], "ae"),
    ([query("and", "", query("greaterThan", "emailTotal", 0), query("lessThan", "emailTotal", 3))], "bc"),
    ([query("greaterThan", "emailTotal", 0), query("contains", "name", "ew")], "ce"),
    ([query("orderDesc", "$id")], "edcba"),
    ([query("orderDesc", "emailTotal"), query("limit", "", 2)], "ed"),
    ([query("orderDesc", "")], "edcba"),
    ([query("orderDesc", "$sequence")], "edcba"),
    ([query("orderAsc", "description"), query("orderDesc", "$createdAt")], "edcba"),
    ([query("limit", "", 2)], "ab"),
    ([query("limit", "", 2), query("offset", "", 3)], "de"),
    ([query("limit", "", 10_000_000_000)], "abcde"),
    ([query("cursorAfter", "", "b")], "cde"),
    ([query("cursorAfter", "", "e")], ""),
    ([query("cursorAfter", "", "b"), query("limit", "", 1)], "c"),
    ([query("cursorBefore", "", "d"), query("limit", "", 2)], "bc"),
    ([query("cursorBefore", "", "a")], ""),
    ([query("orderDesc", "emailTotal"), query("cursorAfter", "", "c")], "ba"),
    ([query("orderDesc", "emailTotal"), query("cursorBefore", "", "c"), query("limit", "", 1)], "d"),
    ([query("orderAsc", "smsTotal"), query("cursorAfter", "", "c")], "de"),
    ([query("equal", "$createdAt", "2030-01-03T00:00:00.000400+00:00")], ""),  # finer than what we show
    ([query("lessThan", "$createdAt", THIRD_DAY)], "ab"),
    ([query("lessThan", "$createdAt", "2030-01-03T00:00:00.000400+00:00")], "abc"),
    ([query("lessThanEqual", "$createdAt", THIRD_DAY)], "abc"),
    ([query("greaterThan", "$createdAt", "2030-01-02T23:59:59.999999+00:00")], "cde"),
    ([query("greaterThanEqual", "$createdAt", THIRD_DAY)], "cde"),
    ([query("greaterThanEqual", "$createdAt", "2030-01-03T00:00:00.000400+00:00")], "de"),
    ([query("between", "$createdAt", "2030-01-02", THIRD_DAY)], "bc"),
    ([query("notBetween", "$createdAt", "2030-01-02", THIRD_DAY)], "ade"),
    ([query("notEqual", "$createdAt", THIRD_DAY)], "abde"),
    ([query("greaterThan", "$createdAt", "9999-12-31T23:59:59.999999+00:00")], ""),
    ([query("lessThanEqual", "$createdAt", "9999-12-31T23:59:59.999+00:00")], "abcde"),
    ([query("equal", "$id", *map(str, range(499)), "c")], "c"),
    ([query("contains", "name", *(f"z{number}" for number in range(499)), "flash")], "c"),
    ([query("limit", "", 1)] * 100, "a"),
    (
        [
            query(
                "and", "", query("or", "", *[query("equal", "$id", at) for at in "abc"]), query("notEqual", "$id", "b")
            )
        ],
        "ac",
    ),
    ([query("orderRandom"), query("equal", "$id", "d")], "d"),
]


@pytest.mark.parametrize(("queries", "expected"), QUERIES)
def test_queries(listed: Caller, queries: list[Query], expected: str) -> None:
    assert "".join(ids(ask(listed, TOPICS, *queries))) == expected


FILTERS = (
    "equal notEqual lessThan lessThanEqual greaterThan greaterThanEqual between isNull isNotNull startsWith endsWith"
    " contains and or notBetween notStartsWith notEndsWith notContains"
)
ORDERS_AND_PAGES = "orderAsc orderDesc orderRandom limit offset cursorAfter cursorBefore"


def test_every_method_is_in_the_table() -> None:
    """But search and notSearch, which no attribute can be asked for."""
    used = {one["method"] for queries, _ in QUERIES for one in queries}
    assert used == {*FILTERS.split(), *ORDERS_AND_PAGES.split()}


def test_a_random_order_shows_everything_once(listed: Caller) -> None:
    assert sorted(ids(ask(listed, TOPICS, query("orderRandom")))) == list("abcde")


@pytest.mark.parametrize(
    "queries",
    [
        ["not json"],
        ['equal("name", ["x"])'],
        ["[]"],
        ['"text"'],
        [query("unknown", "name", "x")],
        [{"attribute": "name"}],
        [{"method": "equal", "attribute": "name", "values": "x"}],
        [{"method": 5}],
        [query("equal", "nothing", "x")],
        [query("equal", "name")],
        [query("equal", "name", *map(str, range(501)))],
        [query("lessThan", "emailTotal", 1, 2)],
        [query("between", "emailTotal", 1)],
        [query("isNull", "name", "x")],
        [query("equal", "emailTotal", "1")],
        [query("equal", "emailTotal", 1.5)],
        [query("equal", "emailTotal", True)],
        [query("equal", "name", 1)],
        [query("equal", "name", None)],
        [query("equal", "$createdAt", "yesterday")],
        [query("contains", "emailTotal", 1)],
        [query("startsWith", "$createdAt", "2030")],
        [query("or", "", query("equal", "$id", "a"))],
        [query("and", "", "x", "y")],
        [query("and", "", query("limit", "", 1), query("limit", "", 1))],
        [query("limit", "", 0)],
        [query("limit", "", "5")],
        [query("limit", "", True)],
        [query("limit", "")],
        [query("offset", "", -1)],
        [query("cursorAfter", "", "§")],
        [query("cursorAfter", "", 5)],
        [query("orderAsc", "nothing")],
        [query("select", "", "name")],
        [query("orderRandom"), query("cursorAfter", "", "a")],
        [query("offset", "", "0")],
        [query("notBetween", "emailTotal", 1, 2, 3)],
        [query("isNotNull", "name", "x")],
        [query("notContains", "emailTotal", 1)],
        [query("contains", "name")],
        [query("notEqual", "name", "a", "b")],
        [query("greaterThan", "emailTotal", 2**63)],
        [query("cursorBefore", "", "a" * 37)],
        [query("cursorAfter", "")],
        [query("limit", "", 1)] * 101,
        [json.dumps(query("equal", "name", "x" * 4096))],
    ],
)
def test_what_is_not_in_the_language_is_refused(listed: Caller, queries: list[Query | str]) -> None:
    assert ask(listed, TOPICS, *queries).refusal == (400, "general_argument_invalid")


def test_queries_must_be_a_list(listed: Caller) -> None:
    answer = listed.get(TOPICS, params={"queries": json.dumps(query("limit", "", 1))})
    assert answer.refusal == (400, "general_argument_invalid")


def test_nesting_has_an_end(listed: Caller) -> None:
    nested = query("equal", "$id", "a")
    for _ in range(MAX_DEPTH):
        nested = query("or", "", nested, query("equal", "$id", "a"))
    assert ids(ask(listed, TOPICS, nested)) == ["a"]
    deeper = query("and", "", nested, nested)
    assert ask(listed, TOPICS, deeper).refusal == (400, "general_argument_invalid")


@pytest.mark.parametrize("method", ["search", "notSearch"])
def test_words_can_only_be_searched_where_there_is_an_index(listed: Caller, method: str) -> None:
    assert ask(listed, TOPICS, query(method, "name", "news")).refusal == (400, "general_query_invalid")


@pytest.mark.parametrize("total", ["false", "0", "False"])
def test_a_total_that_nobody_wants_is_zero(listed: Caller, total: str) -> None:
    answer = ask(listed, TOPICS, query("contains", "name", "ew"), total=total)
    assert (answer.body["total"], len(ids(answer))) == (0, 3)
    assert ask(listed, TOPICS, total="no").refusal == (400, "general_argument_invalid")


def test_an_unknown_cursor(listed: Caller) -> None:
    answer = ask(listed, TOPICS, query("cursorAfter", "", "missing"))
    assert answer.refusal == (400, "general_cursor_not_found")


def test_total_counts_all_matches_whatever_the_page_shows(listed: Caller) -> None:
    page = [query("limit", "", 1), query("offset", "", 1), query("cursorAfter", "", "b")]
    assert ask(listed, TOPICS, query("contains", "name", "ew"), *page).body["total"] == 3


def test_the_default_page_is_25_and_the_total_is_capped(caller: Caller) -> None:
    with caller.factory.connect() as connection:
        connection.execute(
            "INSERT INTO topics (project_seq, id, name) SELECT %s, 't' || n, 'T' FROM generate_series(1, 5001) AS n",
            [caller.factory.project_seq],
        )
    answer = caller.get(TOPICS)
    assert (len(answer.body["topics"]), answer.body["total"]) == (25, 5000)
    assert len(ids(ask(caller, TOPICS, query("limit", "", 6000), total="false"))) == 5000


def test_every_item_is_seen_once_when_walked_by_cursor_in_both_directions(listed: Caller) -> None:
    """With a first order that leaves ties, which the sequence breaks."""
    order = query("orderDesc", "smsTotal")
    forwards: list[str] = []
    while page := ids(
        ask(listed, TOPICS, order, query("limit", "", 2), *(query("cursorAfter", "", at) for at in forwards[-1:]))
    ):
        forwards += page
    backwards: list[str] = []
    while page := ids(
        ask(listed, TOPICS, order, query("limit", "", 2), query("cursorBefore", "", backwards[0] if backwards else "e"))
    ):
        backwards = page + backwards
    assert forwards == list("abcde")
    assert backwards == list("abcd")


# Order by what may be null: nulls first ascending, last descending, and no cursor on them


@pytest.fixture(scope="module")
def scheduled(running_api: RunningApi) -> Iterator[Caller]:
    """Messages: m1 and m2 without a time, m3 and m4 with one."""
    caller = make_caller(running_api)
    caller.create_email("m1", draft=True)
    caller.create_email("m2", draft=True)
    caller.create_email("m3", draft=True, scheduledAt="2100-01-03 00:00:00")
    caller.create_email("m4", draft=True, scheduledAt="2100-01-04 00:00:00")
    yield caller
    caller.session.close()


MESSAGES = "/messaging/messages"


@pytest.mark.parametrize(
    ("queries", "expected"),
    [
        ([query("orderAsc", "scheduledAt")], ["m1", "m2", "m3", "m4"]),
        ([query("orderDesc", "scheduledAt")], ["m4", "m3", "m1", "m2"]),
        ([query("orderAsc", "scheduledAt"), query("cursorAfter", "", "m3")], ["m4"]),
        ([query("orderDesc", "scheduledAt"), query("cursorAfter", "", "m4")], ["m3", "m1", "m2"]),
        ([query("orderAsc", "scheduledAt"), query("cursorBefore", "", "m3")], ["m1", "m2"]),
        ([query("orderDesc", "scheduledAt"), query("cursorBefore", "", "m3")], ["m4"]),
        ([query("isNull", "scheduledAt")], ["m1", "m2"]),
        ([query("isNotNull", "scheduledAt")], ["m3", "m4"]),
    ],
)
def test_nulls_in_order(scheduled: Caller, queries: list[Query], expected: list[str]) -> None:
    assert ids(ask(scheduled, MESSAGES, *queries)) == expected


def test_a_cursor_cannot_stand_on_a_null(scheduled: Caller) -> None:
    answer = ask(scheduled, MESSAGES, query("orderAsc", "scheduledAt"), query("cursorAfter", "", "m1"))
    assert answer.refusal == (400, "database_query_order_null")


# What each list can be filtered by


@pytest.fixture(scope="module")
def filled(running_api: RunningApi) -> Iterator[Caller]:
    caller = make_caller(running_api)
    caller.create("/messaging/providers/fcm", {"providerId": "fcm", "name": "Push"})
    caller.create_user("ada", email="ada@example.com", name="Ada Lovelace", password="engine-no-1")
    caller.create_user("bob", phone="+12065550100")
    target = caller.create_target("ada", "token-1", targetId="phone", providerId="fcm")
    caller.create_topic("news")
    caller.subscribe("news", target["$id"], "sub-1")
    caller.create_email("mail", users=["ada"])
    caller.create_push("push", targets=["phone"], draft=True)
    yield caller
    caller.session.close()


@pytest.mark.parametrize(
    ("path", "asked", "expected"),
    [
        (MESSAGES, query("equal", "status", "draft"), ["push"]),
        (MESSAGES, query("equal", "providerType", "email"), ["mail"]),
        (MESSAGES, query("equal", "deliveredTotal", 0), ["mail", "push"]),
        (MESSAGES, query("isNull", "deliveredAt"), ["mail", "push"]),
        (MESSAGES, query("equal", "description", "x"), []),
        ("/messaging/providers", query("equal", "provider", "fcm"), ["fcm"]),
        ("/messaging/providers", query("equal", "type", "push"), ["fcm"]),
        ("/messaging/providers", query("equal", "enabled", False), ["fcm"]),
        ("/messaging/providers", query("equal", "name", "Mail"), []),
        ("/messaging/topics/news/subscribers", query("equal", "targetId", "phone"), ["sub-1"]),
        ("/messaging/topics/news/subscribers", query("equal", "topicId", "news"), ["sub-1"]),
        ("/messaging/topics/news/subscribers", query("equal", "userId", "bob"), []),
        ("/messaging/topics/news/subscribers", query("equal", "providerType", "push"), ["sub-1"]),
        ("/users/ada/targets", query("equal", "providerId", "fcm"), ["phone"]),
        ("/users/ada/targets", query("equal", "identifier", "token-1"), ["phone"]),
        ("/users/ada/targets", query("equal", "providerType", "sms"), []),
        ("/users/ada/targets", query("equal", "userId", "bob"), []),
        ("/messaging/messages/push/targets", query("equal", "userId", "ada"), ["phone"]),
        ("/users", query("equal", "email", "ada@example.com"), ["ada"]),
        ("/users", query("equal", "phone", "+12065550100"), ["bob"]),
        ("/users", query("startsWith", "name", "Ada"), ["ada"]),
        ("/users", query("equal", "status", True), ["ada", "bob"]),
        ("/users", query("isNull", "passwordUpdate"), ["bob"]),
        ("/users", query("greaterThan", "registration", "2100-01-01"), []),
        ("/users", query("equal", "emailVerification", False), ["ada", "bob"]),
        ("/users", query("equal", "phoneVerification", True), []),
        ("/users", query("contains", "labels", "vip"), []),
        ("/users", query("equal", "impersonator", False), ["ada", "bob"]),
        ("/users", query("isNull", "accessedAt"), ["ada", "bob"]),
    ],
)
def test_attributes_of_each_list(filled: Caller, path: str, asked: Query, expected: list[str]) -> None:
    assert ids(ask(filled, path, asked)) == expected


@pytest.mark.parametrize(
    ("path", "search", "expected"),
    [
        (MESSAGES, "hello", ["mail", "push"]),
        (MESSAGES, "mail", ["mail"]),
        ("/messaging/providers", "pus", ["fcm"]),
        ("/messaging/topics", "NEWS", ["news"]),
        ("/messaging/topics/news/subscribers", "sub-1", ["sub-1"]),
        ("/messaging/topics/news/subscribers", "phone", ["sub-1"]),
        ("/messaging/topics/news/subscribers", "ada", ["sub-1"]),
        ("/messaging/topics/news/subscribers", "push", ["sub-1"]),
        ("/messaging/topics/news/subscribers", "DOES_NOT_EXIST", []),
        ("/users", "lovel", ["ada"]),
        ("/users", "lovel ada", ["ada"]),
        ("/users", "lovel nobody", []),  # only the last word is a beginning
        ("/users", "nobody lovel", ["ada"]),
        ("/users", '"Ada Lovelace"', ["ada"]),
        ("/users", '"Lovelace Ada"', []),
        ("/users", "example.com", ["ada"]),
        ("/users", "exampleXcom", []),
        ("/users", "(.*", []),
        ("/users", "+12065550100", ["bob"]),
        ("/users", "@", []),
    ],
)
def test_search(filled: Caller, path: str, search: str, expected: list[str]) -> None:
    assert ids(ask(filled, path, search=search)) == expected


def test_an_empty_search_is_refused(filled: Caller) -> None:
    assert ask(filled, "/users", search="").refusal == (400, "general_argument_invalid")


def test_a_page_of_thousands_is_whole_and_in_order(caller: Caller) -> None:
    """It is read in parts."""
    caller.factory.audience(450, channel="push")
    page = ask(caller, "/users", query("limit", "", 5_000)).body
    assert [user["$id"] for user in page["users"]] == [f"person-{number}" for number in range(1, 451)]
    assert page["total"] == 450
    before = ask(caller, "/users", query("limit", "", 5_000), query("cursorBefore", "", "person-440")).body["users"]
    assert [user["$id"] for user in before] == [f"person-{number}" for number in range(1, 440)]
