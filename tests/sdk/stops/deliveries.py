"""The end of a tour: messages to users, targets and topics, delivered, as the simulator's record has it."""

import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import requests

from tests.sdk.sdk import UNIQUE, make
from tests.sdk.tour import PNG, Tour

SECONDS = 20.0
"""How long a message may take to finish; each does within one or two."""

NOTE = b"Between the lines."


def visit(tour: Tour) -> None:
    _configure(tour)
    grace, linus = _join(tour, "grace", "+12065550110"), _join(tour, "linus", "+12065550111")
    by_mail, by_push, by_text = (Counter([grace[channel], linus[channel]]) for channel in ("email", "push", "sms"))

    sent = {
        _send_mail(tour): by_mail,
        _send_draft(tour): Counter([grace["email"]]),
        _send_push(tour): by_push,
        _send_later(tour): Counter([linus["push"]]),
        _send_text(tour): by_text,
    }

    for message_id, recipients in sent.items():
        message = await_end(partial(tour.owner.messaging, "getMessage", messageId=message_id))
        assert (message["status"], message["deliveryErrors"]) == ("sent", [])
        assert (message["deliveredTotal"], bool(message["deliveredAt"])) == (recipients.total(), True)
        assert Counter(line["recipient"] for line in tour.captured(message_id)) == recipients
    _check_content(tour)


def await_end(fetch: Callable[[], Any]) -> Any:
    """The message, once it is sent or failed. `fetch` asks the API for it."""
    deadline = time.monotonic() + SECONDS
    while (message := fetch())["status"] not in {"sent", "failed"}:
        assert time.monotonic() < deadline, message
        time.sleep(0.05)
    return message


def _configure(tour: Tour) -> None:
    messaging, storage = tour.owner.messaging, tour.owner.storage
    configure = partial(messaging, name="Account", enabled=True)
    configure("createFcmProvider", providerId="fcm", serviceAccountJSON=tour.account("fcm"))
    configure("createSmtpProvider", providerId="smtp", host="mail.example.com", fromEmail="news@example.com")
    configure("createTwilioProvider", providerId="twilio", **tour.account("twilio"), **{"from": "+12065550100"})
    messaging("createTopic", topicId="news", name="News", subscribe=[make("Role", "users")])
    storage("createBucket", bucketId="files", name="Files")
    storage("createFile", bucketId="files", fileId="logo", file=tour.file("logo.png", PNG))
    storage("createFile", bucketId="files", fileId="note", file=tour.file("note.txt", NOTE))


def _join(tour: Tour, name: str, phone: str) -> dict[str, str]:
    """A user subscribes with three targets: by the key, with a session and with a JWT. Identifiers by channel."""
    users, token = tour.owner.users, f"{tour.project_id}-{name}"
    email, text = users("create", userId=name, email=tour.address(name), phone=phone)["targets"]
    named = {"userId": name, "targetId": f"{name}-phone", "identifier": token, "providerId": "fcm"}
    push = users("createTarget", **named, providerType="push")
    by_session = tour.principal(session=users("createSession", userId=name)["secret"])
    by_token = tour.principal(jwt=users("createJWT", userId=name)["jwt"])
    for caller, target in ((tour.owner, text), (by_session, email), (by_token, push)):
        caller.messaging("createSubscriber", topicId="news", subscriberId=UNIQUE, targetId=target["$id"])
    return {target["providerType"]: target["identifier"] for target in (email, text, push)}


def _send_mail(tour: Tour) -> str:
    mail = tour.owner.messaging(
        "createEmail",
        messageId=f"{tour.project_id}-mail",
        subject=f"{tour.project_id}-mail",
        content="<p>All the news.</p>",
        html=True,
        topics=["news"],
        attachments=["files:note"],
    )
    assert mail["status"] == "processing"
    return str(mail["$id"])


def _send_draft(tour: Tour) -> str:
    """Drafted for nobody, then sent to one user."""
    named = {"messageId": f"{tour.project_id}-draft", "subject": f"{tour.project_id}-draft"}
    assert tour.owner.messaging("createEmail", content="Hello.", draft=True, **named)["status"] == "draft"
    sent = tour.owner.messaging("updateEmail", messageId=named["messageId"], users=["grace"], draft=False)
    assert sent["status"] == "processing"
    return named["messageId"]


def _send_push(tour: Tour) -> str:
    """To the topic and again to one of its users, who must get it once."""
    push = tour.owner.messaging(
        "createPush",
        messageId=f"{tour.project_id}-push",
        title=f"{tour.project_id}-push",
        body="Hello.",
        data={"article": "7"},
        image="files:logo",
        topics=["news"],
        users=["grace"],
    )
    assert requests.get(push["data"]["image"]["url"], timeout=10).content == PNG
    return str(push["$id"])


def _send_later(tour: Tour) -> str:
    push = tour.owner.messaging(
        "createPush",
        messageId=f"{tour.project_id}-later",
        title=f"{tour.project_id}-later",
        body="In a second.",
        targets=["linus-phone"],
        scheduledAt=(datetime.now(UTC) + timedelta(seconds=1)).isoformat(),
    )
    assert push["status"] == "scheduled"
    return str(push["$id"])


def _send_text(tour: Tour) -> str:
    named = f"{tour.project_id}-text"
    assert tour.owner.messaging("createSms", messageId=named, content=named, topics=["news"])["status"] == "processing"
    return named


def _check_content(tour: Tour) -> None:
    """What a message is called is its subject, title or text too."""
    push, mail = (tour.captured(f"{tour.project_id}-{name}")[0] for name in ("push", "mail"))
    assert push["payload"]["data"] == {"article": "7"}
    assert "note.txt" in mail["raw"]
