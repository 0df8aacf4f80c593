"""Contract §8 for text messages, and §19's newer ways to name recipients and answers of an e-mail."""

import pytest

from tests.integration.api.conftest import Caller

MESSAGES = "/messaging/messages"
SMS = f"{MESSAGES}/sms"
EMAIL = f"{MESSAGES}/email"
LATER = "2100-01-05T10:00:00.000+00:00"


def sms(**parameters: object) -> dict[str, object]:
    return {"messageId": "m", "content": "Hello there.", **parameters}


@pytest.fixture
def ada(caller: Caller) -> Caller:
    """A project with a user who has a mail address, a phone number and a device."""
    caller.create_user("ada", email="ada@example.com", phone="+12065550100")
    caller.create_target("ada", "token", targetId="device")
    return caller


def target_of(caller: Caller, channel: str) -> str:
    targets = caller.get("/users/ada/targets").body["targets"]
    return next(str(target["$id"]) for target in targets if target["providerType"] == channel)


def test_the_model_of_an_sms(ada: Caller) -> None:
    message = ada.create(SMS, sms(targets=[target_of(ada, "sms")]))
    assert (message["providerType"], message["data"]) == ("sms", {"content": "Hello there."})
    assert message["status"] == "processing"
    assert ada.get(f"{MESSAGES}/m").body == message


def test_a_scheduled_sms_keeps_its_time_and_can_be_edited_and_deleted(ada: Caller) -> None:
    message = ada.create(SMS, sms(users=["ada"], scheduledAt=LATER))
    assert (message["status"], message["scheduledAt"]) == ("scheduled", LATER)
    changed = ada.patch(f"{SMS}/m", {"content": "New"}).body
    assert (changed["data"], changed["status"], changed["scheduledAt"]) == ({"content": "New"}, "scheduled", LATER)
    assert ada.patch(f"{SMS}/m", {"draft": True}).body["status"] == "draft"
    assert ada.delete(f"{MESSAGES}/m").status == 204


@pytest.mark.parametrize(
    ("body", "type_"),
    [
        (sms(), "message_missing_target"),
        (sms(targets=["device"]), "message_target_not_sms"),
        (sms(targets=["missing"]), "message_target_not_sms"),
        (sms(users=["ada"], content=""), "general_argument_invalid"),
        (sms(users=["ada"], content="c" * 64231), "general_argument_invalid"),
        ({"messageId": "m", "users": ["ada"]}, "general_argument_invalid"),
    ],
)
def test_refusals(ada: Caller, body: dict[str, object], type_: str) -> None:
    assert ada.post(SMS, body).refusal == (400, type_)
    assert ada.get(MESSAGES).body["total"] == 0


def test_updates_that_are_refused(ada: Caller) -> None:
    assert ada.patch(f"{SMS}/m", {}).refusal == (404, "message_not_found")
    ada.create(SMS, sms(users=["ada"]))
    assert ada.patch(f"{SMS}/m", {}).refusal == (400, "message_already_processing")


# §19: plain addresses, and where answers go


def email(**parameters: object) -> dict[str, object]:
    return {"messageId": "m", "subject": "Hello", "content": "Hello there.", **parameters}


def test_addresses_are_recipients(ada: Caller) -> None:
    given = {"emails": ["Ada@example.com"], "replyToEmail": "help@example.com", "replyToName": "Help"}
    message = ada.create(EMAIL, email(**given))
    assert (message["status"], message["targets"]) == ("processing", [])
    assert {key: message["data"][key] for key in given} == given


def test_an_address_must_be_somebodys(ada: Caller) -> None:
    unknown = {"emails": ["ada@example.com", "nobody@example.com"]}
    assert ada.post(EMAIL, email(**unknown)).refusal == (400, "message_target_not_email")
    ada.create(EMAIL, email(draft=True))
    assert ada.patch(f"{EMAIL}/m", unknown).refusal == (400, "message_target_not_email")
    assert ada.patch(f"{EMAIL}/m", {"draft": False}).refusal == (400, "message_missing_target")
    changed = ada.patch(f"{EMAIL}/m", {"draft": False, "emails": ["ada@example.com"]}).body
    assert (changed["status"], changed["data"]["emails"]) == ("processing", ["ada@example.com"])


def test_an_address_of_another_project_is_unknown(ada: Caller, stranger: Caller) -> None:
    body = email(emails=["ada@example.com"])
    assert stranger.post(EMAIL, body).refusal == (400, "message_target_not_email")
