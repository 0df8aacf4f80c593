"""Messages as they are drafted, scheduled, changed, found and withdrawn; none of them leaves."""

from typing import Any

import pytest

from tests.sdk.sdk import UNIQUE, Refused, query
from tests.sdk.tour import PNG, Tour

LATER = "2100-01-01T00:00:00.000+00:00"

PUSH: dict[str, Any] = {
    "title": "Hello",
    "body": "There",
    "data": {"article": "7"},
    "action": "open",
    "icon": "bell",
    "sound": "chime",
    "color": "#112233",
    "tag": "news",
    "badge": 0,
    "contentAvailable": True,
    "critical": True,
    "priority": "normal",
    "channelId": "headlines",
}


def visit(tour: Tour) -> None:
    owner = tour.owner
    owner.users("create", userId="ken", email=tour.address("ken"), phone="+12065550101")
    owner.storage("createBucket", bucketId="drafts", name="Drafts")
    owner.storage("createFile", bucketId="drafts", fileId="logo", file=tour.file("logo.png", PNG))
    email, phone = (target["$id"] for target in owner.users("listTargets", userId="ken")["targets"])
    _mail(tour, email)
    _push(tour)
    _text(tour, phone)
    _find(tour)
    _be_refused(tour)
    owner.storage("deleteBucket", bucketId="drafts")
    owner.users("delete", userId="ken")


def _mail(tour: Tour, target: str) -> None:
    messaging = tour.owner.messaging
    people = {"topics": ["nobody"], "users": ["ken"], "targets": [target]}
    said = {"content": "<p>Hello</p>", "html": True, "cc": [target], "bcc": [target]}
    newer = {"emails": [tour.address("ken")], "replyToEmail": "desk@example.com", "replyToName": "Desk"}
    given = {"messageId": "mail", "attachments": ["drafts:logo"], **people, **said, **newer}

    draft = messaging("createEmail", subject="Hello", draft=True, scheduledAt=LATER, **given)
    assert (draft["status"], draft["scheduledAt"], draft["deliveredTotal"]) == ("draft", LATER, 0)
    assert people.items() <= draft.items()
    known = {field: value for field, value in newer.items() if tour.sdk.takes("messaging", "createEmail", field)}
    attached = [{"bucketId": "drafts", "fileId": "logo"}]
    assert {"subject": "Hello", "attachments": attached, **said, **known}.items() <= draft["data"].items()

    changed = messaging("updateEmail", subject="Hi", draft=False, scheduledAt=LATER, **given)
    assert (changed["status"], changed["data"]) == ("scheduled", {**draft["data"], "subject": "Hi"})
    assert messaging("updateEmail", messageId="mail", draft=True)["status"] == "draft"
    listed = messaging("listTargets", messageId="mail", queries=[query("limit", 5)], total=True)
    assert [found["identifier"] for found in listed["targets"]] == [tour.address("ken")]


def _push(tour: Tour) -> None:
    messaging = tour.owner.messaging
    people = {"topics": [], "users": ["ken"], "targets": []}
    given = {"messageId": "push", "draft": True, "scheduledAt": LATER, "image": "drafts:logo", **PUSH, **people}

    draft = messaging("createPush", **given)
    image = draft["data"].pop("image")
    assert (image["bucketId"], image["fileId"]) == ("drafts", "logo")
    known = {field: value for field, value in PUSH.items() if tour.sdk.takes("messaging", "createPush", field)}
    assert draft["data"] == known
    changed = messaging("updatePush", **{**given, "badge": 3})
    assert (changed["data"]["badge"], changed["scheduledAt"], changed["users"]) == (3, LATER, ["ken"])


def _text(tour: Tour, target: str) -> None:
    """With each spelling that the SDK has."""
    messaging = tour.owner.messaging
    people = {"topics": ["nobody"], "users": ["ken"], "targets": [target], "scheduledAt": LATER}
    creates, updates = (tour.sdk.spellings("messaging", f"{verb}Sms") for verb in ("create", "update"))
    for create, update in zip(creates, updates, strict=True):
        text = messaging(create, messageId=UNIQUE, content="Hello", draft=False, **people)
        assert (text["status"], text["scheduledAt"], text["data"]) == ("scheduled", LATER, {"content": "Hello"})
        changed = messaging(update, messageId=text["$id"], content="Bye", draft=True, **{**people, "topics": []})
        assert (changed["status"], changed["data"], changed["topics"]) == ("draft", {"content": "Bye"}, [])
        messaging("delete", messageId=text["$id"])


def _find(tour: Tour) -> None:
    messaging = tour.owner.messaging
    page = messaging("listMessages", queries=[query("orderDesc", "$createdAt"), query("limit", 1)], total=True)
    assert (page["total"], [message["$id"] for message in page["messages"]]) == (2, ["push"])
    after = messaging("listMessages", queries=[query("equal", "status", ["draft"]), query("cursorAfter", "mail")])
    assert [message["$id"] for message in after["messages"]] == ["push"]
    (found,) = messaging("listMessages", search="hi")["messages"]
    assert found == messaging("getMessage", messageId="mail")
    if tour.sdk.spellings("messaging", "listMessageLogs"):
        logs = messaging("listMessageLogs", messageId="push", queries=[query("limit", 5)], total=True)["logs"]
        assert [log["event"] for log in logs] == ["message.update", "message.create"]
    for message_id in ("mail", "push"):
        messaging("delete", messageId=message_id)
    assert messaging("listMessages") == {"total": 0, "messages": []}


def _be_refused(tour: Tour) -> None:
    """What the SDKs raise knows the contract's code and type."""
    messaging = tour.owner.messaging
    with pytest.raises(Refused) as missing:
        messaging("getMessage", messageId="missing")
    assert missing.value.refusal == (404, "message_not_found")
    with pytest.raises(Refused) as malformed:
        messaging("getMessage", messageId="-")
    assert malformed.value.refusal == (400, "general_argument_invalid")
    with pytest.raises(Refused) as lonely:
        messaging("createEmail", messageId=UNIQUE, subject="Hello", content="To nobody")
    assert lonely.value.refusal == (400, "message_missing_target")
    with pytest.raises(Refused) as nobody:
        tour.principal().messaging("listMessages")
    assert nobody.value.refusal == (401, "general_unauthorized_scope")
