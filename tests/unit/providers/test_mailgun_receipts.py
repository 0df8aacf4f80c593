"""Mailgun's receipts: what is signed is believed, and nothing else."""

import hmac
import json
import time
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from shared.domain.receipt import Receipt, ReceiptKind
from shared.providers.contract import Account
from shared.providers.email.mailgun_receipts import read_receipts
from shared.providers.receipts import ReceiptCall, ReceiptRefused
from shared.simulator.mailer import News
from shared.simulator.mailgun import Mailgun
from tests.unit.providers.mail_receipts import NOWHERE, URL, as_received, mailer, taken

KEY = "signing-key"


def signed(event: dict[str, Any], *, at: float | None = None, key: str = KEY, **altered: Any) -> ReceiptCall:
    timestamp, token = str(int(time.time() if at is None else at)), "token-1"
    signature = hmac.new(key.encode(), f"{timestamp}{token}".encode(), sha256).hexdigest()
    fields = {"timestamp": timestamp, "token": token, "signature": signature, **altered}
    return call({"signature": fields, "event-data": event})


def call(document: Any) -> ReceiptCall:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return ReceiptCall(URL, {"content-type": "application/json"}, body, time.time())


async def read(received: ReceiptCall, secret: str = KEY) -> Sequence[Receipt]:
    account = Account(1, 1, {"apiKey": "key"}, receipts_secret=secret)
    return await read_receipts(account, received, transport=NOWHERE, endpoint=None)


def event(name: str, **more: Any) -> dict[str, Any]:
    return {
        "event": name,
        "id": "Ase7i2zsRYeDXztHGENqRA",
        "timestamp": 1_700_000_000.5,
        "recipient": "anna@example.com",
        "message": {"headers": {"message-id": "2026.7@mg.example.com"}},
        "user-variables": {"tidings_delivery": "17-4"},
        **more,
    }


async def test_says_whose_it_is_and_what_became_of_it() -> None:
    status = {"code": 550, "message": "5.1.1 no such user"}
    (receipt,) = await read(
        signed(event("failed", **{"severity": "permanent", "reason": "bounce", "delivery-status": status}))
    )

    assert receipt == Receipt(
        event_id="token-1",
        kind=ReceiptKind.BOUNCED,
        recipient="anna@example.com",
        delivery_id="17-4",
        provider_message_id="2026.7@mg.example.com",
        reason="failed: bounce: 550: 5.1.1 no such user",
        occurred_at=1_700_000_000.5,
    )


@pytest.mark.parametrize(
    ("found", "kind"),
    [
        (event("accepted"), ReceiptKind.PENDING),
        (event("delivered"), ReceiptKind.DELIVERED),
        (event("rejected"), ReceiptKind.FAILED),
        (event("failed", severity="temporary", reason="generic"), ReceiptKind.PENDING),
        (event("failed", severity="permanent", reason="generic"), ReceiptKind.FAILED),
        (event("failed", severity="permanent", reason="suppress-bounce"), ReceiptKind.BOUNCED),
        (event("failed", severity="permanent", reason="suppress-complaint"), ReceiptKind.COMPLAINED),
        (event("failed", severity="permanent", reason="suppress-unsubscribe"), ReceiptKind.UNSUBSCRIBED),
        (event("failed", **{"delivery-status": {"enhanced-code": "5.1.1"}}), ReceiptKind.BOUNCED),
        (event("failed", **{"delivery-status": {"message": "552 5.2.2 full"}}), ReceiptKind.FAILED),
        (event("complained"), ReceiptKind.COMPLAINED),
        (event("unsubscribed"), ReceiptKind.UNSUBSCRIBED),
    ],
    ids=str,
)
async def test_what_events_mean(found: dict[str, Any], kind: ReceiptKind) -> None:
    assert [receipt.kind for receipt in await read(signed(found))] == [kind]


@pytest.mark.parametrize("name", ["opened", "clicked", "stored", ""])
async def test_leaves_out_what_is_about_nothing_we_follow(name: str) -> None:
    assert await read(signed(event(name))) == []


async def test_a_call_that_comes_again_is_the_same_event() -> None:
    first, again = await read(signed(event("delivered"))), await read(signed(event("delivered", id="another")))

    assert first[0].event_id == again[0].event_id


async def test_refuses_another_key() -> None:
    with pytest.raises(ReceiptRefused, match="signature"):
        await read(signed(event("delivered"), key="another"))


async def test_without_a_key_nothing_is_believed() -> None:
    with pytest.raises(ReceiptRefused, match="key"):
        await read(signed(event("delivered"), key=""), secret="")


@pytest.mark.parametrize("age", [-301, 301])
async def test_refuses_what_was_signed_at_another_time(age: float) -> None:
    with pytest.raises(ReceiptRefused, match="too long ago"):
        await read(signed(event("delivered"), at=time.time() - age))


@pytest.mark.parametrize(
    "altered",
    [
        {"token": "another"},
        {"token": ""},
        {"token": "\ud800"},
        {"signature": ""},
        {"signature": "ü\ud800"},
        {"signature": ["x"]},
        {"timestamp": "now"},
        {"timestamp": "1.5"},
        {"timestamp": str(int(time.time()) + 60)},
    ],
    ids=lambda altered: next(iter(altered)),  # the same in every process: a time is not
)
async def test_refuses_what_was_altered(altered: dict[str, Any]) -> None:
    with pytest.raises(ReceiptRefused):
        await read(signed(event("delivered"), **altered))


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"\xff", b"[" * 100_000, b'{"signature":[],"event-data":7}'])
async def test_refuses_what_is_no_event(body: bytes) -> None:
    with pytest.raises(ReceiptRefused):
        await read(call(body))


async def test_reads_what_the_simulator_signs(tmp_path: Path) -> None:
    provider = mailer(Mailgun, tmp_path)

    receipts = [await read(as_received(sent), provider.receipts_secret) for sent in provider.receipts_of(taken(News))]

    assert [(receipt.kind, receipt.delivery_id, receipt.provider_message_id) for (receipt,) in receipts] == [
        (ReceiptKind(news), f"1700000000000-{number}", f"message{number}") for number, news in enumerate(News)
    ]
