"""Contract §17: creating documents, and the rate limit there."""

from typing import Any

import pytest

from tests.integration.api.conftest import Caller, RunningApi, make_caller
from tests.integration.api.logins import as_guest, log_in

DOCUMENTS = "/databases/main/collections/notes/documents"
ATTRIBUTES = [
    {"key": "title", "type": "string", "size": 10, "required": True},
    {"key": "stars", "type": "integer", "default": 3},
    {"key": "tags", "type": "string", "array": True},
    {"key": "at", "type": "datetime"},
    {"key": "from", "type": "email"},
    {"key": "weight", "type": "double"},
    {"key": "done", "type": "boolean"},
]


def create_collection(caller: Caller, *, enabled: bool = True, **parameters: Any) -> Any:
    caller.create("/databases", {"databaseId": "main", "name": "Main", "enabled": enabled})
    given = {"collectionId": "notes", "name": "Notes", "attributes": ATTRIBUTES, **parameters}
    return caller.create("/databases/main/collections", given)


def document(document_id: str = "d", **data: object) -> dict[str, object]:
    return {"documentId": document_id, "data": {"title": "Hello", **data}}


def test_a_document(caller: Caller) -> None:
    create_collection(caller)
    answer = caller.post(DOCUMENTS, document(tags=["a"], weight=2))
    assert answer.status == 201
    body = answer.body
    assert {key: value for key, value in body.items() if not key.startswith("$")} == {
        "title": "Hello",
        "stars": 3,
        "tags": ["a"],
        "at": None,
        "from": None,
        "weight": 2,
        "done": None,
    }
    assert (body["$id"], body["$databaseId"], body["$collectionId"]) == ("d", "main", "notes")
    assert body["$permissions"] == [], "none for keys"
    assert caller.post(DOCUMENTS, document()).refusal == (409, "document_already_exists")


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({}, "document_missing_data"),
        (None, "general_argument_invalid"),
        ({"title": "Hello", "$id": "x"}, "document_invalid_structure"),
        ({"title": "Hello", "nobody": 1}, "document_invalid_structure"),
        ({"stars": 1}, "document_invalid_structure"),
        ({"title": "longer than 10"}, "document_invalid_structure"),
        ({"title": 5}, "document_invalid_structure"),
        ({"title": "Hello", "stars": "5"}, "document_invalid_structure"),
        ({"title": "Hello", "stars": True}, "document_invalid_structure"),
        ({"title": "Hello", "stars": 1.5}, "document_invalid_structure"),
        ({"title": "Hello", "tags": "a"}, "document_invalid_structure"),
        ({"title": "Hello", "tags": [1]}, "document_invalid_structure"),
        ({"title": "Hello", "at": "soon"}, "document_invalid_structure"),
        ({"title": "Hello", "from": "nobody"}, "document_invalid_structure"),
        ({"title": "Hello", "done": 1}, "document_invalid_structure"),
    ],
)
def test_data_that_does_not_fit(caller: Caller, data: object, expected: str) -> None:
    create_collection(caller)
    assert caller.post(DOCUMENTS, {"documentId": "d", "data": data}).refusal == (400, expected)
    assert caller.post(DOCUMENTS, document()).status == 201, "nothing was left behind"


def test_who_may_create_and_what_they_may_give(caller: Caller) -> None:
    create_collection(caller, permissions=['create("users")'])
    bob = log_in(caller, "bob")
    made = bob.post(DOCUMENTS, document())
    assert made.body["$permissions"] == ['read("user:bob")', 'update("user:bob")', 'delete("user:bob")']
    given = bob.post(DOCUMENTS, {**document("e"), "permissions": ['write("user:bob")', 'read("any")']})
    assert given.body["$permissions"] == ['update("user:bob")', 'delete("user:bob")', 'read("any")']
    foreign = bob.post(DOCUMENTS, {**document("f"), "permissions": ['read("user:eve")']})
    assert foreign.refusal == (401, "user_unauthorized")
    wrong = bob.post(DOCUMENTS, {**document("f"), "permissions": ['create("any")']})
    assert wrong.refusal == (400, "general_argument_invalid")
    assert as_guest(caller, "POST", DOCUMENTS, json=document("g")).refusal == (401, "user_unauthorized")


@pytest.mark.parametrize(
    ("database", "collection", "expected"),
    [
        (False, True, (404, "database_not_found")),
        (True, False, (404, "collection_not_found")),
    ],
)
def test_disabled_parents_are_there_for_keys_only(
    caller: Caller, *, database: bool, collection: bool, expected: tuple[int, str]
) -> None:
    create_collection(caller, enabled=database, permissions=['create("any")'])
    if not collection:
        caller.rows("UPDATE collections SET enabled = false RETURNING 1")
    assert log_in(caller, "bob").post(DOCUMENTS, document()).refusal == expected
    assert caller.post(DOCUMENTS, document()).status == 201


def test_unknown_parents(caller: Caller) -> None:
    assert caller.post(DOCUMENTS, document()).refusal == (404, "database_not_found")
    caller.create("/databases", {"databaseId": "main", "name": "Main"})
    assert caller.post(DOCUMENTS, document()).refusal == (404, "collection_not_found")


def test_the_121st_call_in_a_minute(running_api: RunningApi) -> None:
    caller = make_caller(running_api)
    bob, eve = log_in(caller, "bob"), log_in(caller, "eve")
    first = bob.post(DOCUMENTS, {})
    assert (first.headers["x-ratelimit-limit"], first.headers["x-ratelimit-remaining"]) == ("120", "119")
    assert int(first.headers["x-ratelimit-reset"]) % 60 == 0
    # the window may end meanwhile: what is counted is set, not called 118 times more
    caller.rows("UPDATE rate_windows SET calls = 119, ends_at = ends_at RETURNING 1")
    other = bob.post("/databases/other/collections/others/documents", {})
    assert (other.status, other.headers["x-ratelimit-remaining"]) == (400, "0"), "other ids, the same window"
    refused = bob.post(DOCUMENTS, document())
    assert refused.refusal == (429, "general_rate_limit_exceeded")
    assert refused.headers["x-ratelimit-remaining"] == "0"
    assert eve.post(DOCUMENTS, {}).status == 400, "another user, another window"
    by_key = caller.post(DOCUMENTS, document())
    assert (by_key.status, by_key.headers["x-ratelimit-remaining"]) == (404, "119"), "keys are not counted"
    caller.session.close()
