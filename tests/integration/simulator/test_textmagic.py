import asyncio
import json
from typing import Any
from urllib.parse import urlencode

import pycurl
import pytest

from shared.domain.receipt import ReceiptKind
from shared.providers.contract import Account
from shared.providers.curl import CurlTransport
from shared.providers.sms.textmagic_receipts import read_receipts
from shared.simulator.simulator import Simulator
from tests.integration.simulator.clients import HttpAnswer, http
from tests.integration.simulator.receipt_desk import receipt_desk

PHONES = ("12025550101", "12025550102")
DEAD, REFUSED, THROTTLED = "12025550190", "12025550191", "12025550192"
FORM = {"content-type": "application/x-www-form-urlencoded"}


async def ask(simulator: Simulator, method: str, path: str, body: bytes = b"", **headers: str) -> HttpAnswer:
    known = simulator.http_providers["textmagic"].credentials()
    login = {"x-tm-username": known["username"], "x-tm-key": known["apiKey"]}
    return await asyncio.to_thread(
        http,
        method,
        f"{simulator.https_endpoint}/api/v2{path}",
        body=body,
        headers={**login, **FORM, **{name.replace("_", "-"): value for name, value in headers.items()}},
        ca_file=simulator.ca_file,
        timeout=2,
    )


async def send(simulator: Simulator, *phones: str, text: str = "Your code is 4711", **fields: str) -> HttpAnswer:
    form = {"phones": ",".join(phones), "text": text, **fields}
    return await ask(simulator, "POST", "/messages", urlencode(form).encode())


async def test_one_phone_is_a_message(simulator: Simulator) -> None:
    answer = await send(simulator, PHONES[0], **{"from": "15005550006", "referenceId": "17"})

    assert (answer.status, answer.json["type"], answer.json["sessionId"]) == (201, "message", None)
    line = simulator.record.read(simulator.record.n)
    assert line is not None
    assert (line["recipient"], line["message"]) == ("+12025550101", str(answer.json["messageId"]))
    assert (line["text"], line["sender"], line["segments"]) == ("Your code is 4711", "15005550006", 1)
    assert line["reference"] == "17"


async def test_several_are_a_session_whose_messages_can_be_asked_for(simulator: Simulator) -> None:
    answer = await send(simulator, *PHONES, "12025550103")

    session = answer.json["sessionId"]
    assert (answer.status, answer.json["messageId"]) == (201, None)
    first = (await ask(simulator, "GET", f"/sessions/{session}/messages?limit=2")).json
    second = (await ask(simulator, "GET", f"/sessions/{session}/messages?limit=2&page=2")).json
    assert (first["pageCount"], [message["receiver"] for message in first["resources"]]) == (2, list(PHONES))
    assert [message["receiver"] for message in second["resources"]] == ["12025550103"]
    odd = await ask(simulator, "GET", f"/sessions/{session}/messages?limit=0&page=none")
    assert len(odd.json["resources"]) == 3
    assert (await ask(simulator, "GET", "/sessions/999999999999/messages")).status == 404


async def test_json_will_do(simulator: Simulator) -> None:
    body = json.dumps({"phones": PHONES[0], "text": "x", "referenceId": 17}).encode()
    answer = await ask(simulator, "POST", "/messages", body, content_type="application/json")
    assert answer.status == 201
    deep = await ask(simulator, "POST", "/messages", b"[" * 100_000, content_type="application/json")
    assert deep.status == 400


@pytest.mark.parametrize(
    ("fields", "blamed"),
    [
        ({"text": ""}, "text"),
        ({"text": "x" * 919}, "partsCount"),
        ({"referenceId": "mine"}, "referenceId"),
        ({"phones": "+12025550101"}, "phones"),
        ({"phones": "1202555010x,12025550101"}, "phones"),
        ({"phones": ",".join(["12025550101"] * 1001)}, "phones"),
    ],
)
async def test_what_is_not_valid_is_blamed_by_field(simulator: Simulator, fields: dict[str, str], blamed: str) -> None:
    form = {"phones": PHONES[0], "text": "x", **fields}
    answer = await ask(simulator, "POST", "/messages", urlencode(form).encode())

    assert (answer.status, answer.json["message"]) == (400, "Validation Failed")
    assert list(answer.json["errors"]["fields"]) == [blamed]
    assert list(simulator.record.entries()) == []


@pytest.mark.parametrize("headers", [{"x_tm_key": "guess"}, {"x_tm_username": "eve"}])
async def test_who_it_is_not(simulator: Simulator, headers: dict[str, str]) -> None:
    answer = await ask(simulator, "POST", "/messages", b"phones=12025550101&text=x", **headers)
    assert (answer.status, answer.json) == (401, {"code": 401, "message": "Bad credentials"})


@pytest.mark.parametrize("names", [False, True])
async def test_one_phone_sinks_the_call(simulator: Simulator, *, names: bool) -> None:
    simulator.faults.set("textmagic", names_phones=names)
    answer = await send(simulator, PHONES[0], DEAD, REFUSED)

    (words,) = answer.json["errors"]["fields"]["phones"]
    assert (DEAD in words) is names
    assert PHONES[0] not in words
    assert list(simulator.record.entries()) == []


async def test_magic_numbers(simulator: Simulator) -> None:
    assert (await send(simulator, THROTTLED)).status == 429
    assert (await send(simulator, THROTTLED)).status == 201
    assert (await send(simulator, "12025550195")).status == 429
    assert "switched off" in (await send(simulator, REFUSED)).text
    assert "unsubscribed" in (await send(simulator, "12025550196")).text
    assert "balance" in (await send(simulator, "12025550198")).text
    assert (await send(simulator, "12025550199")).status == 500
    with pytest.raises(pycurl.error):
        await send(simulator, "12025550194")
    assert [entry.recipient for entry in simulator.record.entries()] == ["+12025550194", "+12025550192"]


async def test_its_limit_counts_calls(simulator: Simulator) -> None:
    simulator.faults.set("textmagic", limit_messages=1, limit_seconds=600, retry_after_seconds=7)

    first, second = await send(simulator, *PHONES), await send(simulator, *PHONES)

    assert (first.status, second.status) == (201, 429)
    assert second.headers["retry-after"] == "7"


@pytest.mark.parametrize("form", ["form", "multipart", "json"])
async def test_tells_how_each_message_goes_on(simulator: Simulator, form: str) -> None:
    simulator.faults.set("textmagic", receipt_form=form)
    provider = simulator.http_providers["textmagic"]
    async with receipt_desk() as desk:
        provider.receipts_url = desk.url
        await send(simulator, PHONES[0], "12025550197", referenceId="17")
        calls = await desk.arrival(4)
        provider.receipts_url = ""

    receipts = [receipt for call in calls for receipt in await read(call)]
    final = {receipt.recipient: receipt.kind for receipt in receipts if receipt.kind is not ReceiptKind.PENDING}
    assert final == {PHONES[0]: ReceiptKind.DELIVERED, "12025550197": ReceiptKind.FAILED}
    assert {receipt.delivery_id for receipt in receipts} == {"17"}


async def read(call: Any) -> Any:
    return await read_receipts(Account(1, 1, {}), call, transport=CurlTransport(timeout_seconds=1), endpoint=None)
