"""What a page in a browser calls: a visitor logs in, registers a device, subscribes, is reached, and leaves."""

from typing import Any

import pytest
import requests

from tests.sdk.sdk import UNIQUE, Refused, make
from tests.sdk.stops.deliveries import await_end
from tests.sdk.tour import Tour


def visit(tour: Tour) -> None:
    _prepare(tour)
    page, email = tour.principal(), tour.address("joan")
    page.account("create", userId="joan", email=email, password="engine-no-2", name="Joan")
    page.account("createEmailPasswordSession", email=email, password="engine-no-2")
    assert page.account("get")["$id"] == "joan", "the page keeps the session"

    device = page.account("createPushTarget", targetId="browser", identifier="first-token", providerId="fcm")
    assert (device["userId"], device["providerType"], device["providerId"]) == ("joan", "push", "fcm")
    token = f"{tour.project_id}-token"
    renewed = page.account("updatePushTarget", targetId="browser", identifier=token)
    assert (renewed["$id"], renewed["identifier"], renewed["expired"]) == ("browser", token, False)
    subscriber = page.messaging("createSubscriber", topicId="news", subscriberId=UNIQUE, targetId="browser")
    assert (subscriber["userName"], subscriber["target"]["identifier"]) == ("Joan", token)

    _check_delivery(tour, token)

    page.messaging("deleteSubscriber", topicId="news", subscriberId=subscriber["$id"])
    page.account("deletePushTarget", targetId="browser")
    with pytest.raises(Refused) as gone:
        page.account("updatePushTarget", targetId="browser", identifier="another-token")
    assert gone.value.refusal == (404, "user_target_not_found")
    mine = make("Permission", "read", make("Role", "user", "joan"))
    document = page.databases(
        "createDocument",
        databaseId="main",
        collectionId="notes",
        documentId=UNIQUE,
        data={"title": "Hello"},
        permissions=[mine],
    )
    assert (document["title"], document["$permissions"]) == ("Hello", ['read("user:joan")'])
    page.account("deleteSession", sessionId="current")
    with pytest.raises(Refused) as logged_out:
        page.account("get")
    assert logged_out.value.refusal == (401, "general_unauthorized_scope")


def _prepare(tour: Tour) -> None:
    """What the page's owner has made ready with a key."""
    fcm = {"providerId": "fcm", "name": "Push", "serviceAccountJSON": tour.account("fcm"), "enabled": True}
    _as_owner(tour, "POST", "/messaging/providers/fcm", fcm)
    _as_owner(tour, "POST", "/messaging/topics", {"topicId": "news", "name": "News", "subscribe": ["users"]})
    _as_owner(tour, "POST", "/databases", {"databaseId": "main", "name": "Main"})
    title = {"key": "title", "type": "string", "size": 100, "required": True}
    notes = {"collectionId": "notes", "name": "Notes", "attributes": [title], "permissions": ['create("users")']}
    _as_owner(tour, "POST", "/databases/main/collections", notes)


def _check_delivery(tour: Tour, token: str) -> None:
    named = f"{tour.project_id}-push"
    push = {"messageId": named, "title": named, "body": "Hello.", "topics": ["news"]}
    _as_owner(tour, "POST", "/messaging/messages/push", push)
    message = await_end(lambda: _as_owner(tour, "GET", f"/messaging/messages/{named}"))
    assert (message["status"], message["deliveredTotal"]) == ("sent", 1)
    assert [line["recipient"] for line in tour.captured(named)] == [token]


def _as_owner(tour: Tour, method: str, path: str, body: object = None) -> Any:
    headers = {"X-Appwrite-Project": tour.project_id, "X-Appwrite-Key": tour.installation.factory.key}
    answer = requests.request(method, f"{tour.installation.endpoint}{path}", headers=headers, json=body, timeout=10)
    assert answer.ok, answer.text
    return answer.json()
