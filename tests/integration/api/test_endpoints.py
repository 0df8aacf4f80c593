"""Contract §7: the index of endpoints, row by row, with those that later versions added."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from shared.domain.api_key import hash_secret
from tests.factories import ALL_SCOPES
from tests.integration.api.conftest import Answer, Caller, RunningApi, make_caller

MODELS: dict[str, set[str]] = {
    # §8.1
    "M": {"providerType", "topics", "users", "targets", "scheduledAt", "deliveredAt", "deliveryErrors"}
    | {"deliveredTotal", "data", "status"},
    # §9.1
    "P": {"name", "provider", "enabled", "type", "credentials", "options"},
    # §10; the last three as §19 recommends
    "T": {"name", "emailTotal", "smsTotal", "pushTotal", "subscribe", "description", "qos", "expiry"},
    # §11
    "S": {"targetId", "target", "userId", "userName", "topicId", "providerType"},
    # §14
    "target": {"name", "userId", "providerId", "providerType", "identifier", "expired"},
}
STORED = {"$id", "$createdAt", "$updatedAt"}

LOG = {"event", "userId", "userEmail", "userName", "mode", "userType", "ip", "time"}
LOG |= {"osCode", "osName", "osVersion", "clientType", "clientCode", "clientName", "clientVersion", "clientEngine"}
LOG |= {"clientEngineVersion", "deviceName", "deviceBrand", "deviceModel", "countryCode", "countryName"}

KINDS = "apns fcm mailgun msg91 sendgrid smtp telesign textmagic twilio vonage"
LATER_KINDS = "resend ses"
"""Since 1.8.1 and 1.9.5."""


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the table. `answers`: a model, `204`, or what a list holds and under which name."""

    method: str
    path: str  # below /v1/messaging
    status: int
    answers: str
    scope: str
    body: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


def _of_kind(kind: str) -> tuple[Row, Row]:
    host = {"host": "mail.example.com"} if kind == "smtp" else {}
    create = {"providerId": f"new-{kind}", "name": "New", **host}
    return (
        Row("POST", f"/providers/{kind}", 201, "P", "providers.write", create),
        Row("PATCH", f"/providers/{kind}/{kind}", 200, "P", "providers.write", {"name": "Changed"}),
    )


EMAIL: dict[str, Any] = {"messageId": "new-email", "subject": "Hello", "content": "Hello there.", "draft": True}
PUSH: dict[str, Any] = {"messageId": "new-push", "title": "Hello", "draft": True}
SMS: dict[str, Any] = {"messageId": "new-sms", "content": "Hello", "draft": True}

INDEX = [
    Row("GET", "/messages", 200, "messages: M", "messages.read"),
    Row("POST", "/messages/email", 201, "M", "messages.write", EMAIL),
    Row("PATCH", "/messages/email/email", 200, "M", "messages.write", {"subject": "Changed"}),
    Row("POST", "/messages/push", 201, "M", "messages.write", PUSH),
    Row("PATCH", "/messages/push/push", 200, "M", "messages.write", {"title": "Changed"}),
    Row("POST", "/messages/sms", 201, "M", "messages.write", SMS),
    Row("PATCH", "/messages/sms/sms", 200, "M", "messages.write", {"content": "Changed"}),
    Row("GET", "/messages/push", 200, "M", "messages.read"),
    Row("DELETE", "/messages/gone", 204, "204", "messages.write"),
    Row("GET", "/messages/push/logs", 200, "logs: log", "messages.read"),
    Row("GET", "/messages/push/targets", 200, "targets: target", "messages.read"),
    Row("GET", "/providers", 200, "providers: P", "providers.read"),
    *(row for kind in KINDS.split() for row in _of_kind(kind)),
    Row("GET", "/providers/fcm", 200, "P", "providers.read"),
    Row("DELETE", "/providers/gone", 204, "204", "providers.write"),
    Row("GET", "/providers/fcm/logs", 200, "logs: log", "providers.read"),
    Row("GET", "/subscribers/sub/logs", 200, "logs: log", "subscribers.read"),
    Row("GET", "/topics", 200, "topics: T", "topics.read"),
    Row("POST", "/topics", 201, "T", "topics.write", {"topicId": "new", "name": "New"}),
    Row("GET", "/topics/news", 200, "T", "topics.read"),
    Row("PATCH", "/topics/news", 200, "T", "topics.write", {"name": "Changed"}),
    Row("DELETE", "/topics/gone", 204, "204", "topics.write"),
    Row("GET", "/topics/news/logs", 200, "logs: log", "topics.read"),
    Row("GET", "/topics/news/subscribers", 200, "subscribers: S", "subscribers.read"),
    Row(
        "POST",
        "/topics/news/subscribers",
        201,
        "S",
        "subscribers.write",
        {"subscriberId": "new", "targetId": "tablet"},
    ),
    Row("GET", "/topics/news/subscribers/sub", 200, "S", "subscribers.read"),
    Row("DELETE", "/topics/news/subscribers/gone", 204, "204", "subscribers.write"),
]
ADDED_LATER = [row for kind in LATER_KINDS.split() for row in _of_kind(kind)]

ALL_ROWS = [*INDEX, *ADDED_LATER]

every_row = pytest.mark.parametrize("row", ALL_ROWS, ids=str)


def test_the_index_has_46_rows() -> None:
    assert len(set(map(str, INDEX))) == len(INDEX) == 46
    assert len(ADDED_LATER) == 4


@pytest.fixture(scope="module")
def project(running_api: RunningApi) -> Iterator[Caller]:
    """One of everything under the ids that the rows name, what DELETE names included; and keys of few scopes."""
    caller = make_caller(running_api)
    caller.create_user("ada", name="Ada")
    for target_id in ("phone", "tablet", "watch"):
        caller.create_target("ada", f"token-{target_id}", targetId=target_id)
    for topic_id in ("news", "gone"):
        caller.create_topic(topic_id)
    caller.subscribe("news", "phone", "sub")
    caller.subscribe("news", "watch", "gone")
    for kind in [*KINDS.split(), *LATER_KINDS.split()]:
        caller.create(f"/messaging/providers/{kind}", _of_kind(kind)[0].body | {"providerId": kind})
    caller.create("/messaging/providers/fcm", {"providerId": "gone", "name": "Gone"})
    for message_id, kind, given in (
        ("email", "email", EMAIL),
        ("push", "push", PUSH | {"targets": ["phone"]}),
        ("sms", "sms", SMS),
        ("gone", "push", PUSH),
    ):
        caller.create(f"/messaging/messages/{kind}", given | {"messageId": message_id})
    with caller.factory.connect() as connection:
        for scope in {row.scope for row in ALL_ROWS}:
            for secret, scopes in ((f"only-{scope}", [scope]), (f"but-{scope}", sorted({*ALL_SCOPES} - {scope}))):
                connection.execute(
                    "INSERT INTO api_keys (project_seq, id, name, secret_hash, scopes) VALUES (%s, %s, '', %s, %s)",
                    [caller.factory.project_seq, secret, hash_secret(f"{caller.key}-{secret}"), scopes],
                )
    yield caller
    caller.session.close()


def ask(caller: Caller, row: Row, *, path: str | None = None, **headers: str | None) -> Answer:
    """`headers` on top of the project's own; None takes one away."""
    return caller(row.method, f"/messaging{path or row.path}", json=row.body, headers=headers, allow_redirects=False)


def check_model(name: str, item: dict[str, Any]) -> None:
    if name == "log":
        assert set(item) == LOG
        assert {type(value) for value in item.values()} == {str}
    else:
        assert set(item) == STORED | MODELS[name]
    if name == "S":
        assert set(item["target"]) == STORED | MODELS["target"]


@every_row
def test_each_row_answers_its_status_and_model_to_a_key_of_its_scope_alone(project: Caller, row: Row) -> None:
    answer = ask(project, row, **{"X-Appwrite-Key": f"{project.key}-only-{row.scope}"})
    assert answer.status == row.status, answer.body
    if row.answers == "204":
        assert answer.body == b""
        assert not answer.headers["content-type"].startswith("application/json")
        return
    plural, _, model = row.answers.rpartition(": ")
    if plural:
        assert set(answer.body) == {"total", plural}
        assert answer.body["total"] >= len(answer.body[plural]) > 0
    for item in answer.body[plural] if plural else [answer.body]:
        check_model(model, item)


@every_row
def test_each_row_asks_for_its_scope(project: Caller, row: Row) -> None:
    """Also with a slash at its end, without a redirect (§1.6)."""
    refused = (401, "general_unauthorized_scope")
    for path in (row.path, f"{row.path}/"):
        assert ask(project, row, path=path, **{"X-Appwrite-Key": f"{project.key}-but-{row.scope}"}).refusal == refused
        assert ask(project, row, path=path, **{"X-Appwrite-Key": None}).refusal == refused


UNKNOWN = {
    "messages": "message_not_found",
    "providers": "provider_not_found",
    "topics": "topic_not_found",
    "subscribers": "subscriber_not_found",
}


def _with_an_unknown_id(row: Row) -> str:
    """Not the kind in its path, which PATCH has before the id."""
    parts = row.path.split("/")
    parts[3 if row.method == "PATCH" and parts[1] != "topics" else 2] = "missing"
    return "/".join(parts)


NAMING = [row for row in ALL_ROWS if row.path.count("/") > 1 and (row.method != "POST" or "subscribers" in row.path)]


@pytest.mark.parametrize("row", NAMING, ids=str)
def test_each_row_that_names_something_refuses_what_there_is_not(project: Caller, row: Row) -> None:
    assert ask(project, row, path=_with_an_unknown_id(row)).refusal == (404, UNKNOWN[row.path.split("/")[1]])
