"""The official SDK, unmodified, through everything that is served: what it parses is what its models require."""

import pytest
from appwrite.client import Client
from appwrite.enums.messaging_provider_type import MessagingProviderType
from appwrite.enums.smtp_encryption import SmtpEncryption
from appwrite.exception import AppwriteException
from appwrite.id import ID
from appwrite.query import Query
from appwrite.services.messaging import Messaging
from appwrite.services.users import Users

from tests.integration.api.conftest import Caller


@pytest.fixture
def client(caller: Caller) -> Client:
    return Client().set_endpoint(caller.endpoint).set_project(caller.project_id).set_key(caller.key)


def test_providers(client: Client) -> None:
    messaging = Messaging(client)
    smtp = messaging.create_smtp_provider(
        "mail", "Mail", "smtp.example.com", port=2525, encryption=SmtpEncryption.TLS, from_email="a@example.com"
    )
    assert (smtp.enabled, smtp.options["encryption"]) == (False, "tls")
    assert messaging.update_smtp_provider("mail", enabled=True, encryption=SmtpEncryption.NONE).enabled is True
    fcm = messaging.create_fcm_provider(ID.unique(), "Push", service_account_json={"project_id": "demo"}, enabled=True)
    assert messaging.update_fcm_provider(fcm.id, name="Renamed").name == "Renamed"
    assert messaging.get_provider(fcm.id).credentials == {"serviceAccountJSON": {"project_id": "demo"}}
    assert [found.id for found in messaging.list_providers([Query.equal("type", ["email"])]).providers] == ["mail"]
    messaging.delete_provider("mail")
    assert messaging.list_providers().total == 1


def test_users_targets_topics_and_subscribers(client: Client) -> None:
    users, messaging = Users(client), Messaging(client)
    ada = users.create("ada", email="ada@example.com", phone="+12065550100", password="engine-no-1", name="Ada")
    assert [target.identifier for target in ada.targets] == ["ada@example.com", "+12065550100"]
    phone = users.create_target("ada", ID.unique(), MessagingProviderType.PUSH, "token", name="Phone")
    assert users.update_target("ada", phone.id, identifier="new-token").identifier == "new-token"
    assert users.get_target("ada", phone.id).name == "Phone"
    assert users.list_targets("ada", [Query.equal("providerType", "push")]).total == 1

    topic = messaging.create_topic(ID.unique(), "News", subscribe=["any"], description="What is new")
    assert messaging.update_topic(topic.id, name="Old news").description == "What is new"
    for target in (*ada.targets, phone):
        messaging.create_subscriber(topic.id, ID.unique(), target.id)
    counted = messaging.get_topic(topic.id)
    assert (counted.emailtotal, counted.smstotal, counted.pushtotal) == (1, 1, 1)
    listed = messaging.list_subscribers(topic.id, [Query.order_desc("$id"), Query.limit(1)], search="push")
    (subscriber,) = listed.subscribers
    assert subscriber.target.identifier == "new-token"
    assert messaging.get_subscriber(topic.id, subscriber.id).username == "Ada"
    messaging.delete_subscriber(topic.id, subscriber.id)
    users.delete_target("ada", phone.id)
    assert users.list(search="ada").total == 1
    users.delete("ada")
    assert messaging.get_topic(topic.id).emailtotal == 0
    messaging.delete_topic(topic.id)
    assert messaging.list_topics().total == 0


def test_messages(client: Client) -> None:
    users, messaging = Users(client), Messaging(client)
    target = users.create("ada", email="ada@example.com").targets[0]
    mail = messaging.create_email(ID.unique(), "Hello", "<p>Hello</p>", targets=[target.id], cc=[target.id], html=True)
    assert mail.status.value == "processing"
    assert messaging.list_targets(mail.id).targets[0].identifier == "ada@example.com"

    draft = messaging.create_push(ID.unique(), "Hello", "There", data={"a": "b"}, badge=3, draft=True)
    assert (
        messaging.update_push(draft.id, users=["ada"], scheduled_at="2100-01-01T00:00:00Z").status.value == "scheduled"
    )
    assert messaging.update_push(draft.id, draft=True).scheduledat == "2100-01-01T00:00:00.000+00:00"
    assert messaging.update_push(draft.id, draft=False).status.value == "processing"
    later = messaging.create_email(ID.unique(), "Later", "On", users=["ada"], scheduled_at="2100-01-01T00:00:00Z")
    assert messaging.update_email(later.id, subject="Sooner").data["subject"] == "Sooner"

    page = messaging.list_messages([Query.order_desc("$createdAt"), Query.limit(2)])
    assert (page.total, [message.id for message in page.messages]) == (3, [later.id, draft.id])
    after = messaging.list_messages([Query.equal("status", ["processing"]), Query.cursor_after(mail.id)])
    assert [message.id for message in after.messages] == [draft.id]
    assert messaging.get_message(later.id).id == later.id
    assert messaging.delete(later.id) == b""


@pytest.mark.parametrize(
    ("message_id", "code", "type_"),
    [("missing", 404, "message_not_found"), ("-", 400, "general_argument_invalid")],
)
def test_errors(client: Client, message_id: str, code: int, type_: str) -> None:
    with pytest.raises(AppwriteException) as refused:
        Messaging(client).get_message(message_id)
    assert (refused.value.code, refused.value.type) == (code, type_)
