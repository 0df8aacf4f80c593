"""Resend's receipts: what is signed is believed, and nothing else."""

import base64
import hmac
import json
import time
from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from shared.domain.receipt import Receipt, ReceiptKind
from shared.providers.contract import Account
from shared.providers.email.resend_receipts import read_receipts
from shared.providers.receipts import ReceiptCall, ReceiptRefused
from shared.simulator.mailer import News
from shared.simulator.resend import Resend
from tests.unit.providers.mail_receipts import NOWHERE, URL, as_received, mailer, taken

SECRET = f"whsec_{base64.b64encode(b'signing secret').decode()}"


def signed(event: Any, *, at: float | None = None, secret: str = SECRET) -> ReceiptCall:
    body = event if isinstance(event, bytes) else json.dumps(event).encode()
    name, timestamp = "msg_1", str(int(time.time() if at is None else at))
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signature = base64.b64encode(hmac.new(key, f"{name}.{timestamp}.".encode() + body, sha256).digest()).decode()
    headers = {"svix-id": name, "svix-timestamp": timestamp, "svix-signature": f"v1,{signature}"}
    return ReceiptCall(URL, headers, body, time.time())


async def read(call: ReceiptCall, secret: str = SECRET) -> Sequence[Receipt]:
    account = Account(1, 1, {"apiKey": "key"}, receipts_secret=secret)
    return await read_receipts(account, call, transport=NOWHERE, endpoint=None)


def event(name: str, **more: Any) -> dict[str, Any]:
    data = {"email_id": "id-1", "to": ["anna@example.com"], "tags": {"tidings_delivery": "17-4"}, **more}
    return {"type": name, "created_at": "2023-11-14T22:13:20.500Z", "data": data}


BOUNCE = {"type": "Permanent", "subType": "General", "message": "no such user"}


async def test_says_whose_it_is_and_what_became_of_it() -> None:
    (receipt,) = await read(signed(event("email.bounced", bounce=BOUNCE)))

    assert receipt == Receipt(
        event_id="msg_1",
        kind=ReceiptKind.BOUNCED,
        recipient="anna@example.com",
        delivery_id="17-4",
        provider_message_id="id-1",
        reason="email.bounced: Permanent: no such user",
        occurred_at=1_700_000_000.5,
    )


@pytest.mark.parametrize(
    ("found", "kind"),
    [
        (event("email.sent"), ReceiptKind.PENDING),
        (event("email.scheduled"), ReceiptKind.PENDING),
        (event("email.delivery_delayed"), ReceiptKind.PENDING),
        (event("email.delivered"), ReceiptKind.DELIVERED),
        (event("email.bounced", bounce={**BOUNCE, "type": "Transient"}), ReceiptKind.FAILED),
        (event("email.bounced"), ReceiptKind.FAILED),
        (event("email.failed", failed={"reason": "quota"}), ReceiptKind.FAILED),
        (event("email.suppressed"), ReceiptKind.BOUNCED),
        (event("email.complained"), ReceiptKind.COMPLAINED),
    ],
    ids=lambda value: value["type"] if isinstance(value, dict) else None,
)
async def test_what_events_mean(found: dict[str, Any], kind: ReceiptKind) -> None:
    assert [receipt.kind for receipt in await read(signed(found))] == [kind]


@pytest.mark.parametrize("found", [event("email.opened"), event("email.clicked"), event("domain.created"), [], 7, {}])
async def test_leaves_out_what_is_about_nothing_we_follow(found: Any) -> None:
    assert await read(signed(found)) == []


async def test_understands_tags_as_pairs() -> None:
    (receipt,) = await read(signed(event("email.sent", tags=[{"name": "tidings_delivery", "value": "17-4"}, 7])))

    assert receipt.delivery_id == "17-4"


async def test_of_several_recipients_it_does_not_say_whose_it_is() -> None:
    (receipt,) = await read(signed(event("email.sent", to=["anna@example.com", "otto@example.com"])))

    assert receipt.recipient == ""


async def test_one_of_several_signatures_is_enough() -> None:
    call = signed(event("email.sent"))
    several = f"v1,AAAA v2,x {call.headers['svix-signature']}"

    assert await read(replace(call, headers={**call.headers, "svix-signature": several}))


async def test_refuses_an_altered_body() -> None:
    call = signed(event("email.sent"))

    with pytest.raises(ReceiptRefused, match="signature"):
        await read(replace(call, body=call.body.replace(b"anna", b"otto")))


async def test_refuses_another_secret() -> None:
    other = f"whsec_{base64.b64encode(b'another').decode()}"

    with pytest.raises(ReceiptRefused, match="signature"):
        await read(signed(event("email.sent"), secret=other))


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_%", "ключ"])
async def test_without_a_secret_nothing_is_believed(secret: str) -> None:
    with pytest.raises(ReceiptRefused, match="secret"):
        await read(signed(event("email.sent")), secret)


@pytest.mark.parametrize("age", [-301, 301])
async def test_refuses_what_was_signed_at_another_time(age: float) -> None:
    with pytest.raises(ReceiptRefused, match="too long ago"):
        await read(signed(event("email.sent"), at=time.time() - age))


@pytest.mark.parametrize(
    "headers",
    [
        {"svix-id": "msg_2"},
        {"svix-id": ""},
        {"svix-timestamp": ""},
        {"svix-timestamp": "1e9"},
        {"svix-timestamp": str(int(time.time()) + 60)},
        {"svix-signature": ""},
        {"svix-signature": "v1,"},
        {"svix-signature": "v1,ü"},
    ],
    ids=lambda headers: next(iter(headers)),  # the same in every process: a time is not
)
async def test_refuses_headers_that_are_missing_or_altered(headers: dict[str, str]) -> None:
    call = signed(event("email.sent"))

    with pytest.raises(ReceiptRefused):
        await read(replace(call, headers={**call.headers, **headers}))


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[" * 100_000])
async def test_refuses_what_is_not_json(body: bytes) -> None:
    with pytest.raises(ReceiptRefused, match="JSON"):
        await read(signed(body))


async def test_reads_what_the_simulator_signs(tmp_path: Path) -> None:
    provider = mailer(Resend, tmp_path)

    receipts = [await read(as_received(sent), provider.receipts_secret) for sent in provider.receipts_of(taken(News))]

    assert [receipt.kind for (receipt,) in receipts] == [
        ReceiptKind.DELIVERED,
        ReceiptKind.BOUNCED,
        ReceiptKind.COMPLAINED,
        ReceiptKind.BOUNCED,  # Resend has no word for who wants no more
    ]
    assert [(receipt.delivery_id, receipt.provider_message_id) for (receipt,) in receipts] == [
        (f"1700000000000-{number}", f"message{number}") for number in range(4)
    ]
