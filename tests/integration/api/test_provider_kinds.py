"""Contract §9.2: the table of provider kinds, a row of it in each line."""

from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.integration.api.conftest import Caller

PROVIDERS = "/messaging/providers"

NO_EMAIL_OPTIONS = {"fromName": "", "fromEmail": "", "replyToName": "", "replyToEmail": ""}
SENDER = {"fromEmail": "news@example.com"}
NUMBER = {"from": "+12065550100"}


@dataclass(frozen=True)
class Kind:
    """What completes a provider of it; each key of `credentials` and `sender` is needed."""

    name: str
    type: str
    credentials: dict[str, Any]
    options: dict[str, Any]  # stored when nothing is given
    sender: dict[str, str] = field(default_factory=dict)


KINDS = [
    Kind("mailgun", "email", {"apiKey": "k", "domain": "d", "isEuRegion": False}, NO_EMAIL_OPTIONS, SENDER),
    Kind("sendgrid", "email", {"apiKey": "k"}, NO_EMAIL_OPTIONS, SENDER),
    Kind("resend", "email", {"apiKey": "k"}, NO_EMAIL_OPTIONS, SENDER),
    Kind("ses", "email", {"accessKey": "a", "secretKey": "s", "region": "eu-central-1"}, NO_EMAIL_OPTIONS, SENDER),
    Kind("telesign", "sms", {"customerId": "c", "apiKey": "k"}, {}, NUMBER),
    Kind("textmagic", "sms", {"username": "u", "apiKey": "k"}, {}, NUMBER),
    Kind("twilio", "sms", {"accountSid": "a", "authToken": "t"}, {}, NUMBER),
    Kind("vonage", "sms", {"apiKey": "k", "apiSecret": "s"}, {}, NUMBER),
    Kind("apns", "push", {"authKey": "a", "authKeyId": "i", "teamId": "t", "bundleId": "b"}, {"sandbox": False}),
    Kind("fcm", "push", {"serviceAccountJSON": {"project_id": "demo"}}, {}),
]

every_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)


def bare(provider_id: str, **parameters: object) -> dict[str, object]:
    return {"providerId": provider_id, "name": "Account", **parameters}


@every_kind
def test_nothing_is_stored_that_was_not_given(caller: Caller, kind: Kind) -> None:
    provider = caller.create(f"{PROVIDERS}/{kind.name}", bare("p"))
    assert (provider["provider"], provider["type"], provider["enabled"]) == (kind.name, kind.type, False)
    assert (provider["credentials"], provider["options"]) == ({}, kind.options)


@every_kind
def test_what_is_given_is_stored_and_a_complete_account_may_be_enabled(caller: Caller, kind: Kind) -> None:
    complete = kind.credentials | kind.sender
    provider = caller.create(f"{PROVIDERS}/{kind.name}", bare("p", enabled=True, **complete))
    assert provider["enabled"] is True
    assert (provider["credentials"], provider["options"]) == (kind.credentials, kind.options | kind.sender)
    assert caller.get(f"{PROVIDERS}/p").body == provider


@every_kind
def test_each_part_is_needed(caller: Caller, kind: Kind) -> None:
    complete = kind.credentials | kind.sender
    path = f"{PROVIDERS}/{kind.name}"
    for index, missing in enumerate(complete):
        incomplete = {key: value for key, value in complete.items() if key != missing}
        provider = caller.create(path, bare(f"p{index}", enabled=True, **incomplete))
        assert provider["enabled"] is False, missing
        refused = caller.patch(f"{path}/p{index}", {"enabled": True, "name": "Renamed"})
        assert refused.refusal == (400, "provider_missing_credentials"), missing
        mended = caller.patch(f"{path}/p{index}", {"enabled": True, missing: complete[missing]}).body
        assert (mended["enabled"], mended["name"]) == (True, "Account")
        assert mended["credentials"] == kind.credentials


@every_kind
def test_an_update_merges_texts_that_are_not_empty(caller: Caller, kind: Kind) -> None:
    path = f"{PROVIDERS}/{kind.name}"
    caller.create(path, bare("p", enabled=True, **kind.credentials, **kind.sender))
    for key in [key for key, value in kind.credentials.items() if isinstance(value, str)]:
        assert caller.patch(f"{path}/p", {key: "new"}).body["credentials"][key] == "new"
        assert caller.patch(f"{path}/p", {key: ""}).refusal == (400, "general_argument_invalid")
    unchanged = caller.patch(f"{path}/p", dict.fromkeys(kind.credentials)).body
    assert unchanged["credentials"].keys() == kind.credentials.keys()
    assert unchanged["enabled"] is True
    assert caller.patch(f"{path}/p", {"enabled": False}).body["enabled"] is False


def test_msg91_needs_less_at_first(caller: Caller) -> None:
    first = caller.create(f"{PROVIDERS}/msg91", bare("p", enabled=True, senderId="s", authKey="k"))
    assert (first["enabled"], first["options"]) == (True, {})
    refused = caller.patch(f"{PROVIDERS}/msg91/p", {"enabled": True})
    assert refused.refusal == (400, "provider_missing_credentials")
    complete = caller.patch(f"{PROVIDERS}/msg91/p", {"enabled": True, "templateId": "t"}).body
    assert complete["credentials"] == {"senderId": "s", "authKey": "k", "templateId": "t"}
    assert caller.create(f"{PROVIDERS}/msg91", bare("q", enabled=True, senderId="s"))["enabled"] is False


def test_the_sender_of_sms_is_a_number_at_first_and_any_text_later(caller: Caller) -> None:
    path = f"{PROVIDERS}/twilio"
    assert caller.post(path, bare("p", **{"from": "Tidings"})).refusal == (400, "general_argument_invalid")
    caller.create(path, bare("p", **NUMBER))
    assert caller.patch(f"{path}/p", {"from": "Tidings"}).body["options"] == {"from": "Tidings"}
    assert caller.patch(f"{path}/p", {"from": "t" * 257}).refusal == (400, "general_argument_invalid")


def test_apns_keeps_the_bundle_under_its_name_and_leaves_the_sandbox(caller: Caller) -> None:
    path = f"{PROVIDERS}/apns"
    caller.create(path, bare("p", sandbox=True))
    changed = caller.patch(f"{path}/p", {"bundleId": "com.example"}).body
    assert (changed["credentials"], changed["options"]) == ({"bundleId": "com.example"}, {"sandbox": True})
    assert caller.patch(f"{path}/p", {"sandbox": False}).body["options"] == {"sandbox": False}


def test_a_region_is_a_short_text(caller: Caller) -> None:
    refused = caller.post(f"{PROVIDERS}/ses", bare("p", region="r" * 129))
    assert refused.refusal == (400, "general_argument_invalid")
