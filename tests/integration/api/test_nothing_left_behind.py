"""What is refused leaves nothing behind: not a row of the project is other than before (contract §8-§17)."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration.api.conftest import Caller, RunningApi, make_caller
from tests.integration.api.logins import User, log_in

EMAIL: dict[str, Any] = {"messageId": "new", "subject": "Hello", "content": "Hello there.", "users": ["ada"]}
PUSH: dict[str, Any] = {"messageId": "new", "title": "Hello", "users": ["ada"]}
SMTP: dict[str, Any] = {"providerId": "new", "name": "Mail", "host": "mail.example.com"}
TARGET: dict[str, Any] = {"targetId": "new", "providerType": "push", "identifier": "token-new"}
DOCUMENTS = "/databases/shop/collections/orders/documents"


@pytest.fixture(scope="module")
def filled(running_api: RunningApi) -> Iterator[tuple[Caller, User]]:
    """One of everything, and a logged-in user, whom the topic `closed` is closed to."""
    caller = make_caller(running_api)
    bob = log_in(caller, "bob")
    caller.create_user("ada", email="ada@example.com", phone="+12065550100")
    caller.create_target("ada", "token", targetId="phone")
    caller.create_topic("news")
    caller.create_topic("closed", subscribe=[])
    caller.subscribe("news", "phone", "sub")
    caller.create("/messaging/providers/smtp", SMTP | {"providerId": "mail"})
    caller.create_push("draft", draft=True)
    caller.create_push("sending", users=["ada"])
    caller.create_email("later", users=["ada"], scheduledAt="2100-01-01")
    with caller.factory.connect() as connection:
        connection.execute(
            "UPDATE messages SET scheduled_at = now() WHERE project_seq = %s AND id = 'later'",
            [caller.factory.project_seq],
        )
    caller.create("/storage/buckets", {"bucketId": "files", "name": "Files"})
    caller.create("/databases", {"databaseId": "shop", "name": "Shop"})
    title = {"key": "title", "type": "string", "required": True}
    caller.create("/databases/shop/collections", {"collectionId": "orders", "name": "O", "attributes": [title]})
    caller.create(DOCUMENTS, {"documentId": "taken", "data": {"title": "T"}})
    yield caller, bob
    caller.session.close()


def everything(caller: Caller) -> dict[str, Any]:
    """Each table's rows of the project."""
    tables = caller.rows(
        "SELECT table_name::text FROM information_schema.columns JOIN information_schema.tables USING (table_name)"
        " WHERE column_name = 'project_seq' AND table_type = 'BASE TABLE' AND %(project)s > 0"
    )
    selected = " UNION ALL ".join(
        f"SELECT '{table}', count(*), md5(string_agg(row::text, '' ORDER BY row::text)) FROM {table} AS row"  # noqa: S608  # names of tables
        " WHERE project_seq = %(project)s"
        for (table,) in tables
    )
    assert len(tables) > 12
    return {table: rest for table, *rest in caller.rows(selected)}


REFUSED = [
    ("POST", "/messaging/messages/email", EMAIL | {"messageId": "draft"}, 409),
    ("POST", "/messaging/messages/email", EMAIL | {"users": []}, 400),
    ("POST", "/messaging/messages/email", EMAIL | {"targets": ["phone"]}, 400),
    ("POST", "/messaging/messages/email", EMAIL | {"cc": ["missing"], "draft": True}, 400),
    ("POST", "/messaging/messages/email", EMAIL | {"emails": ["nobody@example.com"]}, 400),
    ("POST", "/messaging/messages/email", EMAIL | {"attachments": ["none:file"]}, 404),
    ("POST", "/messaging/messages/email", EMAIL | {"attachments": ["files:none"]}, 404),
    ("POST", "/messaging/messages/email", EMAIL | {"scheduledAt": "2001-01-01"}, 400),
    ("POST", "/messaging/messages/sms", {"messageId": "new", "content": "x", "targets": ["phone"]}, 400),
    ("POST", "/messaging/messages/push", PUSH | {"image": "files:none"}, 404),
    ("POST", "/messaging/messages/push", PUSH | {"data": {"number": "\0"}}, 400),
    ("PATCH", "/messaging/messages/push/draft", {"draft": False}, 400),
    ("PATCH", "/messaging/messages/push/draft", {"title": "x", "image": "none:file"}, 404),
    ("PATCH", "/messaging/messages/push/sending", {"title": "x"}, 400),
    ("PATCH", "/messaging/messages/email/later", {"subject": "x"}, 400),
    ("PATCH", "/messaging/messages/email/later", {"draft": True}, 400),
    ("PATCH", "/messaging/messages/email/missing", {}, 404),
    ("DELETE", "/messaging/messages/later", {}, 400),
    ("DELETE", "/messaging/messages/missing", {}, 404),
    ("POST", "/messaging/providers/smtp", SMTP | {"providerId": "mail"}, 409),
    ("POST", "/messaging/providers/fcm", {"providerId": "mail", "name": "Push"}, 409),
    ("POST", "/messaging/providers/smtp", SMTP | {"fromEmail": "nobody"}, 400),
    ("PATCH", "/messaging/providers/smtp/mail", {"enabled": True, "name": "x", "password": "x"}, 400),
    ("PATCH", "/messaging/providers/fcm/mail", {"name": "x"}, 400),
    ("PATCH", "/messaging/providers/smtp/missing", {"name": "x"}, 404),
    ("DELETE", "/messaging/providers/missing", {}, 404),
    ("POST", "/messaging/topics", {"topicId": "news", "name": "x"}, 409),
    ("POST", "/messaging/topics", {"topicId": "new", "name": "x", "subscribe": ["*"]}, 400),
    ("PATCH", "/messaging/topics/news", {"name": ""}, 400),
    ("DELETE", "/messaging/topics/missing", {}, 404),
    ("POST", "/messaging/topics/news/subscribers", {"subscriberId": "new", "targetId": "phone"}, 409),
    ("POST", "/messaging/topics/closed/subscribers", {"subscriberId": "sub", "targetId": "phone"}, 409),
    ("POST", "/messaging/topics/news/subscribers", {"subscriberId": "new", "targetId": "missing"}, 404),
    ("DELETE", "/messaging/topics/closed/subscribers/sub", {}, 404),
    ("POST", "/users", {"userId": "ada", "email": "new@example.com", "phone": "+12065550199"}, 409),
    ("POST", "/users", {"userId": "new", "email": "ADA@example.com"}, 409),
    ("POST", "/users", {"userId": "new", "email": "new@example.com", "phone": "+12065550100"}, 409),
    ("DELETE", "/users/missing", {}, 404),
    ("POST", "/users/ada/targets", TARGET | {"targetId": "phone"}, 409),
    ("POST", "/users/bob/targets", TARGET | {"identifier": "token"}, 409),
    ("POST", "/users/ada/targets", TARGET | {"providerType": "sms"}, 400),
    ("PATCH", "/users/ada/targets/phone", {"name": "x", "providerId": "mail"}, 400),
    ("PATCH", "/users/ada/targets/phone", {"name": "x", "providerId": "missing"}, 404),
    ("PATCH", "/users/ada/targets/phone", {"name": "x", "identifier": "ada@example.com"}, 409),
    ("DELETE", "/users/bob/targets/phone", {}, 404),
    ("POST", "/users/missing/sessions", {}, 404),
    ("POST", "/databases", {"databaseId": "shop", "name": "x"}, 409),
    ("POST", "/databases/shop/collections", {"collectionId": "orders", "name": "x"}, 409),
    ("POST", DOCUMENTS, {"documentId": "taken", "data": {"title": "x"}}, 409),
    ("POST", DOCUMENTS, {"documentId": "new", "data": {}}, 400),
    ("POST", DOCUMENTS, {"documentId": "new", "data": {"title": 5}}, 400),
    ("POST", DOCUMENTS, {"documentId": "new", "data": {"title": "x", "$id": "y"}}, 400),
]


@pytest.mark.parametrize(("method", "path", "body", "status"), REFUSED)
def test_of_what_a_key_is_refused(
    filled: tuple[Caller, User], method: str, path: str, body: dict[str, Any], status: int
) -> None:
    caller, _ = filled
    before = everything(caller)
    answer = caller(method, path, json=body)
    assert answer.status == status, answer.body
    assert everything(caller) == before


REFUSED_TO_USERS = [
    ("POST", "/messaging/topics/closed/subscribers", {"subscriberId": "new", "targetId": "phone"}, 401),
    ("POST", "/messaging/topics/news/subscribers", {"subscriberId": "new", "targetId": "phone"}, 409),
    ("DELETE", "/messaging/topics/news/subscribers/sub", {}, 404),
    ("POST", "/account/targets/push", {"targetId": "phone", "identifier": "token-new"}, 409),
    ("PUT", "/account/targets/phone/push", {"identifier": "token-new"}, 404),
    ("DELETE", "/account/targets/phone/push", {}, 404),
    ("POST", "/account/sessions/email", {"email": "ada@example.com", "password": "engine-no-1"}, 401),
    ("DELETE", "/account/sessions/missing", {}, 404),
    ("POST", "/messaging/topics", {"topicId": "new", "name": "x"}, 401),
    ("POST", DOCUMENTS, {"documentId": "new", "data": {"title": "x"}}, 401),
]


@pytest.mark.parametrize(("method", "path", "body", "status"), REFUSED_TO_USERS)
def test_of_what_a_user_is_refused(
    filled: tuple[Caller, User], method: str, path: str, body: dict[str, Any], status: int
) -> None:
    caller, bob = filled
    before = everything(caller)
    answer = bob(method, path, json=body)
    assert answer.status == status, answer.body
    assert everything(caller) == before
