"""Twilio's status callbacks: signatures as its own package makes them, and what each status means."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import pytest
from twilio.request_validator import RequestValidator

from shared.domain.receipt import Receipt, ReceiptKind
from shared.providers.contract import Account
from shared.providers.curl import CurlTransport
from shared.providers.receipts import ReceiptCall, ReceiptRefused
from shared.providers.sms.twilio_receipts import ERRORS, STATUSES, read_receipts

TOKEN = "12345"
URL = "https://tidings.example.com/v1/tidings/receipts/abc?tidings_delivery=1700000000000-7"
FIELDS = {
    "AccountSid": "AC" + "0" * 32,
    "From": "+15005550006",
    "MessageSid": "SM" + "1" * 32,
    "MessageStatus": "delivered",
    "To": "+12025550123",
    "Emoji": "ü 😀 &=",  # new fields appear without notice
    "Empty": "",
}
FORM = "application/x-www-form-urlencoded; charset=UTF-8"
SHA256_SETTINGS = "key=webhooks_sharedkey_1,algorithm=HMAC_SHA256"


def call_of(
    fields: Mapping[str, str], *, url: str = URL, signed_url: str = "", key: str = TOKEN, algorithm: str | None = None
) -> ReceiptCall:
    signature = RequestValidator(key).compute_signature(signed_url or url, fields, algorithm)
    headers = {"content-type": FORM, "x-twilio-signature": signature}
    return ReceiptCall(url, headers, urlencode(fields).encode(), 1_700_000_000.0)


async def read(call: ReceiptCall, *, secret: str = "") -> list[Receipt]:
    transport = CurlTransport(timeout_seconds=1)
    account = Account(1, 1, {"accountSid": "AC" + "0" * 32, "authToken": TOKEN}, receipts_secret=secret)
    return list(await read_receipts(account, call, transport=transport, endpoint=None))


async def test_reads_what_twilio_signed() -> None:
    assert await read(call_of(FIELDS)) == [
        Receipt(
            event_id=f"SM{'1' * 32}:delivered:0",
            kind=ReceiptKind.DELIVERED,
            recipient="+12025550123",
            delivery_id="1700000000000-7",
            provider_message_id=f"SM{'1' * 32}",
        )
    ]


async def test_the_same_again_is_the_same_event() -> None:
    """Nothing signed says when: a replay changes nothing, since its event is known."""
    first, again = [await read(call_of(FIELDS)) for _ in range(2)]
    other = await read(call_of({**FIELDS, "MessageStatus": "sent"}))

    assert first[0].event_id == again[0].event_id != other[0].event_id


@pytest.mark.parametrize(
    ("told", "signed"),
    [
        ("https://example.com/r?a=1", "https://example.com:443/r?a=1"),
        ("https://example.com:8443/r", "https://example.com/r"),
        ("https://example.com:8443/r", "https://example.com:8443/r"),
        ("http://example.com/r", "http://example.com:80/r"),
        ("https://user:pass@example.com/r", "https://user:pass@example.com:443/r"),
        ("https://[2001:db8::1]/r", "https://[2001:db8::1]:443/r"),
    ],
)
async def test_takes_the_address_with_and_without_its_port(told: str, signed: str) -> None:
    assert await read(call_of(FIELDS, url=told, signed_url=signed))


async def test_takes_the_newer_signature_with_the_shared_key() -> None:
    call = call_of(FIELDS, key="shared-secret", algorithm="HMAC_SHA256")
    call = ReceiptCall(
        call.url, {**call.headers, "x-twilio-webhooks-signature-settings": SHA256_SETTINGS}, call.body, call.received_at
    )

    assert await read(call, secret="shared-secret")
    with pytest.raises(ReceiptRefused):
        await read(call)  # nobody told us the key


async def test_takes_the_older_one_while_a_shared_key_is_set() -> None:
    assert await read(call_of(FIELDS), secret="shared-secret")


async def test_takes_json_whose_hash_is_in_the_address() -> None:
    body = json.dumps({**FIELDS, "MessageStatus": "undelivered", "ErrorCode": 30003}).encode()
    url = f"{URL}&bodySHA256={hashlib.sha256(body).hexdigest()}"
    headers = {
        "content-type": "application/json",
        "x-twilio-signature": RequestValidator(TOKEN).compute_signature(url, {}),
    }
    assert RequestValidator(TOKEN).validate(url, body.decode(), headers["x-twilio-signature"])

    (receipt,) = await read(ReceiptCall(url, headers, body, 0.0))

    assert (receipt.kind, receipt.reason) == (
        ReceiptKind.FAILED,
        "Twilio: undelivered, code 30003: unreachable destination handset",
    )
    with pytest.raises(ReceiptRefused, match="bodySHA256"):
        await read(ReceiptCall(url, headers, body + b" ", 0.0))


def altered(**changes: Any) -> ReceiptCall:
    call = call_of(FIELDS)
    given = {"url": call.url, "headers": dict(call.headers), "body": call.body, "received_at": 0.0, **changes}
    return ReceiptCall(**given)


SIGNATURE = call_of(FIELDS).headers["x-twilio-signature"]


@pytest.mark.parametrize(
    "call",
    [
        call_of(FIELDS, key="54321"),
        altered(body=urlencode({**FIELDS, "MessageStatus": "failed"}).encode()),
        altered(body=urlencode({**FIELDS, "New": "field"}).encode()),
        altered(body=urlencode({**FIELDS}).encode() + b"&MessageStatus=failed"),
        altered(body=b""),
        altered(body=b"\xff\xfe"),
        altered(url=URL.replace("-7", "-8")),
        altered(url="https://elsewhere.example.com/"),
        altered(headers={"content-type": FORM}),
        altered(headers={"content-type": FORM, "x-twilio-signature": ""}),
        altered(headers={"content-type": FORM, "x-twilio-signature": "ü"}),
        altered(headers={"content-type": FORM, "x-twilio-signature": f"{SIGNATURE}, {SIGNATURE}"}),
        altered(headers={"content-type": "application/json", "x-twilio-signature": SIGNATURE}),
        altered(headers={"x-twilio-signature": SIGNATURE}),
        altered(
            headers={
                "content-type": FORM,
                "x-twilio-signature": SIGNATURE,
                "x-twilio-webhooks-signature-settings": SHA256_SETTINGS,
            }
        ),
        altered(
            headers={
                "content-type": FORM,
                "x-twilio-signature": SIGNATURE,
                "x-twilio-webhooks-signature-settings": "key=1,algorithm=NONE",
            }
        ),
    ],
)
async def test_refuses_what_twilio_did_not_sign(call: ReceiptCall) -> None:
    with pytest.raises(ReceiptRefused) as refused:
        await read(call)

    assert TOKEN not in str(refused.value)


@pytest.mark.parametrize("name", ["MessageSid", "MessageStatus"])
async def test_refuses_what_is_no_status_callback(name: str) -> None:
    with pytest.raises(ReceiptRefused, match="names no"):
        await read(call_of({key: value for key, value in FIELDS.items() if key != name}))


@pytest.mark.parametrize(("status", "kind"), STATUSES.items())
async def test_statuses(status: str, kind: ReceiptKind) -> None:
    (receipt,) = await read(call_of({**FIELDS, "MessageStatus": status}))

    assert receipt.kind is kind


@pytest.mark.parametrize("status", ["receiving", "received", "unheard-of"])
async def test_leaves_out_what_is_not_about_our_messages(status: str) -> None:
    assert await read(call_of({**FIELDS, "MessageStatus": status})) == []


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("30005", ReceiptKind.BOUNCED),
        ("30006", ReceiptKind.BOUNCED),
        ("21610", ReceiptKind.UNSUBSCRIBED),
        ("30004", ReceiptKind.UNSUBSCRIBED),
        *((code, ReceiptKind.FAILED) for code in ("30001", "30003", "30007", "30008", "30410", "30450", "39999", "x")),
    ],
)
async def test_what_an_error_says_of_the_address(code: str, kind: ReceiptKind) -> None:
    (receipt,) = await read(call_of({**FIELDS, "MessageStatus": "undelivered", "ErrorCode": code}))

    assert receipt.kind is kind
    assert (code in receipt.reason) == code.isdecimal()


def test_only_what_is_said_of_the_address_suppresses_it() -> None:
    suppressing = {code for code, (kind, _) in ERRORS.items() if kind.suppresses}
    assert suppressing == {21211, 21610, 21614, 30004, 30005, 30006}
