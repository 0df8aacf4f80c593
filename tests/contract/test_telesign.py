"""Telesign's adapters keep the contract, one by one and in bulk; and what only Telesign has: two APIs for the same."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest

from shared.domain.outcome import Accepted, AccountFault, DeadAddress, Refused, Retry, Unknown
from shared.domain.receipt import ReceiptKind
from shared.providers.contract import Account
from shared.providers.curl import CurlTransport
from shared.providers.receipts import ReceiptCall
from shared.providers.registry import make_adapter
from shared.providers.sms.telesign import MEANINGS, TelesignAdapter, TelesignBulkAdapter
from shared.providers.sms.telesign_receipts import read_receipts
from shared.providers.tokens import InMemoryTokenStore
from shared.settings import Settings
from shared.simulator.simulator import Simulator
from shared.simulator.wire.exchange import Reply
from tests.contract.certificates import Certificates
from tests.contract.differential.capture import capturing
from tests.contract.http2_server import Answer as HttpAnswer
from tests.contract.suite import AdapterContract, Answer, collect
from tests.contract.telesign_wire import (
    BULK,
    RECEIPTS_URL,
    REFERENCE,
    SINGLE,
    TelesignBulkWire,
    TelesignWire,
    failed,
    said,
)
from tests.contract.twilio_wire import form_of

FAULTS = {
    **dict.fromkeys((10002, 10004, 10008, 10009, 10010, 10011, 10014, 10015, 10022, 10028, 10031, 10033, 10035), 401),
    **dict.fromkeys((11003, 11004, 11010, 11013, 11016, 11017, 11027, 11034, 11035, 12017), 400),
    10020: 429,
}
REFUSALS = {11009: 400, 12000: 400, 12009: 400, 229: 200, 230: 200, 237: 200, 238: 200}
BULK_FAULTS = {**dict.fromkeys((-10009, -20002, -30000, -30001, -30006), 401), -40008: 429}
BULK_REFUSALS = {-10001: 400, -10002: 400, -10003: 400}

ANYWHERE = (
    Answer("not Telesign", HttpAnswer(404, b"<html>"), AccountFault),
    Answer("moved", HttpAnswer(302, b"", (("location", "https://127.0.0.1:1/"),)), AccountFault),
    Answer("unheard-of 401", said(401, 10099), AccountFault),
    Answer("unheard-of 400", said(400, 11099), Refused),
    Answer("unheard-of 429", said(429, 10099), Retry, None, "provider"),
    Answer("bad gateway", HttpAnswer(502, b"<html>"), Unknown),
    Answer("unavailable", said(503, 1), Unknown),
    Answer("accepted, unreadable", HttpAnswer(200, b"<html>captive portal</html>"), Unknown),
    Answer("accepted, in other words", HttpAnswer(202, b"{}"), Unknown),
    Answer("accepted, of another shape", HttpAnswer(200, b'{"status":[290],"errors":[293]}'), Unknown),
    Answer("accepted, unheard-of", said(200, 299), Unknown),
)


@pytest.fixture
async def wire(certificates: Certificates) -> AsyncIterator[TelesignWire]:
    wire = TelesignWire(certificates)
    async with wire.server:
        wire.open()
        yield wire
        await wire.close_adapter()


@pytest.fixture
async def bulk_wire(certificates: Certificates) -> AsyncIterator[TelesignBulkWire]:
    wire = TelesignBulkWire(certificates)
    async with wire.server:
        wire.open()
        yield wire
        await wire.close_adapter()


class TelesignContract(AdapterContract):
    hostile_contents = (
        {"content": "a&phone_number=447700900000&recipients=b"},
        {"content": "\r\n\0 %0d%0a {{1}} \u2028 😀"},
        {"content": "half a pair \ud83d"},
    )
    hostile_identifiers = ("+1202555,1202556", "+1202555:x", "+12025550123\r\nx: 1", "", "12025550123", "+1 202 555")
    oversize: ClassVar = {"content": "x" * 1601}


class TestTelesignContract(TelesignContract):
    refusal = Answer("11000", said(400, 11000, "Invalid value for parameter phone_number."), DeadAddress)
    answers: ClassVar = (
        refusal,
        Answer("11001", said(400, 11001), DeadAddress),
        *(Answer(str(code), said(status, code), AccountFault) for code, status in FAULTS.items()),
        *(Answer(str(code), said(status, code), Refused) for code, status in REFUSALS.items()),
        Answer("10019", said(429, 10019), Retry, None, "provider"),
        Answer("10019, told", said(429, 10019, retry_after="7"), Retry, 7.0, "provider"),
        Answer("10000", said(500, 10000), Unknown),
        Answer("code as text", said(400, "11000"), DeadAddress),
        *ANYWHERE,
    )
    beyond_capacity = 250


class TestTelesignBulkContract(TelesignContract):
    calls_name_several = True
    refusal = Answer("-40006", failed(400, -40006), Refused)
    answers: ClassVar = (
        refusal,
        Answer("11000", failed(400, 11000), DeadAddress),
        Answer("11001", failed(400, 11001), DeadAddress),
        *(
            Answer(str(code), failed(status, code), AccountFault, is_about_call=True)
            for code, status in BULK_FAULTS.items()
        ),
        *(
            Answer(str(code), failed(status, code), Refused, is_about_call=True)
            for code, status in BULK_REFUSALS.items()
        ),
        Answer("-40007", failed(429, -40007), Retry, None, "provider", is_about_call=True),
        Answer("-40007, told", failed(429, -40007, retry_after="7"), Retry, 7.0, "provider", is_about_call=True),
        Answer("-90001", failed(500, -90001), Unknown, is_about_call=True),
        *(replace(answer, is_about_call=True) for answer in ANYWHERE),
    )
    beyond_capacity = 2_500

    @pytest.fixture
    def wire(self, bulk_wire: TelesignBulkWire) -> TelesignBulkWire:
        return bulk_wire


def test_every_line_of_the_table_is_tried() -> None:
    answers = (*TestTelesignContract.answers, *TestTelesignBulkContract.answers)
    assert {str(code) for code in MEANINGS} <= {answer.name for answer in answers}


async def test_says_who_what_and_where_to_report(wire: TelesignWire) -> None:
    request = wire.request(7)
    (outcome,) = await wire.send([request])

    assert outcome == Accepted(REFERENCE)
    (received,) = wire.server.received
    assert (received.headers[":method"], received.path) == ("POST", SINGLE)
    assert received.headers["authorization"] == "Basic RkZGRkZGRkY6YzJWamNtVjA="
    assert form_of(received) == {
        "phone_number": "12020000007",
        "message": "Your code is 4711 & no other",
        "message_type": "ARN",
        "sender_id": "15005550006",
        "external_id": request.delivery_id,
        "callback_url": RECEIPTS_URL,
    }


async def test_says_a_text_once_to_many_in_bulk(bulk_wire: TelesignBulkWire) -> None:
    requests = bulk_wire.requests(1_000)
    outcomes = await bulk_wire.send(requests)

    assert outcomes == [Accepted(REFERENCE)] * 1_000
    (received,) = bulk_wire.server.received
    assert (received.headers[":method"], received.path) == ("POST", BULK)
    assert form_of(received) == {
        "recipients": ",".join(f"{request.identifier[1:]}:{request.delivery_id}" for request in requests),
        "template": "Your code is 4711 & no other",
        "sender_id": "15005550006",
    }


async def test_a_bulk_of_one_is_a_single_request(bulk_wire: TelesignBulkWire) -> None:
    bulk_wire.answer(bulk_wire.identifier(0), said(400, 11001))

    (outcome,) = await bulk_wire.send(bulk_wire.requests(1))

    assert isinstance(outcome, DeadAddress)
    assert [request.path for request in bulk_wire.server.received] == [SINGLE]


async def test_a_number_that_sinks_a_bulk_is_found(bulk_wire: TelesignBulkWire) -> None:
    bulk_wire.sink(bulk_wire.identifier(41), said(400, 11000, "Invalid value for parameter phone_number."))

    outcomes = await bulk_wire.send(bulk_wire.requests(100))

    others = outcomes[:41] + outcomes[42:]
    assert others == [Accepted(REFERENCE)] * 99
    assert outcomes[41] == DeadAddress("Telesign answered 400, code 11000: Invalid value for parameter phone_number.")
    assert len(bulk_wire.accepted()) == len(set(bulk_wire.accepted())) == 99
    assert len(bulk_wire.server.received) < 20


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"options": {"from": "ACME"}}, {"sender_id": "ACME", "callback_url": RECEIPTS_URL}),
        ({"options": {}}, {"callback_url": RECEIPTS_URL}),  # Telesign chooses
        ({"receipts_url": ""}, {"sender_id": "15005550006"}),
    ],
)
async def test_senders_and_callbacks(wire: TelesignWire, changes: dict[str, Any], said: dict[str, str]) -> None:
    wire.account = replace(wire.account, **changes)  # type: ignore[misc]  # this wire's own
    await collect(wire.make_adapter(wire.server.origin), wire.content, wire.requests(1))

    fields = form_of(wire.server.received[0])
    assert {name: fields[name] for name in fields.keys() & {"sender_id", "callback_url"}} == said


async def test_an_account_without_credentials_is_told_so_by_telesign(wire: TelesignWire) -> None:
    wire.account = Account(1, 1, {})  # type: ignore[misc]  # this wire's own
    wire.refuse_credentials()

    (outcome,) = await collect(wire.make_adapter(wire.server.origin), wire.content, wire.requests(1))

    assert outcome == AccountFault("Telesign answered 401, code 10022: Invalid API Key")


@pytest.mark.parametrize(("telesign_bulk", "adapter"), [(False, TelesignAdapter), (True, TelesignBulkAdapter)])
async def test_bulks_are_for_installations_that_ask_for_them(
    wire: TelesignWire, adapter: type[TelesignAdapter], *, telesign_bulk: bool
) -> None:
    made = make_adapter(
        "telesign",
        wire.account,
        settings=Settings(telesign_bulk=telesign_bulk),
        token_store=InMemoryTokenStore(),
        transport=wire.transport,
        live=True,
    )

    assert type(made) is adapter


@pytest.mark.parametrize("adapter_type", [TelesignAdapter, TelesignBulkAdapter])
async def test_delivers_to_the_simulator(
    tmp_path: Path, wire: TelesignWire, adapter_type: type[TelesignAdapter]
) -> None:
    async with Simulator.running(tmp_path) as simulator:
        transport = CurlTransport(timeout_seconds=5, ca_file=simulator.ca_file)
        account = replace(wire.account, credentials=simulator.http_providers["telesign"].credentials(), receipts_url="")
        adapter = adapter_type(account, transport=transport, endpoint=simulator.https_endpoint)
        dead, throttled = (wire.request(0, f"+1202555019{digit}") for digit in (0, 2))

        accepted = await collect(adapter, wire.content, wire.requests(5))
        refused = [(await collect(adapter, wire.content, [request]))[0] for request in (dead, throttled, throttled)]

        assert [type(outcome) for outcome in accepted] == [Accepted] * 5
        assert [type(outcome) for outcome in refused] == [DeadAddress, Retry, Accepted]
        await transport.aclose()


async def test_reports_tell_what_became_of_a_bulk(tmp_path: Path, wire: TelesignWire) -> None:
    async with Simulator.running(tmp_path) as simulator, capturing(lambda _: Reply(200)) as listener:
        provider = simulator.http_providers["telesign"]
        provider.receipts_url = f"http://{listener.host}/receipts"
        transport = CurlTransport(timeout_seconds=5, ca_file=simulator.ca_file)
        account = Account(1, 1, provider.credentials(), {"from": "ACME"})
        adapter = TelesignBulkAdapter(account, transport=transport, endpoint=simulator.https_endpoint)
        requests = [wire.request(1), wire.request(2, "+12025550190"), wire.request(3, "+12025550196")]

        outcomes = await collect(adapter, wire.content, requests)
        async with asyncio.timeout(5):
            while len(listener.requests) < 2 * len(requests):  # noqa: ASYNC110  # nobody announces them
                await asyncio.sleep(0.01)
        calls = [
            ReceiptCall(provider.receipts_url, {"authorization": post.header(b"authorization")}, post.body, 0.0)
            for post in listener.requests
        ]
        read = [await read_receipts(account, call, transport=transport, endpoint=None) for call in calls]
        await transport.aclose()

    assert [type(outcome) for outcome in outcomes] == [Accepted] * 3
    final = {
        receipt.delivery_id: receipt.kind for receipts in read for receipt in receipts if receipt.kind != "pending"
    }
    assert final == {
        requests[0].delivery_id: ReceiptKind.DELIVERED,
        requests[1].delivery_id: ReceiptKind.BOUNCED,
        requests[2].delivery_id: ReceiptKind.UNSUBSCRIBED,
    }
