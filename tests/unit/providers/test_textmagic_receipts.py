"""TextMagic's callbacks, in the three forms it can be told to use."""

import json
from collections.abc import Callable
from urllib.parse import urlencode

import pytest

from shared.domain.receipt import Receipt, ReceiptKind
from shared.providers.contract import Account
from shared.providers.curl import CurlTransport
from shared.providers.receipts import ReceiptCall, ReceiptRefused
from shared.providers.sms.textmagic_receipts import STATUSES, read_receipts

RUN = 1_882_000_000_000_000_001
FIELDS = {
    "id": "49575710",
    "status": "d",
    "receiver": "12025550123",
    "referenceId": str(RUN),
    "timestamp": "1795000000",
}
DELIVERED = Receipt(
    event_id="49575710:d",
    kind=ReceiptKind.DELIVERED,
    recipient="12025550123",
    delivery_id=str(RUN),
    provider_message_id="49575710",
    occurred_at=1_795_000_000.0,
)


def form(fields: dict[str, str]) -> tuple[str, bytes]:
    return "application/x-www-form-urlencoded", urlencode(fields).encode()


def in_parts(fields: dict[str, str]) -> tuple[str, bytes]:
    parts = (
        f'--x\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n' for name, value in fields.items()
    )
    return "multipart/form-data; boundary=x", ("".join(parts) + "--x--\r\n").encode()


def as_json(fields: dict[str, str]) -> tuple[str, bytes]:
    return "application/json", json.dumps({**fields, "id": int(fields["id"])}).encode()


async def read(content_type: str, body: bytes, *, query: str = "") -> list[Receipt]:
    call = ReceiptCall(f"https://x.example/r/s{query}", {"content-type": content_type}, body, 1_795_000_000.0)
    return list(await read_receipts(Account(1, 1, {}), call, transport=CurlTransport(timeout_seconds=1), endpoint=None))


@pytest.mark.parametrize("write", [form, in_parts, as_json])
async def test_a_delivery(write: Callable[[dict[str, str]], tuple[str, bytes]]) -> None:
    assert await read(*write(FIELDS)) == [DELIVERED]


@pytest.mark.parametrize(
    ("letter", "kind"),
    [
        *((letter, kind) for letter, (kind, _) in STATUSES.items()),
        *((letter, ReceiptKind.PENDING) for letter in ("i", "p", "h", "zz")),
    ],
)
async def test_every_step(letter: str, kind: ReceiptKind) -> None:
    (receipt,) = await read(*form({**FIELDS, "status": letter}))
    assert (receipt.kind, receipt.event_id) == (kind, f"49575710:{letter}")


async def test_fields_of_the_older_api() -> None:
    (receipt,) = await read(*form({"message_id": "7", "status": "f", "timestamp": "soon", "credits_cost": "0.5"}))
    assert (receipt.provider_message_id, receipt.kind, receipt.occurred_at) == ("7", ReceiptKind.FAILED, 0.0)
    assert receipt.reason == "TextMagic: f, failed"


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("", b""),  # a trial
        ("application/json", b"[]"),
        form({"id": "1", "sender": "12025550123", "text": "STOP"}),  # inbound
    ],
)
async def test_what_is_no_step_of_a_message_is_left_out(content_type: str, body: bytes) -> None:
    assert await read(content_type, body) == []


async def test_a_query_will_do() -> None:
    assert await read("", b"", query=f"?{urlencode(FIELDS)}") == [DELIVERED]


@pytest.mark.parametrize(
    "body", [b"{", b"nothing of use", b"id=%ff\xff", b"[" * 100_000], ids=["json", "words", "bytes", "deep"]
)
async def test_what_cannot_be_read_is_refused(body: bytes) -> None:
    with pytest.raises(ReceiptRefused):
        await read("application/x-www-form-urlencoded", body)


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        (
            "multipart/form-data; boundary=x",
            b"--x\r\nContent-Disposition: form-data; " + b"a=b; " * 50_000 + b"\r\n\r\n",
        ),
        ("multipart/form-data; boundary=x", b"--x\r\nContent-Disposition: form-data" + b";" * 20_000 + b"\r\n\r\n\r\n"),
        ("multipart/form-data; boundary=x" + ";" * 20_000, in_parts(FIELDS)[1]),
        ("multipart/form-data; boundary=x", in_parts({str(number): "" for number in range(1_001)})[1]),
        ("multipart/form-data", in_parts(FIELDS)[1]),
        ("application/x-www-form-urlencoded", b"a=b&" * 1_001),
        ("application/json", b"[" * 100_000),
    ],
    ids=["long head", "semicolons", "long type", "many parts", "no boundary", "many fields", "deep"],
)
async def test_what_would_take_long_to_read_is_refused(content_type: str, body: bytes) -> None:
    with pytest.raises(ReceiptRefused):
        await read(content_type, body)


async def test_a_file_among_the_parts_is_passed_over() -> None:
    file = b'--x\r\nContent-Disposition: form-data; name="f"; filename="f"\r\n\r\n1\r\n'
    content_type, body = in_parts(FIELDS)
    assert await read(content_type, file + body) == [DELIVERED]
