"""Contract §1 and §2: what breaks clients when it is missed."""

import json
from collections.abc import Iterator

import pytest
import requests

from tests.integration.api.conftest import Caller, RunningApi


def test_an_answer_without_content_has_a_content_type_that_is_not_json(caller: Caller) -> None:
    topic = caller.create_topic()
    answer = caller.delete(f"/messaging/topics/{topic['$id']}")
    assert (answer.status, answer.body) == (204, b"")
    assert answer.headers["content-type"] == "text/html; charset=UTF-8"


def test_json_is_utf8_without_escapes(caller: Caller) -> None:
    response = requests.post(
        f"{caller.endpoint}/messaging/topics",
        json={"topicId": "unique()", "name": "Grüße ✓"},
        headers={"X-Appwrite-Project": caller.project_id, "X-Appwrite-Key": caller.key},
        timeout=10,
    )
    assert response.headers["content-type"] == "application/json; charset=UTF-8"
    assert "Grüße ✓".encode() in response.content


@pytest.mark.parametrize("body", [b"[]", b"{}", b""])
def test_an_empty_list_an_empty_object_and_no_body_are_the_same(caller: Caller, body: bytes) -> None:
    topic = caller.create_topic(name="News")
    answer = caller("PATCH", f"/messaging/topics/{topic['$id']}", data=body)
    assert (answer.status, answer.body["name"]) == (200, "News")


def test_a_delete_may_carry_a_body(caller: Caller) -> None:
    topic = caller.create_topic()
    assert caller.delete(f"/messaging/topics/{topic['$id']}", data=b"[]").status == 204


@pytest.mark.parametrize("body", [b"{", b"[1]", b"5", b'"text"', b'{"name": NaN}', b"\xff\xfe"])
def test_a_body_that_is_no_json_object_is_refused(caller: Caller, body: bytes) -> None:
    assert caller("POST", "/messaging/topics", data=body).refusal == (400, "general_argument_invalid")


def test_unknown_parameters_are_ignored(caller: Caller) -> None:
    topic = caller.create_topic(security="tls", status="processing")
    assert "security" not in topic


def test_a_trailing_slash_is_answered_without_a_redirect(caller: Caller) -> None:
    assert caller.get("/messaging/providers/", allow_redirects=False).status == 200
    created = caller.post("/messaging/topics/", {"topicId": "a", "name": "A"}, allow_redirects=False)
    assert created.status == 201


def test_a_path_parameter_wins_over_the_body(caller: Caller) -> None:
    caller.create_topic("kept")
    answer = caller.patch("/messaging/topics/kept", {"topicId": "other", "name": "Changed"})
    assert (answer.body["$id"], answer.body["name"]) == ("kept", "Changed")


@pytest.mark.parametrize("names", [("queries[0]", "queries[1]"), ("queries[]", "queries[]")])
def test_lists_in_a_query_string_have_brackets(caller: Caller, names: tuple[str, str]) -> None:
    for topic_id in ("a", "b", "c"):
        caller.create_topic(topic_id)
    queries = [{"method": "limit", "values": [1]}, {"method": "offset", "values": [1]}]
    parameters = [(name, json.dumps(query)) for name, query in zip(names, queries, strict=True)]
    answer = caller.get("/messaging/topics", params=parameters)
    assert [topic["$id"] for topic in answer.body["topics"]] == ["b"]


@pytest.mark.parametrize(("given", "total"), [("true", 1), ("1", 1), ("false", 0), ("0", 0)])
def test_booleans_in_a_query_string_are_loose(caller: Caller, given: str, total: int) -> None:
    caller.create_topic()
    answer = caller.get("/messaging/topics", params={"total": given})
    assert (answer.body["total"], len(answer.body["topics"])) == (total, 1)


@pytest.mark.parametrize("encoding", ["urlencoded", "multipart"])
def test_forms_are_read_as_bodies(caller: Caller, encoding: str) -> None:
    fields = {"topicId": "form", "name": "Form", "subscribe[0]": "any", "subscribe[1]": "users"}
    sent = {"data": fields} if encoding == "urlencoded" else {"files": {k: (None, v) for k, v in fields.items()}}
    answer = caller("POST", "/messaging/topics", **sent)
    assert (answer.status, answer.body["subscribe"]) == (201, ["any", "users"])


def test_a_broken_form_is_refused(caller: Caller) -> None:
    headers = {"Content-Type": "multipart/form-data"}  # names no boundary
    assert caller("POST", "/messaging/topics", data=b"x", headers=headers).status == 400


def test_nul_is_refused_wherever_it_stands(caller: Caller) -> None:
    """Postgres keeps no NUL in a text; the caller must hear of it as of any other bad value."""
    body = {"topicId": "a", "name": "a\0b"}
    assert caller.post("/messaging/topics", body).refusal == (400, "general_argument_invalid")
    query = json.dumps({"method": "equal", "attribute": "name", "values": ["a\0b"]})
    answer = caller.get("/messaging/topics", params={"queries[0]": query})
    assert answer.refusal == (400, "general_argument_invalid")
    assert caller.get("/messaging/topics", params={"search": "a\0b"}).refusal == (400, "general_argument_invalid")


def test_a_text_that_only_looks_like_nul_is_kept(caller: Caller) -> None:
    assert caller.create_topic(name="\\u0000")["name"] == "\\u0000"


def test_a_long_body_is_refused_also_when_its_length_is_not_told(caller: Caller, running_api: RunningApi) -> None:
    limit = running_api.settings.max_body_bytes
    body = json.dumps({"topicId": "a", "name": "x" * limit}).encode()

    def in_pieces() -> Iterator[bytes]:
        for start in range(0, len(body), 65536):
            yield body[start : start + 65536]

    assert caller("POST", "/messaging/topics", data=body).refusal == (413, "general_body_too_large")
    assert caller("POST", "/messaging/topics", data=in_pieces()).refusal == (413, "general_body_too_large")


def test_a_response_format_newer_than_the_server_is_taken(caller: Caller) -> None:
    assert caller.get("/messaging/topics", headers={"X-Appwrite-Response-Format": "99.0.0"}).status == 200


def test_every_answer_has_the_common_headers(caller: Caller) -> None:
    for answer in (caller.get("/messaging/topics"), caller.get("/messaging/nowhere")):
        assert answer.headers["server"] == "Tidings"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert float(answer.headers["x-debug-speed"]) > 0
        assert answer.headers["x-debug-fallback"] == "true"
    with_session = caller.get("/messaging/topics", headers={"X-Appwrite-Session": "s"})
    assert with_session.headers["x-debug-fallback"] == "false"


def test_errors_are_not_to_be_cached(caller: Caller) -> None:
    answer = caller.get("/messaging/topics/missing")
    assert answer.headers["cache-control"] == "no-cache, no-store, must-revalidate"
    assert (answer.headers["expires"], answer.headers["pragma"]) == ("0", "no-cache")


# CORS


@pytest.mark.parametrize("origin", ["http://localhost", "http://localhost:5173", "https://app.example.com"])
def test_an_allowed_origin_is_echoed_also_on_errors(caller: Caller, origin: str) -> None:
    answer = caller.get("/messaging/topics", headers={"Origin": origin, "X-Appwrite-Key": None})
    assert answer.refusal == (401, "general_unauthorized_scope")
    assert answer.headers["access-control-allow-origin"] == origin
    assert answer.headers["access-control-allow-credentials"] == "true"


def test_a_preflight_is_answered_on_any_path(running_api: RunningApi) -> None:
    response = requests.options(f"{running_api.endpoint}/any/path", headers={"Origin": "http://localhost"}, timeout=10)
    assert response.status_code == 204
    assert response.headers["access-control-allow-methods"] == "GET, POST, PUT, PATCH, DELETE"
    allowed = response.headers["access-control-allow-headers"].lower().split(", ")
    assert {"x-appwrite-project", "x-appwrite-key", "x-appwrite-jwt", "content-type", "x-sdk-name"} <= set(allowed)
    assert "X-Fallback-Cookies" in response.headers["access-control-expose-headers"]


@pytest.mark.parametrize(
    "origin", ["https://evil.example.org", "null", "https://[", "https://app.example.com.evil.org"]
)
def test_another_origin_is_refused_without_a_key(caller: Caller, origin: str) -> None:
    answer = caller.get("/messaging/topics", headers={"Origin": origin, "X-Appwrite-Key": None})
    assert answer.refusal == (403, "general_unknown_origin")
    assert "access-control-allow-origin" not in answer.headers


def test_another_origin_with_a_key_is_answered_but_not_to_a_page(caller: Caller) -> None:
    answer = caller.get("/messaging/topics", headers={"Origin": "https://evil.example.org"})
    assert answer.status == 200
    assert "access-control-allow-origin" not in answer.headers
