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
    grace, linus = (_join(tour, name) for name in ("grace", "linus"))
    everybody = Counter([*grace.values(), *linus.values()])
    mails = Counter([grace["email"], linus["email"]])
    pushes = everybody - mails

    sent = {
        _send_mail(tour): mails,
        _send_draft(tour): Counter([grace["email"]]),
        _send_push(tour): pushes,
        _send_later(tour): Counter([linus["push"]]),
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
    account = tour.service_account()
    messaging("createFcmProvider", providerId="fcm", name="Push", serviceAccountJSON=account, enabled=True)
    sender = {"host": "mail.example.com", "fromEmail": "news@example.com"}
    messaging("createSmtpProvider", providerId="smtp", name="Mail", enabled=True, **sender)
    messaging("createTopic", topicId="news", name="News", subscribe=[make("Role", "users")])
    storage("createBucket", bucketId="files", name="Files")
    storage("createFile", bucketId="files", fileId="logo", file=tour.file("logo.png", PNG))
    storage("createFile", bucketId="files", fileId="note", file=tour.file("note.txt", NOTE))


def _join(tour: Tour, name: str) -> dict[str, str]:
    """A user with two targets who subscribes with both: with a session, then with a JWT. Identifiers by channel."""
    users, identifiers = tour.owner.users, {"email": tour.address(name), "push": f"{tour.project_id}-{name}"}
    email = users("create", userId=name, email=identifiers["email"])["targets"][0]
    push = users(
        "createTarget",
        userId=name,
        targetId=f"{name}-phone",
        providerType="push",
        identifier=identifiers["push"],
        providerId="fcm",
    )
    session = users("createSession", userId=name)["secret"]
    token = users("createJWT", userId=name)["jwt"]
    for caller, target in ((tour.principal(session=session), email), (tour.principal(jwt=token), push)):
        caller.messaging("createSubscriber", topicId="news", subscriberId=UNIQUE, targetId=target["$id"])
    return identifiers


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


def _check_content(tour: Tour) -> None:
    """Ids are titles here."""
    push, mail = (tour.captured(f"{tour.project_id}-{name}")[0] for name in ("push", "mail"))
    assert push["payload"]["data"] == {"article": "7"}
    assert "note.txt" in mail["raw"]
