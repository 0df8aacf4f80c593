"""The official SDK, unmodified, through everything that is served: what it parses is what its models require."""

import inspect
from pathlib import Path
from typing import Any

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


EMAIL = {"from_email": "news@example.com", "from_name": "News"}
NUMBER = {"xfrom": "+12065550100"}

KINDS: list[tuple[str, dict[str, Any]]] = [
    ("apns", {"auth_key": "k", "auth_key_id": "i", "team_id": "t", "bundle_id": "b", "sandbox": True}),
    ("fcm", {"service_account_json": {"project_id": "demo"}}),
    ("mailgun", {"api_key": "k", "domain": "example.com", "is_eu_region": True, **EMAIL}),
    ("msg91", {"template_id": "t", "sender_id": "s", "auth_key": "k"}),
    ("resend", {"api_key": "k", **EMAIL}),
    ("sendgrid", {"api_key": "k", **EMAIL}),
    ("ses", {"access_key": "a", "secret_key": "s", "region": "eu-central-1", **EMAIL}),
    ("telesign", {"customer_id": "c", "api_key": "k", **NUMBER}),
    ("textmagic", {"username": "u", "api_key": "k", **NUMBER}),
    ("twilio", {"account_sid": "a", "auth_token": "t", **NUMBER}),
    ("vonage", {"api_key": "k", "api_secret": "s", **NUMBER}),
]


@pytest.mark.parametrize(("kind", "complete"), KINDS)
def test_every_kind_of_provider(client: Client, kind: str, complete: dict[str, Any]) -> None:
    messaging = Messaging(client)
    provider = getattr(messaging, f"create_{kind}_provider")("p", "Account", enabled=True, **complete)
    assert (provider.provider, provider.enabled) == (kind, True)
    changed = getattr(messaging, f"update_{kind}_provider")("p", name="Renamed", **complete)
    assert (changed.name, changed.credentials, changed.options) == ("Renamed", provider.credentials, provider.options)


def test_the_tour_calls_every_method() -> None:
    """All of the SDK's, but for the provider that is Appwrite's own service."""
    tour = Path(__file__).read_text()
    methods = {name for name, _ in inspect.getmembers(Messaging, inspect.isfunction) if not name.startswith("_")}
    by_kind = {f"{verb}_{kind}_provider" for kind, _ in KINDS for verb in ("create", "update")}
    by_hand = {name for name in methods if f".{name}(" in tour}
    assert methods - by_kind - by_hand == {"create_appwrite_provider", "update_appwrite_provider"}


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

    text = messaging.create_sms(ID.unique(), "Hello there", users=["ada"], draft=True)
    assert messaging.update_sms(text.id, content="Bye").data == {"content": "Bye"}
    messaging.delete(text.id)

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
