"""S5: nobody learns of another's things, not even that they are there.

Every route with another project's ids: tests/integration/api/test_isolation.py.
"""

import json

import pytest

from tests.integration.api.conftest import Caller
from tests.integration.api.logins import User, log_in

SUBSCRIBERS = "/messaging/topics/news/subscribers"
FILES = "/storage/buckets/photos/files"


def test_who_subscribes_somebody_else_learns_not_where_they_are(caller: Caller) -> None:
    bob = log_in(caller, "bob")
    caller.create("/users", {"userId": "eve", "name": "Eve", "email": "eve@private.example"})
    target = caller.get("/users/eve/targets").body["targets"][0]
    caller.create_topic("news", subscribe=["users"])

    answer = bob.post(SUBSCRIBERS, {"subscriberId": "s", "targetId": target["$id"]})

    assert answer.status == 201
    assert answer.body["userName"] == ""
    told = answer.body["target"]
    assert (told["identifier"], told["name"], told["providerId"]) == ("", "", None)
    assert told["$createdAt"] != target["$createdAt"]
    assert caller.get(f"{SUBSCRIBERS}/s").body["target"]["identifier"] == "eve@private.example", "keys are told"


def test_who_signs_up_with_an_address_of_another_s_learns_nothing_of_them(caller: Caller) -> None:
    caller.create("/users", {"userId": "eve", "name": "Eve"})
    second = {"targetId": "second", "providerType": "email", "identifier": "second@private.example"}
    caller.create("/users/eve/targets", second)
    guest = {"X-Appwrite-Key": None}
    body = {"userId": "mallory", "email": "second@private.example", "password": "long enough"}

    answer = caller("POST", "/account", json=body, headers=guest)

    assert (answer.status, answer.body["targets"]) == (201, [])


@pytest.mark.parametrize(("method", "status"), [("GET", 404), ("PUT", 401), ("DELETE", 401)])
def test_what_is_hidden_is_told_from_what_is_not_there_by_nothing(caller: Caller, method: str, status: int) -> None:
    bob = log_in(caller, "bob")
    caller.create("/storage/buckets", {"bucketId": "photos", "name": "P", "fileSecurity": True})
    caller("POST", FILES, files={"fileId": (None, "hidden"), "file": ("f.txt", b"content")})
    paths = ["", "/view", "/download"] if method == "GET" else [""]
    for path in paths:
        hidden, missing = (bob(method, f"{FILES}/{file}{path}", json={}) for file in ("hidden", "missing"))
        assert hidden.status == missing.status == status
        assert hidden.body == missing.body


def test_a_key_sees_the_queue_of_its_own_project(caller: Caller, stranger: Caller) -> None:
    before = stranger.get("/health/queue/messaging").body
    caller.create("/users", {"userId": "ada", "name": "Ada", "email": "ada@example.com"})
    caller.create_push(users=["ada"])
    caller.rows(
        "INSERT INTO fan_outs (run, project_seq, message_seq, crashes, due_at)"
        " VALUES (7, %(project)s, 1, 1, now()) RETURNING run"
    )
    assert caller.get("/health/queue/messaging").body["size"] >= 1
    assert caller.get("/health/queue/failed/v1-messaging").body == {"size": 1}
    assert stranger.get("/health/queue/messaging").body == before
    assert stranger.get("/health/queue/failed/v1-messaging").body == {"size": 0}


def test_what_somebody_uploaded_is_shown_as_a_page_of_nobody(caller: Caller) -> None:
    caller.create("/storage/buckets", {"bucketId": "photos", "name": "P"})
    page = b"<form action=https://evil.example><meta http-equiv=refresh content='0;url=https://evil.example'>"
    caller("POST", FILES, files={"fileId": (None, "page"), "file": ("page.html", page, "text/html")})
    for way in ("view", "download"):
        policy = caller.get(f"{FILES}/page/{way}").headers["content-security-policy"]
        directives = {directive.strip() for directive in policy.split(";")}
        assert {"sandbox", "default-src 'none'", "form-action 'none'"} <= directives


def subscribe_eve(caller: Caller) -> tuple[User, User]:
    """By bob, who is a user like her."""
    bob, eve = log_in(caller, "bob"), log_in(caller, "eve")
    (target,) = eve("GET", "/account").body["targets"]
    caller.create_topic("news", subscribe=["users"])
    assert bob.post(SUBSCRIBERS, {"subscriberId": "hers", "targetId": target["$id"]}).status == 201
    return bob, eve


def test_the_log_of_ones_subscription_does_not_say_who_else_made_it(caller: Caller) -> None:
    _, eve = subscribe_eve(caller)
    path = "/messaging/subscribers/hers/logs"
    (entry,) = eve("GET", path).body["logs"]
    assert entry["event"] == "subscriber.create"
    assert {entry[field] for field in ("userId", "userName", "userEmail", "ip", "clientName")} == {""}
    (entry,) = caller.get(path).body["logs"]
    assert (entry["userId"], entry["userEmail"]) == ("bob", "bob@example.com"), "keys are told"


def test_no_cursor_tells_of_what_is_not_in_the_callers_list(caller: Caller) -> None:
    bob, eve = subscribe_eve(caller)
    refused = []
    for cursor in ("hers", "missing"):
        queries = {"queries[0]": json.dumps({"method": "cursorAfter", "values": [cursor]})}
        refused.append(bob("GET", SUBSCRIBERS, params=queries))
    assert refused[0].refusal == (400, "general_cursor_not_found")
    assert refused[0].body == refused[1].body
    assert [each["$id"] for each in eve("GET", SUBSCRIBERS).body["subscribers"]] == ["hers"]
