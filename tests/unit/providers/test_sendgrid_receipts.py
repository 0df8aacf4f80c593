"""SendGrid's receipts: what is signed is believed, and nothing else."""

import base64
import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from shared.domain.receipt import Receipt, ReceiptKind
from shared.providers.contract import Account
from shared.providers.email.sendgrid_receipts import SIGNATURE, TIMESTAMP, read_receipts
from shared.providers.receipts import ReceiptCall, ReceiptRefused
from shared.simulator.mailer import News
from shared.simulator.sendgrid import Sendgrid
from tests.unit.providers.mail_receipts import NOWHERE, URL, as_received, mailer, taken

KEY = ec.generate_private_key(ec.SECP256R1())
PUBLIC = base64.b64encode(
    KEY.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
).decode()


def signed(events: Any, *, at: float | None = None, key: ec.EllipticCurvePrivateKey = KEY) -> ReceiptCall:
    body = events if isinstance(events, bytes) else json.dumps(events).encode()
    timestamp = str(int(time.time() if at is None else at))
    signature = base64.b64encode(key.sign(timestamp.encode() + body, ec.ECDSA(hashes.SHA256()))).decode()
    return ReceiptCall(URL, {SIGNATURE: signature, TIMESTAMP: timestamp}, body, time.time())


async def read(call: ReceiptCall, secret: str = PUBLIC) -> Sequence[Receipt]:
    account = Account(1, 1, {"apiKey": "key"}, receipts_secret=secret)
    return await read_receipts(account, call, transport=NOWHERE, endpoint=None)


def event(name: str, **more: Any) -> dict[str, Any]:
    return {
        "event": name,
        "email": "anna@example.com",
        "timestamp": 1_700_000_000,
        "sg_event_id": "event-1",
        "sg_message_id": "14c5d75ce93.dfd.64b469.filter0001.16648.5515E0B88.0",
        "tidings_delivery": "17-4",
        **more,
    }


async def test_says_whose_it_is_and_what_became_of_it() -> None:
    (receipt,) = await read(signed([event("bounce", type="bounce", reason="550 5.1.1 no such user")]))

    assert receipt == Receipt(
        event_id="event-1",
        kind=ReceiptKind.BOUNCED,
        recipient="anna@example.com",
        delivery_id="17-4",
        provider_message_id="14c5d75ce93",
        reason="bounce: 550 5.1.1 no such user",
        occurred_at=1_700_000_000,
    )


@pytest.mark.parametrize(
    ("found", "kind"),
    [
        (event("processed"), ReceiptKind.PENDING),
        (event("deferred", response="450 busy"), ReceiptKind.PENDING),
        (event("delivered"), ReceiptKind.DELIVERED),
        (event("bounce", type="blocked"), ReceiptKind.FAILED),
        (event("dropped", reason="Bounced Address"), ReceiptKind.BOUNCED),
        (event("dropped", reason="Invalid"), ReceiptKind.BOUNCED),
        (event("dropped", reason="Spam Reporting Address"), ReceiptKind.COMPLAINED),
        (event("dropped", reason="Unsubscribed Address"), ReceiptKind.UNSUBSCRIBED),
        (event("dropped", reason="Recipient List over Package Quota"), ReceiptKind.FAILED),
        (event("spamreport"), ReceiptKind.COMPLAINED),
        (event("unsubscribe"), ReceiptKind.UNSUBSCRIBED),
        (event("group_unsubscribe"), ReceiptKind.UNSUBSCRIBED),
    ],
    ids=lambda value: value["event"] if isinstance(value, dict) else None,
)
async def test_what_events_mean(found: dict[str, Any], kind: ReceiptKind) -> None:
    assert [receipt.kind for receipt in await read(signed([found]))] == [kind]


async def test_leaves_out_what_is_about_nothing_we_follow() -> None:
    assert await read(signed([event("open"), event("click"), event("group_resubscribe"), 7, {"event": ["open"]}])) == []


async def test_refuses_an_altered_body() -> None:
    call = signed([event("delivered")])

    with pytest.raises(ReceiptRefused, match="signature"):
        await read(replace(call, body=call.body.replace(b"anna", b"otto")))


async def test_refuses_another_key() -> None:
    with pytest.raises(ReceiptRefused, match="signature"):
        await read(signed([event("delivered")], key=ec.generate_private_key(ec.SECP256R1())))


@pytest.mark.parametrize("age", [-301, 301])
async def test_refuses_what_was_signed_at_another_time(age: float) -> None:
    with pytest.raises(ReceiptRefused, match="too long ago"):
        await read(signed([event("delivered")], at=time.time() - age))


async def test_refuses_a_new_time_for_an_old_signature() -> None:
    call = signed([event("delivered")], at=time.time() - 900)

    with pytest.raises(ReceiptRefused, match="signature"):
        await read(replace(call, headers={**call.headers, TIMESTAMP: str(int(time.time()))}))


@pytest.mark.parametrize(
    "headers",
    [{}, {SIGNATURE: ""}, {SIGNATURE: "%%%"}, {TIMESTAMP: ""}, {TIMESTAMP: "now"}, {SIGNATURE: "AAAA,AAAA"}],
    ids=str,
)
async def test_refuses_headers_that_are_missing_doubled_or_unreadable(headers: dict[str, str]) -> None:
    call = signed([event("delivered")])

    with pytest.raises(ReceiptRefused):
        await read(replace(call, headers={**call.headers, **headers} if headers else {}))


@pytest.mark.parametrize("secret", ["", "AAAA", "not base64"])
async def test_without_a_key_nothing_is_believed(secret: str) -> None:
    with pytest.raises(ReceiptRefused, match="key"):
        await read(signed([event("delivered")]), secret)


@pytest.mark.parametrize("body", [b"", b"{}", b"[", b"\xff", b"[" * 100_000])
async def test_refuses_what_is_no_list_of_events(body: bytes) -> None:
    with pytest.raises(ReceiptRefused):
        await read(signed(body))


async def test_reads_what_the_simulator_signs(tmp_path: Path) -> None:
    provider = mailer(Sendgrid, tmp_path)

    (call,) = provider.receipts_of(taken(News))
    receipts = await read(as_received(call), provider.receipts_secret)

    assert [(receipt.kind, receipt.delivery_id, receipt.provider_message_id) for receipt in receipts] == [
        (ReceiptKind(news), f"1700000000000-{number}", f"message{number}") for number, news in enumerate(News)
    ]
