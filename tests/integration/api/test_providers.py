"""Contract §9: providers, for the kinds smtp and fcm."""

import json
from typing import Any

import pytest

from shared.db.queries.providers import credentials_context
from shared.db.secrets import open_secret_box
from shared.errors import ConfigurationError
from tests.integration.api.conftest import Caller

SMTP = "/messaging/providers/smtp"
FCM = "/messaging/providers/fcm"
ACCOUNT = {"project_id": "demo", "private_key": "secret-of-the-account"}


def smtp(**parameters: object) -> dict[str, object]:
    return {"providerId": "mail", "name": "Mail", "host": "mail.example.com", **parameters}


def fcm(**parameters: object) -> dict[str, object]:
    return {"providerId": "push", "name": "Push", **parameters}


def test_the_model_of_smtp(caller: Caller) -> None:
    """Username and password are always stored, all four e-mail options too, and `none` as an empty text."""
    provider = caller.create(SMTP, smtp())
    assert provider.pop("$createdAt") == provider.pop("$updatedAt")
    assert provider == {
        "$id": "mail",
        "name": "Mail",
        "provider": "smtp",
        "type": "email",
        "enabled": False,
        "credentials": {"host": "mail.example.com", "port": 587, "username": "", "password": ""},
        "options": {
            "fromName": "",
            "fromEmail": "",
            "replyToName": "",
            "replyToEmail": "",
            "encryption": "",
            "autoTLS": True,
            "mailer": "",
        },
    }


def test_the_model_of_fcm_without_credentials_has_objects(caller: Caller) -> None:
    provider = caller.create(FCM, fcm())
    assert (provider["credentials"], provider["options"]) == ({}, {})
    assert (provider["provider"], provider["type"], provider["enabled"]) == ("fcm", "push", False)


def test_secrets_come_back_in_clear(caller: Caller) -> None:
    caller.create(SMTP, smtp(username="ada", password="engine"))
    credentials = caller.get("/messaging/providers/mail").body["credentials"]
    assert (credentials["username"], credentials["password"]) == ("ada", "engine")


def test_secrets_are_masked_where_the_project_says_so(caller: Caller) -> None:
    with caller.factory.connect() as connection:
        connection.execute("UPDATE projects SET mask_credentials = true WHERE id = %s", [caller.project_id])
    provider = caller.create(FCM, fcm(serviceAccountJSON=ACCOUNT, enabled=True))
    assert set(provider["credentials"]["serviceAccountJSON"]) == set(ACCOUNT)
    assert provider["enabled"] is True
    for answer in (provider, caller.get("/messaging/providers").body, caller.patch(f"{FCM}/push", {}).body):
        assert "secret-of-the-account" not in json.dumps(answer)
    assert stored_credentials(caller, "push") == {"serviceAccountJSON": ACCOUNT}


def test_what_was_masked_may_be_sent_back(caller: Caller) -> None:
    with caller.factory.connect() as connection:
        connection.execute("UPDATE projects SET mask_credentials = true WHERE id = %s", [caller.project_id])
    shown = caller.create(FCM, fcm(serviceAccountJSON=ACCOUNT))["credentials"]["serviceAccountJSON"]
    caller.patch(f"{FCM}/push", {"name": "Renamed", "serviceAccountJSON": shown})
    assert stored_credentials(caller, "push") == {"serviceAccountJSON": ACCOUNT}
    caller.patch(f"{FCM}/push", {"serviceAccountJSON": {**shown, "project_id": "another"}})
    assert stored_credentials(caller, "push") == {"serviceAccountJSON": {**ACCOUNT, "project_id": "another"}}


def stored_credentials(caller: Caller, provider_id: str) -> Any:
    ((encrypted,),) = caller.rows("SELECT credentials_encrypted FROM providers WHERE project_seq = %(project)s")
    context = credentials_context(caller.factory.project_seq, provider_id)
    return json.loads(open_secret_box(caller.factory.settings).decrypt(encrypted, context=context))


def test_secrets_are_encrypted_and_bound_to_their_row(caller: Caller) -> None:
    caller.create(SMTP, smtp(password="engine-password"))
    ((encrypted,),) = caller.rows("SELECT credentials_encrypted FROM providers WHERE project_seq = %(project)s")
    assert "engine-password" not in encrypted
    assert stored_credentials(caller, "mail")["password"] == "engine-password"
    with pytest.raises(ConfigurationError):
        stored_credentials(caller, "another")


# Enabled: only when complete

COMPLETE_SMTP = {"fromEmail": "news@example.com"}


@pytest.mark.parametrize(
    ("path", "body", "enabled"),
    [
        (SMTP, smtp(enabled=True, **COMPLETE_SMTP), True),
        (SMTP, smtp(enabled=True), False),
        (SMTP, smtp(enabled=False, **COMPLETE_SMTP), False),
        (SMTP, smtp(**COMPLETE_SMTP), False),
        (SMTP, smtp(enabled=None, **COMPLETE_SMTP), False),
        (FCM, fcm(enabled=True, serviceAccountJSON=ACCOUNT), True),
        (FCM, fcm(enabled=True, serviceAccountJSON=json.dumps(ACCOUNT)), True),
        (FCM, fcm(enabled=True), False),
        (FCM, fcm(enabled=True, serviceAccountJSON={}), False),
        (FCM, fcm(serviceAccountJSON=ACCOUNT), False),
    ],
)
def test_create_never_fails_for_what_is_missing(
    caller: Caller, path: str, body: dict[str, object], *, enabled: bool
) -> None:
    assert caller.create(path, body)["enabled"] is enabled


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (SMTP, {"providerId": "mail", "name": "Mail"}),  # no host
        (SMTP, smtp(host="")),
        (SMTP, smtp(name="")),
        (SMTP, smtp(name="n" * 129)),
        (SMTP, smtp(port=0)),
        (SMTP, smtp(port="smtp")),
        (SMTP, smtp(encryption="starttls")),
        (SMTP, smtp(autoTLS="true")),
        (SMTP, smtp(enabled=1)),
        (SMTP, smtp(fromEmail="nobody")),
        (SMTP, smtp(fromName="n" * 129)),
        (SMTP, smtp(username="")),
        (SMTP, {"name": "Mail", "host": "h"}),
        (FCM, fcm(serviceAccountJSON="no json")),
        (FCM, fcm(serviceAccountJSON=[])),
    ],
)
def test_bad_parameters(caller: Caller, path: str, body: dict[str, object]) -> None:
    assert caller.post(path, body).refusal == (400, "general_argument_invalid")


def test_a_port_may_be_text_and_unknown_keys_are_ignored(caller: Caller) -> None:
    provider = caller.create(SMTP, smtp(port="2525", apiKey="x", fromName=""))
    assert provider["credentials"]["port"] == 2525
    assert "apiKey" not in provider["credentials"]


def test_a_taken_id(caller: Caller) -> None:
    caller.create(SMTP, smtp())
    assert caller.post(FCM, fcm(providerId="mail")).refusal == (409, "provider_already_exists")


# Update


def test_update_merges_what_is_not_empty(caller: Caller) -> None:
    caller.create(SMTP, smtp(username="ada", password="engine", fromName="News", encryption="ssl"))
    answer = caller.patch(f"{SMTP}/mail", {"password": "difference", "fromName": "", "port": None})
    assert answer.body["credentials"] == {
        "host": "mail.example.com",
        "port": 587,
        "username": "ada",
        "password": "difference",
    }
    assert answer.body["options"]["fromName"] == "News"
    assert answer.body["options"]["encryption"] == "ssl"


def test_update_of_smtp_options_leaves_the_credentials_alone(caller: Caller) -> None:
    caller.create(SMTP, smtp(encryption="tls"))
    answer = caller.patch(f"{SMTP}/mail", {"encryption": "none", "autoTLS": False, "mailer": "Mailer"})
    assert answer.body["options"]["encryption"] == ""
    assert answer.body["options"]["autoTLS"] is False
    assert answer.body["options"]["mailer"] == "Mailer"
    assert set(answer.body["credentials"]) == {"host", "port", "username", "password"}


def test_update_replaces_the_one_credential_of_fcm(caller: Caller) -> None:
    caller.create(FCM, fcm(serviceAccountJSON=ACCOUNT))
    answer = caller.patch(f"{FCM}/push", {"serviceAccountJSON": {"project_id": "other"}})
    assert answer.body["credentials"] == {"serviceAccountJSON": {"project_id": "other"}}


@pytest.mark.parametrize(
    ("enabled_before", "given", "enabled_after"),
    [(True, None, True), (False, None, False), (True, False, False), (False, True, True)],
)
def test_enabling(caller: Caller, *, enabled_before: bool, given: bool | None, enabled_after: bool) -> None:
    caller.create(SMTP, smtp(enabled=enabled_before, **COMPLETE_SMTP))
    answer = caller.patch(f"{SMTP}/mail", {"enabled": given, "name": "Renamed"})
    assert (answer.body["enabled"], answer.body["name"]) == (enabled_after, "Renamed")


def test_enabling_needs_complete_credentials_and_then_saves_nothing(caller: Caller) -> None:
    caller.create(SMTP, smtp())
    answer = caller.patch(f"{SMTP}/mail", {"enabled": True, "name": "Renamed"})
    assert answer.refusal == (400, "provider_missing_credentials")
    assert caller.get("/messaging/providers/mail").body["name"] == "Mail"


def test_completeness_is_judged_after_merging(caller: Caller) -> None:
    caller.create(SMTP, smtp())
    assert caller.patch(f"{SMTP}/mail", {"enabled": True, **COMPLETE_SMTP}).body["enabled"] is True


def test_update_of_another_kind_and_of_none(caller: Caller) -> None:
    caller.create(SMTP, smtp())
    assert caller.patch(f"{FCM}/mail", {}).refusal == (400, "provider_incorrect_type")
    assert caller.patch(f"{SMTP}/missing", {}).refusal == (404, "provider_not_found")


def test_update_tells_the_workers_and_counts_as_mended(caller: Caller) -> None:
    caller.create(SMTP, smtp())
    with caller.factory.connect() as connection:
        connection.execute("UPDATE providers SET fault_reason = 'refused', fault_since = now()")
    caller.patch(f"{SMTP}/mail", {"password": "right"})
    rows = caller.rows("SELECT version, fault_reason, fault_since FROM providers WHERE project_seq = %(project)s")
    assert rows == [(2, None, None)]


def test_get_list_and_delete(caller: Caller) -> None:
    caller.create(SMTP, smtp())
    caller.create(FCM, fcm())
    listed = caller.get("/messaging/providers").body
    assert (listed["total"], [provider["$id"] for provider in listed["providers"]]) == (2, ["mail", "push"])
    assert caller.delete("/messaging/providers/mail").status == 204
    assert caller.get("/messaging/providers/mail").refusal == (404, "provider_not_found")
    assert caller.delete("/messaging/providers/mail").refusal == (404, "provider_not_found")


def test_a_target_keeps_the_name_of_its_deleted_provider(caller: Caller) -> None:
    caller.create(FCM, fcm())
    caller.create_user("ada")
    target = caller.create_target("ada", "token", providerId="push")
    caller.delete("/messaging/providers/push")
    assert caller.get(f"/users/ada/targets/{target['$id']}").body["providerId"] == "push"


def test_credentials_are_neither_logged_nor_in_a_refusal(caller: Caller) -> None:
    answer = caller.post(FCM, fcm(serviceAccountJSON="not json but secret-of-the-account"))
    assert answer.status == 400
    assert "secret-of-the-account" not in answer.body["message"]
