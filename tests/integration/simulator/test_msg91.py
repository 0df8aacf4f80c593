import asyncio
import json
from typing import Any

import pycurl
import pytest

from shared.domain.receipt import ReceiptKind
from shared.providers.contract import Account
from shared.providers.curl import CurlTransport
from shared.providers.sms.msg91_receipts import read_receipts
from shared.simulator.simulator import Simulator
from tests.integration.simulator.clients import HttpAnswer, http
from tests.integration.simulator.receipt_desk import receipt_desk

PHONE = "919800000001"
DEAD = "12025550190"


async def post(simulator: Simulator, body: object, *, key: str | None = None, method: str = "POST") -> HttpAnswer:
    known = simulator.http_providers["msg91"].credentials()
    return await asyncio.to_thread(
        http,
        method,
        f"{simulator.https_endpoint}/api/v5/flow/",
        body=json.dumps(body).encode(),
        headers={"authkey": known["authKey"] if key is None else key, "content-type": "application/json"},
        ca_file=simulator.ca_file,
        timeout=2,
    )


def flow(simulator: Simulator, *phones: str, text: str = "Your code is 4711", **fields: object) -> dict[str, Any]:
    template = simulator.http_providers["msg91"].credentials()["templateId"]
    recipients = [{"mobiles": phone, "content": text} for phone in phones]
    return {"template_id": template, "sender": "ACMEIN", "recipients": recipients, "CRQID": "17", **fields}


@pytest.fixture(autouse=True)
def _repeats_are_taken(simulator: Simulator) -> None:
    """Tests come quicker than ten seconds after each other."""
    simulator.faults.set("msg91", duplicate_seconds=0)


async def test_takes_a_flow(simulator: Simulator) -> None:
    answer = await post(simulator, flow(simulator, PHONE, "919800000002"))

    assert (answer.status, answer.json["type"]) == (200, "success")
    first, second = (simulator.record.read(number) for number in (simulator.record.n - 1, simulator.record.n))
    assert first is not None
    assert second is not None
    assert (first["recipient"], second["recipient"]) == ("+919800000001", "+919800000002")
    assert first["message"] == second["message"] == answer.json["message"]
    assert (first["text"], first["sender"], first["reference"]) == ("Your code is 4711", "ACMEIN", "17")
    assert (first["encoding"], first["segments"]) == ("GSM-7", 1)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"template_id": "other"}, "template"),
        ({"recipients": []}, "recipients"),
        ({"recipients": "all"}, "recipients"),
        ({"recipients": [{"mobiles": "91980"}]}, "mobile"),
        ({"recipients": [{"mobiles": "+919800000001"}]}, "mobile"),
        ({"recipients": [{"mobile": PHONE}]}, "mobile"),
        ({"recipients": [PHONE]}, "mobile"),
        ({"CRQID": "a b"}, "CRQID"),
    ],
)
async def test_says_no_under_status_200(simulator: Simulator, fields: dict[str, object], words: str) -> None:
    answer = await post(simulator, {**flow(simulator, PHONE), **fields})

    assert (answer.status, answer.json["type"]) == (200, "error")
    assert words in answer.json["message"]
    assert list(simulator.record.entries()) == []


async def test_who_and_how(simulator: Simulator) -> None:
    unknown = await post(simulator, flow(simulator, PHONE), key="guess")
    assert (unknown.status, unknown.json["apiError"]) == (401, "201")
    assert (await post(simulator, flow(simulator, PHONE), method="PUT")).status == 405
    assert (await post(simulator, [])).status == 400


async def test_the_same_to_the_same_number_is_dropped_for_a_while(simulator: Simulator) -> None:
    simulator.faults.set("msg91", duplicate_seconds=600)
    one = flow(simulator, "919800000011")

    first, repeat = await post(simulator, one), await post(simulator, one)
    with_another = await post(simulator, flow(simulator, "919800000011", "919800000012"))
    other_text = await post(simulator, flow(simulator, "919800000011", text="Your code is 4712"))

    assert first.json["type"] == with_another.json["type"] == other_text.json["type"] == "success"
    assert (repeat.status, repeat.json["code"]) == (200, "311")
    recipients = [entry.recipient[-2:] for entry in simulator.record.entries()]
    assert recipients == ["11", "12", "11"]


async def test_magic_numbers(simulator: Simulator) -> None:
    async def answer_to(*phones: str) -> HttpAnswer:
        return await post(simulator, flow(simulator, *phones))

    assert (await answer_to(PHONE, DEAD)).json["code"] == "202"
    assert (await answer_to("12025550191")).json["type"] == "error"
    assert (await answer_to("12025550192", PHONE)).status == 429
    assert (await answer_to("12025550192", PHONE)).json["type"] == "success"
    assert (await answer_to("12025550198")).json["code"] == "301"
    assert (await answer_to("12025550199")).status == 500
    with pytest.raises(pycurl.error):
        await answer_to("12025550194")
    assert {entry.recipient for entry in simulator.record.entries()} == {f"+{PHONE}", "+12025550192", "+12025550194"}


@pytest.mark.parametrize(("generation", "calls"), [("v2", 1), ("v3", 3), ("new", 3)])
async def test_reports_on_each_number(simulator: Simulator, generation: str, calls: int) -> None:
    simulator.faults.set("msg91", duplicate_seconds=0, receipt_generation=generation)
    provider = simulator.http_providers["msg91"]
    async with receipt_desk() as desk:
        provider.receipts_url = desk.url
        await post(simulator, flow(simulator, PHONE, "12025550196", "12025550197"))
        posted = await desk.arrival(calls)
        provider.receipts_url = ""

    transport = CurlTransport(timeout_seconds=1)
    receipts = [
        receipt
        for call in posted
        for receipt in await read_receipts(Account(1, 1, {}), call, transport=transport, endpoint=None)
    ]
    assert {receipt.recipient: receipt.kind for receipt in receipts} == {
        PHONE: ReceiptKind.DELIVERED,
        "12025550196": ReceiptKind.UNSUBSCRIBED,
        "12025550197": ReceiptKind.FAILED,
    }
    assert {receipt.delivery_id for receipt in receipts} == {"17"}
