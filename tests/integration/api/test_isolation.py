"""Every route, called with another project's ids and with another project's key."""

import re
from typing import Any

import pytest

from api.kernel import Endpoint
from api.routes import ALL_ROUTES
from tests.integration.api.conftest import Caller

PARAMETER = re.compile(r"\{(\w+)\}")

OWN = {
    "userId": "ada",
    "targetId": "phone",
    "topicId": "news",
    "subscriberId": "sub",
    "providerId": "push",
    "messageId": "draft",
}
"""What the owner has. A route that names anything else, such as a bucket, asks for one that nobody has."""

NOT_IDS = {"name"}  # of a queue

# Enough for every route that creates something below another thing; what one does not know it ignores.
BODY = {
    "subscriberId": "new",
    "targetId": "phone",
    "providerType": "push",
    "identifier": "token-2",
    "email": "ada@example.com",
    "name": "New",
    "collectionId": "new",
    "documentId": "new",
    "key": "title",
    "size": 10,
    "data": {"a": 1},
    "secret": "whsec",
}

READS: tuple[str, ...] = (
    "/users/ada",
    "/users/ada/targets/phone",
    "/messaging/topics/news",
    "/messaging/topics/news/subscribers/sub",
)
READS += ("/messaging/providers/push", "/messaging/messages/draft")


def _calls() -> list[tuple[str, Endpoint]]:
    endpoints = [endpoint for routes in ALL_ROUTES for endpoint in routes.endpoints]
    return [(method, endpoint) for endpoint in endpoints for method in sorted(endpoint.methods or ())]


def _names_ids(endpoint: Endpoint) -> bool:
    return bool(set(PARAMETER.findall(endpoint.path)) - NOT_IDS)


NAMED = [(method, endpoint) for method, endpoint in _calls() if _names_ids(endpoint)]
A_LIST = re.compile(r"/v1/(messaging/)?\w+s")
LISTS = [endpoint for method, endpoint in _calls() if method == "GET" and A_LIST.fullmatch(endpoint.path)]


@pytest.fixture
def owner(caller: Caller) -> Caller:
    """A project with one of everything."""
    caller.create_user("ada", email="ada@example.com")
    caller.create("/messaging/providers/fcm", {"providerId": "push", "name": "Push", "serviceAccountJSON": {"a": "b"}})
    caller.create_target("ada", "token", targetId="phone")
    caller.create_topic("news")
    caller.subscribe("news", "phone", "sub")
    caller.create_push("draft", targets=["phone"], draft=True)
    return caller


def _path(endpoint: Endpoint) -> str:
    path = PARAMETER.sub(lambda found: OWN.get(found[1], "theirs"), endpoint.path)
    return path.removeprefix("/v1")


def _everything(owner: Caller) -> list[Any]:
    return [owner.get(path).body for path in READS]


def test_the_walk_reaches_what_the_contract_has() -> None:
    assert len([endpoint for _, endpoint in NAMED if endpoint.path.startswith("/v1/messaging")]) >= 30
    assert len(LISTS) >= 4


def test_ids_of_another_project_are_unknown_everywhere(owner: Caller, stranger: Caller) -> None:
    before = _everything(owner)
    for method, endpoint in NAMED:
        options = {"json": BODY} if method in ("POST", "PATCH", "PUT") else {}
        answer = stranger(method, _path(endpoint), **options)
        assert answer.status in (401, 404), (method, endpoint.path, answer.body)
    for endpoint in LISTS:
        assert stranger.get(_path(endpoint)).body["total"] == 0, endpoint.path
    assert _everything(owner) == before


def test_a_key_opens_no_other_project(owner: Caller, stranger: Caller) -> None:
    before = _everything(owner)
    for method, endpoint in _calls():
        if not endpoint.declared.scopes:
            continue
        answer = stranger(method, _path(endpoint), headers={"X-Appwrite-Project": owner.project_id}, json=BODY)
        assert answer.refusal == (401, "user_unauthorized"), (method, endpoint.path)
    assert _everything(owner) == before


def test_targets_of_another_project_are_no_recipients_and_no_subscribers(owner: Caller, stranger: Caller) -> None:
    stranger.create_topic("news")
    joining = stranger.post("/messaging/topics/news/subscribers", {"subscriberId": "s", "targetId": "phone"})
    assert joining.refusal == (404, "user_target_not_found")
    message = stranger.post("/messaging/messages/push", {"messageId": "m", "title": "T", "targets": ["phone"]})
    assert message.refusal == (400, "message_target_not_push")


def test_the_same_ids_live_side_by_side(owner: Caller, stranger: Caller) -> None:
    before = _everything(owner)
    stranger.create_user("ada", email="ada@example.com")
    stranger.create_target("ada", "token", targetId="phone")
    stranger.create_topic("news")
    stranger.subscribe("news", "phone", "sub")
    stranger.delete("/users/ada")
    assert _everything(owner) == before
