"""Our own additions: receipts come in as their provider signs them, and addresses are suppressed by hand."""

import base64
import json
import time
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from shared.db.receipt_addresses import ReceiptAddresses
from shared.db.secrets import new_secret_key, parse_secret_keys, read_secret_keys
from tests.integration.api.conftest import Answer, Caller, RunningApi, make_caller, run_api

KEY = ec.generate_private_key(ec.SECP256R1())
PUBLIC_KEY = base64.b64encode(KEY.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).decode()
EVENTS = json.dumps(
    [
        {"event": "delivered", "email": "ada@example.com", "sg_event_id": "e1", "tidings_delivery": "17-4"},
        {"event": "open", "email": "ada@example.com", "sg_event_id": "e2", "tidings_delivery": "17-4"},
        {"event": "spamreport", "email": "bob@example.com", "sg_event_id": "e3", "tidings_delivery": "17-5"},
    ]
).encode()


@pytest.fixture
def place(caller: Caller, running_api: RunningApi) -> str:
    """The path of a SendGrid account whose signing key we know, below /v1."""
    caller.create("/messaging/providers/sendgrid", {"providerId": "mail", "name": "Mail", "apiKey": "key"})
    assert caller("PUT", "/tidings/providers/mail/receipts", json={"secret": PUBLIC_KEY}).body["hasSecret"]
    ((seq,),) = caller.rows("SELECT seq FROM providers WHERE project_seq = %(project)s")
    keys = read_secret_keys(running_api.settings)
    return f"/tidings/receipts/{ReceiptAddresses(keys, None).place_of(seq)}"


def post(caller: Caller, place: str, body: bytes = EVENTS, *, signed: bytes | None = None, age: int = 0) -> Answer:
    """As SendGrid does it, without any of our headers. `signed`: another body than the one that is sent."""
    timestamp = str(int(time.time()) - age)
    signature = KEY.sign(timestamp.encode() + (body if signed is None else signed), ec.ECDSA(hashes.SHA256()))
    headers = {
        "X-Appwrite-Project": None,
        "X-Appwrite-Key": None,
        "X-Twilio-Email-Event-Webhook-Signature": base64.b64encode(signature).decode(),
        "X-Twilio-Email-Event-Webhook-Timestamp": timestamp,
        "Content-Type": "application/json",
    }
    return caller("POST", place, data=body, headers=headers)


def inbox(caller: Caller) -> list[tuple[object, ...]]:
    return caller.rows(
        "SELECT event_id, kind, run, target_seq FROM receipts WHERE project_seq = %(project)s ORDER BY seq"
    )


def test_signed_receipts_come_into_the_inbox_once(caller: Caller, place: str) -> None:
    first, again = post(caller, place), post(caller, place)

    assert (first.status, first.body) == (200, {"received": 2, "new": 2})
    assert (again.status, again.body) == (200, {"received": 2, "new": 0})
    assert inbox(caller) == [("e1", "delivered", 17, 4), ("e3", "complained", 17, 5)]


@pytest.mark.parametrize(
    ("body", "signed", "age"),
    [
        (EVENTS, b"[]", 0),
        (EVENTS + b" ", EVENTS, 0),
        (EVENTS, EVENTS, 3600),
        (EVENTS, EVENTS, -3600),
        (b"no json", b"no json", 0),
        (b'{"event": "delivered"}', b'{"event": "delivered"}', 0),
    ],
    ids=["another body signed", "body altered", "too old", "from the future", "no JSON", "no list"],
)
def test_what_is_not_signed_leaves_nothing(caller: Caller, place: str, body: bytes, signed: bytes, age: int) -> None:
    answer = post(caller, place, body, signed=signed, age=age)

    assert answer.refusal == (401, "user_unauthorized")
    assert inbox(caller) == []


def test_without_a_signing_key_nothing_is_believed(caller: Caller, place: str) -> None:
    assert not caller("PUT", "/tidings/providers/mail/receipts", json={"secret": ""}).body["hasSecret"]

    assert post(caller, place).refusal == (401, "user_unauthorized")


@pytest.mark.parametrize(
    "forge",
    [lambda place: place[:-1], lambda place: place.replace("receipts/", "receipts/1"), lambda place: f"{place}0"],
    ids=["a part of the proof", "another provider", "more than the proof"],
)
def test_addresses_cannot_be_guessed(caller: Caller, place: str, forge: Callable[[str], str]) -> None:
    assert post(caller, forge(place)).refusal == (404, "provider_not_found")
    assert inbox(caller) == []


def test_the_address_of_a_deleted_provider_is_no_more(caller: Caller, place: str) -> None:
    assert caller.delete("/messaging/providers/mail").status == 204

    assert post(caller, place).refusal == (404, "provider_not_found")


def test_providers_without_receipts_have_no_address(caller: Caller, running_api: RunningApi) -> None:
    caller.create("/messaging/providers/smtp", {"providerId": "post", "name": "Post", "host": "mail.example.com"})
    assert not caller.get("/tidings/providers/post/receipts").body["isSupported"]
    ((seq,),) = caller.rows("SELECT seq FROM providers WHERE project_seq = %(project)s")
    place = ReceiptAddresses(read_secret_keys(running_api.settings), None).place_of(seq)

    assert post(caller, f"/tidings/receipts/{place}").refusal == (404, "provider_not_found")


def test_the_signing_key_is_never_shown_and_kept_encrypted(caller: Caller, place: str) -> None:
    assert PUBLIC_KEY not in json.dumps(caller.get("/tidings/providers/mail/receipts").body)
    assert PUBLIC_KEY not in json.dumps(caller.get("/messaging/providers/mail").body)
    ((sealed,),) = caller.rows("SELECT receipts_secret_encrypted FROM providers WHERE project_seq = %(project)s")
    assert PUBLIC_KEY not in sealed


def test_the_address_is_told_where_the_api_is_public(running_api: RunningApi) -> None:
    settings = running_api.settings.model_copy(update={"public_url": "https://tidings.example.com/v1/"})
    with run_api(settings) as running, make_caller(running).session:
        caller = make_caller(running)
        caller.create("/messaging/providers/sendgrid", {"providerId": "mail", "name": "Mail", "apiKey": "key"})

        url = caller.get("/tidings/providers/mail/receipts").body["url"]
        caller.session.close()

    assert url.startswith("https://tidings.example.com/v1/tidings/receipts/")


def test_an_address_holds_as_long_as_its_key() -> None:
    old, new = parse_secret_keys(new_secret_key()), parse_secret_keys(new_secret_key())
    place = ReceiptAddresses(old, None).place_of(255)

    assert ReceiptAddresses([*new, *old], None).provider_of(place) == 255
    assert ReceiptAddresses(new, None).provider_of(place) is None


@pytest.mark.parametrize("place", ["", ".", "ff", "ff.", "-1.x", "é.x", "1" * 40 + ".x", "zz.x"])
def test_what_is_no_address(place: str) -> None:
    assert ReceiptAddresses(parse_secret_keys(new_secret_key()), None).provider_of(place) is None


def test_suppressions_are_listed_in_pages(caller: Caller) -> None:
    for address in ("bob@example.com", "Ada@example.com", "carol@example.com"):
        caller.create("/tidings/suppressions", {"channel": "email", "address": address})
    caller.create("/tidings/suppressions", {"channel": "sms", "address": "+12065550100", "reason": "asked us"})

    first = caller.get("/tidings/suppressions", params={"limit": 3}).body
    second = caller.get("/tidings/suppressions", params={"limit": 3, "cursor": first["cursor"]}).body

    assert [entry["address"] for entry in first["suppressions"]] == [
        "ada@example.com",
        "bob@example.com",
        "carol@example.com",
    ]
    ((phone),) = second["suppressions"]
    assert (phone["address"], phone["cause"], phone["reason"]) == ("+12065550100", "manual", "asked us")
    assert second["cursor"] is None


def test_an_address_is_suppressed_once(caller: Caller) -> None:
    caller.create("/tidings/suppressions", {"channel": "email", "address": "ada@example.com"})

    again = caller.post("/tidings/suppressions", {"channel": "email", "address": "ADA@example.com"})
    assert again.refusal == (409, "suppression_already_exists")
    named = {"channel": "email", "address": "Ada@Example.com"}
    assert caller.delete("/tidings/suppressions", params=named).status == 204
    assert caller.delete("/tidings/suppressions", params=named).refusal == (404, "suppression_not_found")
