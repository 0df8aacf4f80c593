"""MSG91's webhooks, of each generation."""

import json
from typing import Any
from urllib.parse import urlencode

import pytest

from shared.domain.receipt import Receipt, ReceiptKind
from shared.providers.contract import Account
from shared.providers.curl import CurlTransport
from shared.providers.receipts import ReceiptCall, ReceiptRefused
from shared.providers.sms.msg91_receipts import STATUSES, read_receipts

RUN = 1_882_000_000_000_000_001
REQUEST = "356f6b6e6a6f623338333631"
BATCH = {
    "senderId": "ACMEIN",
    "requestId": REQUEST,
    "report": [
        {
            "date": "2026-11-21 10:00:00",
            "number": "919800000001",
            "status": "1",
            "desc": "DELIVERED",
            "CRQID": str(RUN),
        },
        {"date": "2026-11-21 10:00:01", "number": "919800000002", "status": "9", "desc": "NDNC", "CRQID": str(RUN)},
    ],
    "userId": "1",
    "campaignName": "API",
}
FLAT = {"requestId": REQUEST, "number": "919800000001", "status": "1", "CRQID": str(RUN)}
NEW = {
    "requestId": REQUEST,
    "telNum": "919800000001",
    "status": "Failed",
    "CRQID": str(RUN),
    "failureReason": "No route",
}
DELIVERED = Receipt(
    event_id=f"{REQUEST}:919800000001:1",
    kind=ReceiptKind.DELIVERED,
    recipient="919800000001",
    delivery_id=str(RUN),
    provider_message_id=REQUEST,
)


async def read(body: bytes, content_type: str = "application/json") -> list[Receipt]:
    call = ReceiptCall("https://x.example/r/s", {"content-type": content_type}, body, 1_795_000_000.0)
    return list(await read_receipts(Account(1, 1, {}), call, transport=CurlTransport(timeout_seconds=1), endpoint=None))


def form(data: object) -> tuple[bytes, str]:
    return urlencode({"data": json.dumps(data)}).encode(), "application/x-www-form-urlencoded"


async def test_the_second_generation_is_json_in_a_form() -> None:
    delivered, refused = await read(*form([BATCH]))
    assert delivered == DELIVERED
    assert (refused.kind, refused.recipient) == (ReceiptKind.UNSUBSCRIBED, "919800000002")
    assert refused.reason == "MSG91: status 9, NDNC"


@pytest.mark.parametrize(
    "document",
    [FLAT, [FLAT], {"data": json.dumps([FLAT])}, {"data": FLAT}, {"requestId": REQUEST, "report": json.dumps([FLAT])}],
)
async def test_the_third_and_what_stands_as_text_within_it(document: object) -> None:
    assert await read(json.dumps(document).encode()) == [DELIVERED]


async def test_the_newest() -> None:
    (receipt,) = await read(json.dumps(NEW).encode())
    assert (receipt.kind, receipt.delivery_id, receipt.reason) == (
        ReceiptKind.FAILED,
        str(RUN),
        "MSG91: status Failed, No route",
    )


@pytest.mark.parametrize(
    ("status", "kind"),
    [*STATUSES.items(), ("DELIVERED", ReceiptKind.DELIVERED), ("8", ReceiptKind.PENDING), ("new", ReceiptKind.PENDING)],
)
async def test_every_status(status: str, kind: ReceiptKind) -> None:
    (receipt,) = await read(json.dumps({**FLAT, "status": status}).encode())
    assert receipt.kind is kind


async def test_a_number_as_status() -> None:
    (receipt,) = await read(json.dumps({**FLAT, "status": 17, "number": 919800000001}).encode())
    assert (receipt.kind, receipt.recipient) == (ReceiptKind.UNSUBSCRIBED, "919800000001")


@pytest.mark.parametrize(
    "document", [{}, [], {"data": "[]"}, {"requestId": REQUEST, "status": "1"}, {"data": "no list"}, [[]]]
)
async def test_what_tells_of_no_number_is_left_out(document: Any) -> None:
    assert await read(json.dumps(document).encode()) == []


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"{", "application/json"),
        (b"nothing of use", "text/plain"),
        (urlencode({"data": "[{"}).encode(), "application/x-www-form-urlencoded"),
        (b"[" * 50 + b"]" * 50, "application/json"),
        (b"[" * 100_000, "application/json"),
    ],
)
async def test_what_cannot_be_read_is_refused(body: bytes, content_type: str) -> None:
    with pytest.raises(ReceiptRefused):
        await read(body, content_type)


async def test_what_a_request_says_beside_its_reports_is_not_carried_through_all_of_them() -> None:
    """Ten thousand fields and as many reports would be a hundred million."""
    request = {f"field{number}": number for number in range(10_000)} | {"requestId": REQUEST, "CRQID": str(RUN)}
    reports = [{"number": f"9198{number:08}", "status": "1"} for number in range(5_000)]
    receipts = await read(json.dumps({**request, "report": reports}).encode())
    assert len(receipts) == 5_000
    assert {receipt.delivery_id for receipt in receipts} == {str(RUN)}
