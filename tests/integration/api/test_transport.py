"""Contract §1, §2 and §4: what breaks clients when it is missed, what travels in headers, how refusals look.

Each test has the number of its section in its name.
"""

import json
import socket
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from api.errors import VERSION
from tests.integration.api.conftest import Caller, RunningApi

TOPICS = "/messaging/topics"
INVALID = (400, "general_argument_invalid")
ORIGIN = {"Origin": "http://localhost"}
GUEST = {"X-Appwrite-Key": None}


# §1.1


def test_1_1_no_content_has_a_type_that_is_not_json(caller: Caller) -> None:
    topic = caller.create_topic()
    answer = caller.delete(f"{TOPICS}/{topic['$id']}")
    assert (answer.status, answer.body) == (204, b"")
    assert answer.headers["content-type"] == "text/html; charset=UTF-8"
    assert caller("OPTIONS", TOPICS).headers["content-type"] == "text/html; charset=UTF-8"


# §1.4 and §2: bodies


@pytest.mark.parametrize("body", [b"[]", b"{}", b"", b" [ ] ", b"[]\n"])
@pytest.mark.parametrize("content_type", ["application/json", "application/json; charset=UTF-8", "text/plain", None])
def test_1_4_an_empty_list_an_empty_object_and_no_body_are_the_same(
    caller: Caller, body: bytes, content_type: str | None
) -> None:
    topic = caller.create_topic(name="News")
    answer = caller("PATCH", f"{TOPICS}/{topic['$id']}", data=body, headers={"Content-Type": content_type})
    assert (answer.status, answer.body["name"]) == (200, "News")


def test_1_4_an_empty_list_lacks_what_is_required(caller: Caller) -> None:
    answer = caller("POST", TOPICS, data=b"[]")
    assert answer.refusal == INVALID
    assert "`topicId` is required" in answer.body["message"]


@pytest.mark.parametrize("body", [b"[]", b"{}", b"", b"{"])
def test_1_4_a_delete_takes_any_body(caller: Caller, body: bytes) -> None:
    topic = caller.create_topic()
    assert caller.delete(f"{TOPICS}/{topic['$id']}", data=body).status == 204


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[1]",
        b"[[]]",
        b"5",
        b"null",
        b"true",
        b'"text"',
        b'{"topicId": "a", "name": NaN}',
        b'{"topicId": "a", "name": "A", "more": Infinity}',
        b'{"topicId": "a", "name": "A",}',
        b"{'topicId': 'a'}",
        b'{"topicId": "a", "name": "\\ud800"}',  # half a character
        b'{"topicId": "a", "name": "\xff"}',
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"a":' * 100_000,
    ],
)
def test_2_a_body_that_is_no_json_object_is_refused(caller: Caller, body: bytes) -> None:
    assert caller("POST", TOPICS, data=body).refusal == INVALID


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/x-www-form-urlencoded", b"topicId=form&name=Form&subscribe[0]=any&subscribe[1]=users"),
        (
            "application/x-www-form-urlencoded; charset=UTF-8",
            b"topicId=form&name=Form&subscribe[]=any&subscribe[]=users",
        ),
        ("Application/X-WWW-Form-URLEncoded", b"topicId=form&name=Form&subscribe%5B1%5D=users&subscribe%5B0%5D=any"),
    ],
)
def test_2_forms_are_bodies(caller: Caller, content_type: str, body: bytes) -> None:
    answer = caller("POST", TOPICS, data=body, headers={"Content-Type": content_type})
    assert (answer.status, answer.body["subscribe"]) == (201, ["any", "users"])


@pytest.mark.parametrize("names", [("subscribe[0]", "subscribe[1]"), ("subscribe[]", "subscribe[]")])
def test_2_forms_in_parts_are_bodies(caller: Caller, names: tuple[str, str]) -> None:
    fields = [("topicId", "form"), ("name", "Grüße ✓"), (names[0], "any"), (names[1], "users")]
    answer = caller("POST", TOPICS, files=[(name, (None, value)) for name, value in fields])
    assert (answer.status, answer.body["name"], answer.body["subscribe"]) == (201, "Grüße ✓", ["any", "users"])


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("multipart/form-data", b"x"),  # names no boundary
        ("multipart/form-data; boundary=b", b"--b\r\nbroken"),
        (
            "multipart/form-data; boundary=b",
            b'--b\r\nContent-Disposition: form-data; name="name"\r\n\r\n\xff\0\r\n--b--',
        ),
        ("application/x-www-form-urlencoded", b"topicId=a&name=%00"),
        ("application/x-www-form-urlencoded", b"\xff\xfe=&&&==%"),
        ("application/x-www-form-urlencoded", b'{"topicId": "a", "name": "A"}'),
        ("application/x-www-form-urlencoded", b"topicId=a&name[x]=A"),
    ],
)
def test_2_a_broken_form_is_refused(caller: Caller, content_type: str, body: bytes) -> None:
    assert caller("POST", TOPICS, data=body, headers={"Content-Type": content_type}).refusal == INVALID


@pytest.mark.parametrize(
    ("charset", "field", "value"),
    [
        ("undefined", "data[x]", "A"),  # an encoding of Python's that reads nothing
        ("punycode", "data[x]", "A"),
        ("unicode_escape", "data[x]", r"\ud800"),  # half a character, which nothing can store
        ("unicode_escape", r"data[\ud800]", "A"),
        ("unicode_escape", "data", r'{"x": "\ud800"}'),
    ],
)
def test_2_a_form_in_an_encoding_that_no_text_comes_of_is_refused(
    caller: Caller, charset: str, field: str, value: str
) -> None:
    given = {"messageId": "m", "title": "T", "users[0]": "ada", field: value}
    parts = [f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{text}\r\n' for name, text in given.items()]
    content_type = f"multipart/form-data; boundary=b; charset={charset}"
    answer = caller(
        "POST",
        "/messaging/messages/push",
        data="".join([*parts, "--b--"]).encode(),
        headers={"Content-Type": content_type},
    )
    assert answer.refusal == INVALID


def test_2_a_path_parameter_wins_over_the_body(caller: Caller) -> None:
    caller.create_topic("kept")
    answer = caller.patch(f"{TOPICS}/kept", {"topicId": "other", "name": "Changed"})
    assert (answer.body["$id"], answer.body["name"]) == ("kept", "Changed")


def test_2_json_is_utf8_without_escapes_and_counts_are_integers(caller: Caller) -> None:
    response = requests.post(
        f"{caller.endpoint}{TOPICS}",
        json={"topicId": "unique()", "name": "Grüße ✓"},
        headers={"X-Appwrite-Project": caller.project_id, "X-Appwrite-Key": caller.key},
        timeout=10,
    )
    assert response.headers["content-type"] == "application/json; charset=UTF-8"
    assert "Grüße ✓".encode() in response.content
    assert b'"emailTotal":0,' in response.content


def test_2_a_long_body_is_refused_also_when_its_length_is_not_told(caller: Caller, running_api: RunningApi) -> None:
    limit = running_api.settings.max_body_bytes
    body = json.dumps({"topicId": "a", "name": "x" * limit}).encode()

    def in_pieces() -> Iterator[bytes]:
        for start in range(0, len(body), 65536):
            yield body[start : start + 65536]

    for data in (body, in_pieces()):
        assert caller("POST", TOPICS, data=data).refusal == (413, "general_body_too_large")
    assert caller("POST", TOPICS, data=body, headers=GUEST).status == 401, "who it is, is asked first"


# §1.5


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", TOPICS, {"topicId": "a", "name": "A", "security": "tls", "status": "processing", "$id": "b"}),
        ("POST", "/messaging/providers/sendgrid", {"providerId": "a", "name": "A", "from": "+12065550100"}),
        ("POST", "/messaging/providers/smtp", {"providerId": "a", "name": "A", "host": "h", "security": "tls"}),
        ("POST", "/users", {"userId": "a", "labels": ["x"], "": None}),
        ("GET", f"{TOPICS}?nobody=knows&queries2[0]=x&=&&", None),
    ],
)
def test_1_5_unknown_parameters_are_ignored(caller: Caller, method: str, path: str, body: object) -> None:
    answer = caller(method, path, json=body)
    assert answer.status in {200, 201}, answer.body
    assert answer.body.get("$id", "a") == "a"


def test_1_5_also_where_another_call_knows_them(caller: Caller) -> None:
    body = {"userId": "a", "email": "a@example.com", "password": "long enough", "phone": "no number"}
    assert caller.post("/account", body, headers=GUEST).body["phone"] == ""


# §1.6


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/messaging/providers/", None, 200),
        ("GET", "/messaging/providers//", None, 200),
        ("GET", f"{TOPICS}/?queries[0]=%7B%22method%22:%22limit%22,%22values%22:[1]%7D", None, 200),
        ("POST", "/messaging/providers/sendgrid/", {"providerId": "p", "name": "P"}, 201),
        ("PATCH", f"{TOPICS}/known/", {"name": "B"}, 200),
        ("DELETE", f"{TOPICS}/known/", None, 204),
        ("GET", "/nowhere/", None, 404),
    ],
)
def test_1_6_trailing_slashes(caller: Caller, method: str, path: str, body: object, status: int) -> None:
    caller.create_topic("known")
    assert caller(method, path, json=body, allow_redirects=False).status == status


@pytest.mark.parametrize("path", ["", "/", "//", "///v1"])
def test_1_6_slashes_alone_lead_nowhere(running_api: RunningApi, path: str) -> None:
    with socket.create_connection((urlsplit(running_api.address).hostname, urlsplit(running_api.address).port)) as raw:
        raw.sendall(f"GET {path or '/'} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
        answer = b"".join(iter(lambda: raw.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 404")
    assert b"general_route_not_found" in answer


# §1.8


@pytest.mark.parametrize(
    "names",
    [
        ("queries[0]", "queries[1]"),
        ("queries[]", "queries[]"),
        ("queries[1]", "queries[0]"),
        ("queries[7]", "queries[9]"),
    ],
)
def test_1_8_lists_in_a_query_string_have_brackets(caller: Caller, names: tuple[str, str]) -> None:
    for topic_id in ("a", "b", "c"):
        caller.create_topic(topic_id)
    queries = [{"method": "limit", "values": [1]}, {"method": "offset", "values": [1]}]
    parameters = [(name, json.dumps(query)) for name, query in zip(names, queries, strict=True)]
    answer = caller.get(TOPICS, params=parameters)
    assert [topic["$id"] for topic in answer.body["topics"]] == ["b"]


@pytest.mark.parametrize(("given", "total"), [("true", 1), ("1", 1), ("false", 0), ("0", 0)])
def test_1_8_booleans_in_a_query_string_are_loose(caller: Caller, given: str, total: int) -> None:
    caller.create_topic()
    answer = caller.get(TOPICS, params={"total": given})
    assert (answer.body["total"], len(answer.body["topics"])) == (total, 1)


@pytest.mark.parametrize("given", ["", "yes", "2", "TRUE", "null"])
def test_1_8_but_not_looser(caller: Caller, given: str) -> None:
    assert caller.get(TOPICS, params={"total": given}).refusal == INVALID


def test_2_nul_is_refused_wherever_it_stands(caller: Caller) -> None:
    """Postgres keeps no NUL in a text; the caller must hear of it as of any other bad value."""
    query = json.dumps({"method": "equal", "attribute": "name", "values": ["a\0b"]})
    assert caller.post(TOPICS, {"topicId": "a", "name": "a\0b"}).refusal == INVALID
    assert caller.get(TOPICS, params={"queries[0]": query}).refusal == INVALID
    assert caller.get(TOPICS, params={"search": "a\0b"}).refusal == INVALID
    assert caller.get(f"{TOPICS}/a%00b").refusal == INVALID


def test_2_a_text_that_only_looks_like_nul_is_kept(caller: Caller) -> None:
    assert caller.create_topic(name="\\u0000")["name"] == "\\u0000"


# §1.10 and §2: request headers


@pytest.mark.parametrize("version", ["99.0.0", "2.5.0", "1.6.0", "1.4.0", "0.0.0", "", "newest"])
def test_1_10_any_response_format_is_taken(caller: Caller, version: str) -> None:
    user = caller.post("/users", {"userId": "unique()"}, headers={"X-Appwrite-Response-Format": version})
    assert user.status == 201
    assert user.body["targets"] == []


@pytest.mark.parametrize(
    "name",
    [
        "X-Appwrite-Locale",
        "X-Appwrite-Timestamp",
        "X-Appwrite-Dev-Key",
        "X-Appwrite-Organization",
        "X-Appwrite-User",
        "X-Appwrite-Impersonate-User-Id",
        "X-Appwrite-Impersonate-User-Email",
        "X-Appwrite-Impersonate-User-Phone",
        "X-SDK-Name",
        "X-SDK-Platform",
        "X-SDK-Language",
        "X-SDK-Version",
        "X-Forwarded-User-Agent",
        "X-Forwarded-For",
    ],
)
def test_2_headers_that_are_accepted_and_ignored(caller: Caller, name: str) -> None:
    for value in ("", "anything; at all=1", "é".encode().decode("latin-1")):
        assert caller.get(TOPICS, headers={name: value}).status == 200


def test_2_header_names_have_no_case(caller: Caller) -> None:
    headers = {"x-appwrite-PROJECT": caller.project_id, "X-APPWRITE-KEY": caller.key}
    assert requests.get(f"{caller.endpoint}{TOPICS}", headers=headers, timeout=10).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Cookie": "a_session_{project}={value}"},
        {"Cookie": "{value}"},
        {"X-Appwrite-Session": "{value}"},
        {"X-Fallback-Cookies": "{value}"},
        {"X-Fallback-Cookies": '{{"a_session_{project}": "{value}"}}'},
        {"X-Fallback-Cookies": '{{"a_session_{project}": "\\ud800"}}'},
        {"X-Fallback-Cookies": '{{"a_session_{project}": 5}}'},
        {"X-Fallback-Cookies": '["a_session_{project}"]'},
    ],
)
@pytest.mark.parametrize("value", ["none", "é", '"', "=;,", "[" * 5000])
def test_2_a_session_that_cannot_be_read_is_a_guest(caller: Caller, headers: dict[str, str], value: str) -> None:
    sent = {name: text.format(project=caller.project_id, value=value) for name, text in headers.items()}
    encoded: Any = {name: text.encode() for name, text in sent.items()}
    assert caller.get("/account", headers={**GUEST, **encoded}).refusal == (401, "general_unauthorized_scope")


# §2: response headers


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", TOPICS, 200),
        ("POST", TOPICS, 400),
        ("GET", f"{TOPICS}/missing", 404),
        ("GET", "/messaging/nowhere", 404),
        ("PUT", TOPICS, 404),
        ("OPTIONS", TOPICS, 204),
        ("GET", "/ping", 200),
    ],
)
def test_2_every_answer_has_the_common_headers(caller: Caller, method: str, path: str, status: int) -> None:
    answer = caller(method, path)
    assert answer.status == status
    assert answer.headers["server"] == "Tidings"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert float(answer.headers["x-debug-speed"]) > 0
    assert answer.headers["x-debug-fallback"] == "true"


@pytest.mark.parametrize("headers", [{"X-Appwrite-Session": "s"}, {"Cookie": "a=b"}])
def test_2_a_cookie_or_a_session_needs_no_fallback(caller: Caller, headers: dict[str, str]) -> None:
    assert caller.get(TOPICS, headers=headers).headers["x-debug-fallback"] == "false"


def test_2_head_is_get_without_the_body(caller: Caller) -> None:
    caller.create_topic()
    whole = caller.get(TOPICS)
    response = caller.session.head(
        caller.endpoint + TOPICS,
        headers={"X-Appwrite-Project": caller.project_id, "X-Appwrite-Key": caller.key},
        timeout=10,
    )
    assert (response.status_code, response.content) == (200, b"")
    assert response.headers["content-length"] == whole.headers["content-length"]
    assert caller.get(TOPICS).status == 200, "the connection goes on"


# §2: CORS


@pytest.mark.parametrize(
    "origin",
    [
        "http://localhost",
        "http://localhost:5173",
        "https://localhost",
        "http://127.0.0.1:3000",
        "http://[::1]:3000",
        "https://app.example.com",
        "https://APP.example.com:8443",
    ],
)
@pytest.mark.parametrize(
    "request_line",
    [
        "GET /ping 200",
        "GET /users 401",
        "GET /nowhere 404",
        "POST /account/sessions/email 400",
        "OPTIONS /any/path 204",
    ],
)
def test_2_an_allowed_origin_is_echoed_also_on_errors(caller: Caller, origin: str, request_line: str) -> None:
    method, path, status = request_line.split()
    answer = caller(method, path, headers={**GUEST, "Origin": origin})
    assert answer.status == int(status)
    assert answer.headers["access-control-allow-origin"] == origin
    assert answer.headers["access-control-allow-credentials"] == "true"
    assert "Origin" in answer.headers["vary"]


def test_2_an_error_of_the_body_reader_has_the_cors_headers_too(caller: Caller, running_api: RunningApi) -> None:
    body = b" " * (running_api.settings.max_body_bytes + 1)
    answer = caller("POST", TOPICS, data=body, headers=ORIGIN)
    assert (answer.status, answer.headers["access-control-allow-origin"]) == (413, ORIGIN["Origin"])


ALLOWED_HEADERS = """
    X-Appwrite-Project X-Appwrite-Key X-Appwrite-JWT X-Appwrite-Session X-Fallback-Cookies X-Appwrite-Mode
    X-Appwrite-Response-Format X-Appwrite-Locale X-SDK-Name X-SDK-Platform X-SDK-Language X-SDK-Version
    X-Forwarded-User-Agent X-Appwrite-Timestamp X-Appwrite-Dev-Key X-Appwrite-Organization X-Appwrite-User
    X-Appwrite-Impersonate-User-Id X-Appwrite-Impersonate-User-Email X-Appwrite-Impersonate-User-Phone
    Content-Range X-Appwrite-ID Content-Type Accept Origin Cookie Set-Cookie Range Cache-Control Expires Pragma
    X-Requested-With X-Forwarded-For
"""


@pytest.mark.parametrize("path", ["/v1/messaging/topics", "/v1/any/path", "/elsewhere", "/"])
def test_2_a_preflight_is_answered_on_any_path(running_api: RunningApi, path: str) -> None:
    response = requests.options(f"{running_api.address}{path}", headers=ORIGIN, timeout=10)
    assert (response.status_code, response.content) == (204, b"")
    assert response.headers["access-control-allow-methods"] == "GET, POST, PUT, PATCH, DELETE"
    allowed = response.headers["access-control-allow-headers"].lower().split(", ")
    assert set(ALLOWED_HEADERS.lower().split()) <= set(allowed)
    assert response.headers["access-control-expose-headers"] == "X-Appwrite-Session, X-Fallback-Cookies"


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example.org",
        "null",
        "https://[",
        "https://app.example.com.evil.org",
        "https://notapp.example.com",
        "https://localhost.evil.org",
        "localhost",
        "é",
    ],
)
def test_2_another_origin_is_refused_without_a_key(caller: Caller, origin: str) -> None:
    encoded: Any = origin.encode()
    answer = caller.get(TOPICS, headers={**GUEST, "Origin": encoded})
    assert answer.refusal == (403, "general_unknown_origin")
    assert "access-control-allow-origin" not in answer.headers


def test_2_another_origin_with_a_key_is_answered_but_not_to_a_page(caller: Caller) -> None:
    answer = caller.get(TOPICS, headers={"Origin": "https://evil.example.org"})
    assert answer.status == 200
    assert "access-control-allow-origin" not in answer.headers


def test_2_what_no_page_asked_for_is_not_kept_for_pages(caller: Caller) -> None:
    assert "Origin" in caller.get(TOPICS).headers["vary"]


# §4


@pytest.mark.parametrize(
    ("method", "path", "headers", "refusal"),
    [
        ("POST", TOPICS, {}, INVALID),
        ("GET", TOPICS, GUEST, (401, "general_unauthorized_scope")),
        ("GET", TOPICS, {**GUEST, "Origin": "https://evil.example.org"}, (403, "general_unknown_origin")),
        ("GET", f"{TOPICS}/missing", {}, (404, "topic_not_found")),
        ("GET", "/nowhere", {}, (404, "general_route_not_found")),
        ("PUT", TOPICS, {}, (404, "general_route_not_found")),
        ("TRACE", TOPICS, {}, (404, "general_route_not_found")),
        ("GET", "/health/queue/messaging?threshold=0", {}, (503, "health_queue_size_exceeded")),
    ],
)
def test_4_refusals(
    caller: Caller, method: str, path: str, headers: dict[str, str | None], refusal: tuple[int, str]
) -> None:
    answer = caller(method, path, headers=headers)
    assert answer.refusal == refusal
    assert answer.headers["content-type"] == "application/json; charset=UTF-8"
    assert answer.body.keys() == {"message", "code", "type", "version"}
    assert (answer.body["code"], answer.body["version"]) == (answer.status, VERSION)
    assert answer.body["message"]
    assert answer.headers["cache-control"] == "no-cache, no-store, must-revalidate"
    assert (answer.headers["expires"], answer.headers["pragma"]) == ("0", "no-cache")


@pytest.mark.parametrize(
    ("path", "body", "named"),
    [
        (TOPICS, {}, "`topicId` is required"),
        (TOPICS, {"topicId": "a"}, "`name` is required"),
        (TOPICS, {"topicId": "a", "name": ""}, "`name` is not valid"),
        (TOPICS, {"topicId": "a", "name": "A", "subscribe": ["any", "*"]}, "`subscribe.1` is not valid"),
        ("/users/§/targets", {}, "`userId` is not an id"),
    ],
)
def test_4_a_refusal_names_the_parameter(caller: Caller, path: str, body: object, named: str) -> None:
    answer = caller.post(path, body)
    assert answer.refusal == INVALID
    assert named in answer.body["message"]
