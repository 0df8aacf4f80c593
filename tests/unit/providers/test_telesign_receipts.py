"""Telesign's delivery reports: their signature, and what each status means."""

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from typing import Any

import pytest

from shared.domain.receipt import Receipt, ReceiptKind
from shared.providers.contract import Account
from shared.providers.curl import CurlTransport
from shared.providers.receipts import ReceiptCall, ReceiptRefused
from shared.providers.sms.telesign_receipts import STATUSES, read_receipts

CUSTOMER, KEY = "FFFFFFFF-EEEE-DDDD-1234-AB1234567890", base64.b64encode(b"a secret of some bytes").decode()
URL = "https://tidings.example.com/v1/tidings/receipts/abc"
REFERENCE = "B56259E45884010488343BAA15FB0002"
SINGLE = {
    "reference_id": REFERENCE,
    "status": {"code": 200, "description": "Delivered to handset", "updated_on": "2025-11-22T08:00:00.500000Z"},
    "submit_timestamp": "2025-11-22T07:59:00.000000Z",
    "external_id": "1700000000000-7",
    "additional_info": {"message_parts_count": 2},
}
BULK = {
    "reference_id": REFERENCE,
    "status": {"code": 200, "description": "Delivered to handset", "updated_on": "2025-11-22T08:00:00.500000Z"},
    "errors": [],
    "sub_resource": "bulk_sms",
    "session_id": "1700000000000-8",
}
NOBODYS = {
    "status": {"code": 500, "description": "Transaction not attempted", "updated_on": "x"},
    "errors": [{"code": -90001, "description": "System Unavailable, Please try again later."}],
    "sub_resource": "bulk_sms",
}


def signature(body: bytes, *, key: str = KEY, customer: str = CUSTOMER) -> str:
    mac = hmac.new(base64.b64decode(key), body, hashlib.sha256).digest()
    return f"TSA {customer}:{base64.b64encode(mac).decode()}"


def call_of(document: Any, *, body: bytes = b"", **headers: str) -> ReceiptCall:
    given = body or json.dumps(document).encode()
    signed = signature(given)
    usual = {"content-type": "application/json", "authorization": signed, "x-ts-authorization": signed}
    return ReceiptCall(URL, {**usual, **{name.replace("_", "-"): value for name, value in headers.items()}}, given, 0.0)


def altered(body: bytes = b"", headers: Mapping[str, str] | None = None) -> ReceiptCall:
    call = call_of(SINGLE)
    return ReceiptCall(call.url, call.headers if headers is None else headers, body or call.body, 0.0)


async def read(call: ReceiptCall, *, key: str = KEY) -> list[Receipt]:
    transport = CurlTransport(timeout_seconds=1)
    account = Account(1, 1, {"customerId": CUSTOMER, "apiKey": key})
    return list(await read_receipts(account, call, transport=transport, endpoint=None))


def receipt_of(delivery: str) -> Receipt:
    return Receipt(
        event_id=f"{REFERENCE}:{delivery}:200",
        kind=ReceiptKind.DELIVERED,
        recipient="",
        delivery_id=delivery,
        provider_message_id=REFERENCE,
        occurred_at=1_763_798_400.5,
    )


@pytest.mark.parametrize(("document", "delivery"), [(SINGLE, "1700000000000-7"), (BULK, "1700000000000-8")])
async def test_reads_what_telesign_signed(document: Any, delivery: str) -> None:
    assert await read(call_of(document)) == [receipt_of(delivery)]


async def test_takes_several_in_a_call() -> None:
    receipts = await read(call_of([SINGLE, BULK, NOBODYS]))

    assert [receipt.delivery_id for receipt in receipts] == ["1700000000000-7", "1700000000000-8"]


@pytest.mark.parametrize("name", ["authorization", "x-ts-authorization"])
async def test_either_header_will_do(name: str) -> None:
    """A proxy may have used the other one for itself."""
    call = call_of(SINGLE)

    assert await read(altered(headers={name: call.headers[name]}))
    assert await read(altered(headers={**call.headers, name: "Basic eDp5"}))


async def test_the_same_again_is_the_same_event() -> None:
    """Nothing signed says when: a replay changes nothing, since its event is known."""
    first, again = [await read(call_of(BULK)) for _ in range(2)]
    (of_another,) = await read(call_of({**BULK, "session_id": "1700000000000-9"}))

    assert first == again
    assert of_another.event_id != first[0].event_id


SIGNED = call_of(SINGLE).headers["authorization"]


@pytest.mark.parametrize(
    "call",
    [
        altered(body=json.dumps({**SINGLE, "external_id": "1700000000000-8"}).encode()),
        altered(body=call_of(SINGLE).body + b" "),
        altered(headers={}),
        altered(headers={"authorization": ""}),
        altered(headers={"authorization": "ü"}),
        altered(headers={"authorization": SIGNED.partition(":")[2]}),
        altered(headers={"authorization": f"{SIGNED}, {SIGNED}"}),
        altered(headers={"authorization": signature(call_of(SINGLE).body, customer="ANOTHER")}),
        altered(headers={"authorization": signature(call_of(SINGLE).body, key="YW5vdGhlcg==")}),
    ],
)
async def test_refuses_what_telesign_did_not_sign(call: ReceiptCall) -> None:
    with pytest.raises(ReceiptRefused, match="not signed") as refused:
        await read(call)

    assert KEY not in str(refused.value)


@pytest.mark.parametrize("key", ["", "not base64!"])
async def test_without_a_proper_key_nothing_is_signed(key: str) -> None:
    """An empty key signs as well as any other."""
    body = call_of(SINGLE).body
    forged = base64.b64encode(hmac.new(b"", body, hashlib.sha256).digest()).decode()

    with pytest.raises(ReceiptRefused):
        await read(altered(headers={"authorization": f"TSA {CUSTOMER}:{forged}"}), key=key)


@pytest.mark.parametrize("body", [b"{", b"\xff", b"null", b"7", b"[[]]", b'{"status": 200}', b"[" * 50_000])
async def test_refuses_what_is_no_report(body: bytes) -> None:
    with pytest.raises(ReceiptRefused, match=r"JSON|status"):
        await read(call_of(None, body=body))


@pytest.mark.parametrize(("code", "kind"), STATUSES.items())
async def test_statuses(code: int, kind: ReceiptKind) -> None:
    (receipt,) = await read(call_of({**SINGLE, "status": {"code": code, "description": "in words"}}))

    assert receipt.kind is kind
    assert receipt.reason in ("", f"Telesign: code {code}: in words")
    assert receipt.reason or not kind.counted_as or kind is ReceiptKind.DELIVERED


def test_only_what_is_said_of_the_address_suppresses_it() -> None:
    assert {code for code, kind in STATUSES.items() if kind.suppresses} == {211, 220, 222, 507, 510, 513}


@pytest.mark.parametrize("document", [NOBODYS, {**SINGLE, "status": {"code": 777}}, {**SINGLE, "status": {}}])
async def test_leaves_out_what_is_no_step_of_a_message_we_know(document: Any) -> None:
    assert await read(call_of(document)) == []


@pytest.mark.parametrize("told", ["2025-31-03T14:51:28.709526Z", "2025-11-22T08:00:00", "", None])
async def test_a_time_that_is_none_is_left_out(told: Any) -> None:
    (receipt,) = await read(call_of({**SINGLE, "status": {"code": 200, "updated_on": told}}))

    assert receipt.occurred_at == 0.0
