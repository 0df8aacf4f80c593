"""Vonage's delivery receipts: signatures as its own package makes them, and what each status means."""

import hashlib
import json
from typing import Any
from urllib.parse import urlencode

import jwt
import pytest
from vonage_http_client.auth import Auth
from vonage_jwt.verify_jwt import verify_signature

from shared.domain.receipt import Receipt, ReceiptKind
from shared.providers.contract import Account
from shared.providers.curl import CurlTransport
from shared.providers.receipts import ReceiptCall, ReceiptRefused
from shared.providers.sms.vonage_receipts import ERRORS, STATUSES, read_receipts

SECRET = "5ignature5ecretOfMoreThanThirtyTwoLetters"
URL = "https://tidings.example.com/v1/tidings/receipts/abc"
NOW = 1_763_798_400.0
FIELDS = {
    "msisdn": "12025550123",
    "to": "ACME & Sons=",
    "network-code": "310004",
    "messageId": "0A0000000123ABCD1",
    "price": "0.03330000",
    "status": "delivered",
    "scts": "2511220800",
    "err-code": "0",
    "api-key": "abcd1234",
    "client-ref": "1700000000000-7",
    "message-timestamp": "2025-11-22 08:00:00 +0000",
}
STATUS = {
    "message_uuid": "aaaaaaaa-bbbb-4ccc-8ddd-0123456789ab",
    "to": "12025550123",
    "from": "ACME",
    "timestamp": "2025-11-22T08:00:00.000Z",
    "status": "delivered",
    "client_ref": "1700000000000-7",
    "usage": {"price": "0.0333", "currency": "EUR"},
}


def signed(
    method: Any = "sha256", *, at: float = NOW, secret: str = SECRET, code: str = "0", **changes: str
) -> dict[str, str]:
    fields = {**FIELDS, "timestamp": str(int(at)), "nonce": "abc", "err-code": code, **changes}
    auth = Auth(api_key="abcd1234", signature_secret=secret, signature_method=method)
    return {**fields, "sig": auth.sign_params(dict(fields))}


def hashed(**changes: str) -> dict[str, str]:
    """Vonage's first way of signing, which its package cannot do: MD5 of the text with the secret at its end."""
    fields = {**FIELDS, "timestamp": str(int(NOW)), **changes}
    text = "".join(f"&{name}={fields[name].replace('&', '_').replace('=', '_')}" for name in sorted(fields))
    return {**fields, "sig": hashlib.md5((text + SECRET).encode()).hexdigest().upper()}  # noqa: S324  # as Vonage does


def by_query(fields: dict[str, str]) -> ReceiptCall:
    return ReceiptCall(f"{URL}?{urlencode(fields)}", {}, b"", NOW)


def by_form(fields: dict[str, str]) -> ReceiptCall:
    return ReceiptCall(URL, {"content-type": "application/x-www-form-urlencoded"}, urlencode(fields).encode(), NOW)


def by_json(fields: Any) -> ReceiptCall:
    return ReceiptCall(URL, {"content-type": "application/json"}, json.dumps(fields).encode(), NOW)


def with_token(fields: Any, *, secret: str = SECRET, **claims: Any) -> ReceiptCall:
    call = by_json(fields)
    usual = {"iat": int(NOW), "jti": "1", "iss": "Vonage", "payload_hash": hashlib.sha256(call.body).hexdigest()}
    given = {name: value for name, value in {**usual, **claims}.items() if value is not None}
    token = jwt.encode(given, secret, "HS256")
    return ReceiptCall(call.url, {**call.headers, "authorization": f"Bearer {token}"}, call.body, NOW)


async def read(call: ReceiptCall, *, secret: str = SECRET) -> list[Receipt]:
    transport = CurlTransport(timeout_seconds=1)
    account = Account(1, 1, {"apiKey": "abcd1234", "apiSecret": "s3cret"}, receipts_secret=secret)
    return list(await read_receipts(account, call, transport=transport, endpoint=None))


DELIVERED = Receipt(
    event_id="0A0000000123ABCD1:delivered:",
    kind=ReceiptKind.DELIVERED,
    recipient="12025550123",
    delivery_id="1700000000000-7",
    provider_message_id="0A0000000123ABCD1",
    occurred_at=NOW,
)


@pytest.mark.parametrize("post", [by_query, by_form, by_json])
@pytest.mark.parametrize("method", ["md5", "sha1", "sha256", "sha512"])
async def test_reads_what_vonage_signed(post: Any, method: str) -> None:
    assert await read(post(signed(method))) == [DELIVERED]


@pytest.mark.parametrize("post", [by_query, by_form, by_json])
async def test_takes_the_first_way_of_signing_too(post: Any) -> None:
    assert await read(post(hashed())) == [DELIVERED]


async def test_without_a_secret_the_address_is_the_proof() -> None:
    assert await read(by_query(FIELDS), secret="") == [DELIVERED]


async def test_reads_a_status_of_the_messages_api() -> None:
    call = with_token(STATUS)
    assert verify_signature(call.headers["authorization"].removeprefix("Bearer "), SECRET)

    (receipt,) = await read(call)

    assert receipt == Receipt(
        event_id=f"{STATUS['message_uuid']}:delivered:",
        kind=ReceiptKind.DELIVERED,
        recipient="12025550123",
        delivery_id="1700000000000-7",
        provider_message_id=str(STATUS["message_uuid"]),
        occurred_at=NOW,
    )


async def test_each_part_and_step_is_an_event_of_its_own() -> None:
    posts = (signed(), signed(messageId="1A"), signed(status="accepted"), signed(status="failed", code="1"), signed())
    events = [(await read(by_form(post)))[0].event_id for post in posts]

    assert len(set(events)) == 4
    assert events[0] == events[-1]


@pytest.mark.parametrize(
    "call",
    [
        by_form(FIELDS),
        by_form({**FIELDS, "sig": ""}),
        by_form(signed(secret="another")),
        by_form({**signed(), "status": "failed"}),
        by_form({**signed(), "new": "field"}),
        by_form({**signed(), "sig": "ü" * 64}),
        by_form({**signed(), "sig": signed()["sig"][:32]}),
        by_form({**signed(), "sig": signed()["sig"] * 2}),
        ReceiptCall(URL, {}, urlencode(signed()).encode() + b"&status=failed", NOW),
        by_form(signed(at=NOW - 301)),
        by_form(signed(at=NOW + 301)),
        by_form(signed(timestamp="yesterday")),
        by_form(signed(timestamp="9" * 400)),
        by_form(signed(timestamp="")),
        ReceiptCall(URL, {}, b"[]", NOW),
        ReceiptCall(URL, {}, b'{"a":', NOW),
        ReceiptCall(URL, {}, b"\xff", NOW),
        with_token(STATUS, secret=SECRET[::-1]),
        with_token(STATUS, iss="Elsewhere"),
        with_token(STATUS, iss=None),
        with_token(STATUS, payload_hash=None),
        with_token(STATUS, payload_hash="0" * 64),
        with_token(STATUS, iat=None),
        with_token(STATUS, iat="now"),
        with_token(STATUS, iat=int(NOW) - 301),
        with_token(STATUS, iat=int(NOW) + 301),
        ReceiptCall(URL, with_token(STATUS).headers, by_json({**STATUS, "status": "rejected"}).body, NOW),
        ReceiptCall(f"{URL}?status=delivered&messageId=1", with_token(STATUS).headers, b"", NOW),
        ReceiptCall(URL, {"authorization": "Bearer x.y.z"}, b"{}", NOW),
        ReceiptCall(URL, {"authorization": "Bearer"}, by_json(STATUS).body, NOW),
    ],
)
async def test_refuses_what_vonage_did_not_sign(call: ReceiptCall) -> None:
    if call.body == b"{}":
        call = ReceiptCall(call.url, call.headers, b'{"status":"delivered"}', NOW)
    with pytest.raises(ReceiptRefused) as refused:
        await read(call)

    assert SECRET not in str(refused.value)


async def test_a_token_without_a_signature_is_none() -> None:
    body = by_json(STATUS).body
    claims = {"iat": int(NOW), "iss": "Vonage", "payload_hash": hashlib.sha256(body).hexdigest()}
    token = jwt.encode(claims, "", "none")

    with pytest.raises(ReceiptRefused, match="not made with"):
        await read(ReceiptCall(URL, {"authorization": f"Bearer {token}"}, body, NOW))


@pytest.mark.parametrize(("status", "kind"), STATUSES.items())
async def test_statuses(status: str, kind: ReceiptKind) -> None:
    (receipt,) = await read(by_form(signed(status=status)))

    assert receipt.kind is kind


@pytest.mark.parametrize(("code", "meaning"), ERRORS.items())
async def test_what_an_error_says_of_the_address(code: str, meaning: tuple[ReceiptKind, str]) -> None:
    (receipt,) = await read(by_form(signed(status="rejected", code=code)))

    assert (receipt.kind, receipt.reason) == (meaning[0], f"Vonage: rejected, code {code}: {meaning[1]}".rstrip(": "))


async def test_opting_out_is_told_by_either_api() -> None:
    error = {
        "type": "https://developer.vonage.com/api-errors/messages#1240",
        "title": "1240",
        "detail": "Illegal Number",
    }

    (plain,) = await read(by_form(signed(status="rejected", code="9")))
    (newer,) = await read(with_token({**STATUS, "status": "rejected", "error": error}))

    assert plain.kind is newer.kind is ReceiptKind.UNSUBSCRIBED
    assert newer.reason == "Vonage: rejected, code 1240: Illegal Number"


@pytest.mark.parametrize(
    "fields",
    [
        {"msisdn": "12025550123", "to": "15005550006", "messageId": "1", "text": "STOP", "type": "text"},
        {**FIELDS, "status": "unheard-of"},
        {"status": "delivered"},
        {},
    ],
)
async def test_leaves_out_what_is_no_step_of_our_messages(fields: dict[str, str]) -> None:
    assert await read(by_query(fields), secret="") == []


@pytest.mark.parametrize(
    ("told", "expected"),
    [("2025-11-22 08:00:00", NOW), ("2025-11-22T09:00:00+01:00", NOW), ("2511220800", 0.0), ("", 0.0)],
)
async def test_when_it_happened(told: str, expected: float) -> None:
    (receipt,) = await read(by_form({**FIELDS, "message-timestamp": told}), secret="")

    assert receipt.occurred_at == expected
