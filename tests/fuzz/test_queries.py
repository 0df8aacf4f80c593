"""The query language of lists (contract §6): whatever is written in it is answered or refused, and breaks nothing."""

import json
from datetime import datetime
from typing import Any

import pytest
import requests
from hypothesis import given, seed, settings
from hypothesis import strategies as st

from api.queries import FILTERS, Attribute, Attributes, Kind
from api.routes import messages, providers, storage, subscribers, targets, topics, users
from tests.fuzz.project import Project
from tests.fuzz.run import Effort

LISTS: list[tuple[str, Attributes]] = [
    ("/messaging/messages", messages.ATTRIBUTES),
    ("/messaging/messages/{messageId}/targets", targets.ATTRIBUTES),
    ("/messaging/providers", providers.ATTRIBUTES),
    ("/messaging/topics", topics.ATTRIBUTES),
    ("/messaging/topics/{topicId}/subscribers", subscribers.ATTRIBUTES),
    ("/storage/buckets", storage.BUCKET_ATTRIBUTES),
    ("/storage/buckets/{bucketId}/files", storage.FILE_ATTRIBUTES),
    ("/users", users.ATTRIBUTES),
    ("/users/{userId}/targets", targets.ATTRIBUTES),
]

TEXTS = st.sampled_from(["", "%", "\\", "ada"]) | st.text(max_size=20)
INTEGERS = st.sampled_from([0, -1, 2**31, 2**63, -(2**63), 10**30]) | st.integers()
MOMENTS = st.sampled_from(["0001-01-01", "9999-12-31T23:59:59.999-14:00"]) | st.datetimes().map(datetime.isoformat)
FITTING = {
    Kind.TEXT: TEXTS,
    Kind.TEXTS: TEXTS,
    Kind.INTEGER: INTEGERS,
    Kind.BOOLEAN: st.booleans(),
    Kind.MOMENT: MOMENTS,
}
ODD = st.none() | st.floats(allow_nan=False, allow_infinity=False) | st.lists(INTEGERS, max_size=2)


def filters_on(name: str, attribute: Attribute) -> st.SearchStrategy[dict[str, Any]]:
    """Mostly such as the language has."""
    fitting = FITTING[attribute.kind]
    method = st.sampled_from([*FILTERS, "search", "nothing"])
    values = st.lists(st.one_of(fitting, fitting, fitting, TEXTS, ODD), min_size=1, max_size=2)
    return st.fixed_dictionaries({"method": method, "attribute": st.just(name), "values": values})


def queries_about(attributes: Attributes) -> st.SearchStrategy[list[dict[str, Any]]]:
    filters = st.one_of([filters_on(name, attribute) for name, attribute in attributes.items()])
    nested = st.recursive(
        filters,
        lambda inner: st.fixed_dictionaries(
            {"method": st.sampled_from(["and", "or"]), "values": st.lists(inner, min_size=1, max_size=3)}
        ),
        max_leaves=4,
    )
    names = st.sampled_from([*attributes, "nothing"])
    orders = st.fixed_dictionaries(
        {"method": st.sampled_from(["orderAsc", "orderDesc", "orderRandom"]), "attribute": names}
    )
    windows = st.fixed_dictionaries(
        {"method": st.sampled_from(["limit", "offset"]), "values": st.lists(INTEGERS, min_size=1, max_size=1)}
    )
    cursors = st.fixed_dictionaries(
        {"method": st.sampled_from(["cursorAfter", "cursorBefore"]), "values": st.lists(TEXTS, min_size=1, max_size=1)}
    )
    return st.lists(st.one_of(nested, nested, nested, orders, windows, cursors), max_size=3)


@pytest.mark.parametrize(("path", "attributes"), LISTS, ids=[path for path, _ in LISTS])
def test_queries_are_answered_or_refused(path: str, attributes: Attributes, project: Project, effort: Effort) -> None:
    address = f"{project.address}/v1{path.format(**project.things)}"

    @seed(effort.seed)
    @settings(max_examples=effort.examples * 20, database=None, deadline=None)
    @given(queries=queries_about(attributes), search=st.none() | st.text(min_size=1, max_size=20))
    def ask(queries: list[dict[str, Any]], search: str | None) -> None:
        parameters = [
            *(("queries[]", json.dumps(query)) for query in queries),
            *([("search", search)] if search else []),
        ]
        answer = session.get(address, params=parameters, headers=dict(project.people["a key"]), timeout=10)
        assert answer.status_code in {200, 400}, answer.text

    with requests.Session() as session:
        ask()
