"""Every kind of provider that the SDK knows, configured, changed, found and deleted."""

from typing import Any

from tests.sdk.sdk import UNIQUE, query
from tests.sdk.tour import Tour

SENDER = {
    "fromName": "News",
    "fromEmail": "news@example.com",
    "replyToName": "Desk",
    "replyToEmail": "desk@example.com",
}
NUMBER = {"from": "+12065550100"}

KINDS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "apns": ("push", {"authKey": "k", "authKeyId": "i", "teamId": "t", "bundleId": "b"}, {"sandbox": True}),
    "fcm": ("push", {"serviceAccountJSON": {"project_id": "demo"}}, {}),
    "mailgun": ("email", {"apiKey": "k", "domain": "example.com", "isEuRegion": True}, SENDER),
    "msg91": ("sms", {"templateId": "t", "senderId": "s", "authKey": "k"}, {}),
    "resend": ("email", {"apiKey": "k"}, SENDER),
    "sendgrid": ("email", {"apiKey": "k"}, SENDER),
    "ses": ("email", {"accessKey": "a", "secretKey": "s", "region": "eu-central-1"}, SENDER),
    "smtp": (
        "email",
        {"host": "mail.example.com", "port": 2525, "username": "u", "password": "p"},
        {**SENDER, "encryption": "tls", "autoTLS": False, "mailer": "Tidings"},
    ),
    "telesign": ("sms", {"customerId": "c", "apiKey": "k"}, NUMBER),
    "textmagic": ("sms", {"username": "u", "apiKey": "k"}, NUMBER),
    "twilio": ("sms", {"accountSid": "a", "authToken": "t"}, NUMBER),
    "vonage": ("sms", {"apiKey": "k", "apiSecret": "s"}, NUMBER),
}
"""Channel, credentials and options by kind. Only the older SDKs lack two of them: resend and ses."""


def visit(tour: Tour) -> None:
    providers = [provider for kind in KINDS for provider in _configure(tour, kind)]
    owner = tour.owner
    assert [shown["$id"] for shown in owner.messaging("listProviders", search="Renamed")["providers"]] == providers
    numbers = owner.messaging("listProviders", queries=[query("equal", "type", ["sms"]), query("orderDesc", "name")])
    assert {provider["type"] for provider in numbers["providers"]} == {"sms"}
    assert owner.messaging("listProviders", total=True)["total"] == len(providers)

    for provider in providers:
        owner.messaging("deleteProvider", providerId=provider)
    assert owner.messaging("listProviders") == {"total": 0, "providers": []}


def _configure(tour: Tour, kind: str) -> list[str]:
    """Create and update one with each spelling that the SDK has for this kind; their ids."""
    messaging = tour.owner.messaging
    channel, credentials, options = KINDS[kind]
    creates, updates = (tour.sdk.spellings("messaging", f"{verb}{kind}provider") for verb in ("create", "update"))
    made = []
    for create, update in zip(creates, updates, strict=True):
        given = {**credentials, **options}
        provider = messaging(create, providerId=UNIQUE, name="Account", enabled=True, **given)
        assert (provider["provider"], provider["type"], provider["enabled"]) == (kind, channel, True)
        assert (provider["credentials"], provider["options"]) == (credentials, options)
        changed = messaging(update, providerId=provider["$id"], name="Renamed", enabled=False, **given)
        assert (changed["name"], changed["enabled"]) == ("Renamed", False)
        assert messaging("getProvider", providerId=provider["$id"]) == changed
        if tour.sdk.spellings("messaging", "listProviderLogs"):
            logs = messaging("listProviderLogs", providerId=provider["$id"], queries=[query("limit", 5)], total=True)
            assert [log["event"] for log in logs["logs"]] == ["provider.update", "provider.create"]
        made.append(provider["$id"])
    return made
