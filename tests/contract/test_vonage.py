"""Vonage's adapter keeps the contract; and what only Vonage has: parts, their encoding, waits told in words."""

import time
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any, ClassVar

import pytest

from shared.domain.outcome import Accepted, AccountFault, DeadAddress, Refused, Retry, Unknown
from shared.providers.contract import Account
from shared.providers.sms.vonage import MEANINGS
from tests.contract.certificates import Certificates
from tests.contract.http2_server import Answer as HttpAnswer
from tests.contract.suite import AdapterContract, Answer, collect
from tests.contract.twilio_wire import form_of
from tests.contract.vonage_wire import RECEIPTS_URL, VonageWire, parts


@pytest.fixture
async def wire(certificates: Certificates) -> AsyncIterator[VonageWire]:
    wire = VonageWire(certificates)
    async with wire.server:
        wire.open()
        yield wire
        await wire.close_adapter()


DEACTIVATED = Answer("33", parts("33", "Number De-activated"), DeadAddress)
WAIT = "Throughput Rate Exceeded - please wait [ 250 ] and retry"
MAXIMUM = (
    "Exceeded maximum MT throughput[ MAX [ 30 ] INTERVAL [ 1000 ] COUNT [ 30 ] TIME_SINCE_LAST_INTERVAL_START [ 529 ] ]"
)
PROBLEM = b'{"type":"https://developer.vonage.com/api-errors#unauthorized","title":"Unauthorized"}'


class TestVonageContract(AdapterContract):
    refusal = DEACTIVATED
    answers: ClassVar = (
        DEACTIVATED,
        Answer("7", parts("7", "Number Barred"), DeadAddress),
        Answer("1", parts("1"), Retry, None, "provider"),
        Answer("1, told", parts("1", WAIT), Retry, 0.25, "provider"),
        Answer("1, told too long", parts("1", "please wait [ 31000 ] and retry"), Retry, 1.0, "provider"),
        Answer("1, no wait among its numbers", parts("1", MAXIMUM), Retry, None, "provider"),
        Answer("10", parts("10"), Retry, None, "provider"),
        *(Answer(status, parts(status), Refused) for status in ("2", "3", "6", "12", "17")),
        Answer("3 of the recipient", parts("3", "Invalid value for parameter: to"), DeadAddress),
        Answer("3, the recipient first", parts("3", "to address is not numeric"), DeadAddress),
        Answer("3 of another", parts("3", "unable to read parameter ttl"), Refused),
        *(
            Answer(status, parts(status), AccountFault)
            for status in ("4", "8", "9", "11", "14", "15", "22", "23", "29", "32")
        ),
        Answer("5", parts("5"), Unknown),
        Answer("unheard-of status", parts("77"), Refused),
        Answer("some parts taken", parts("0", "5", "0", "1"), Unknown),
        Answer("the first part throttled", parts("1", "0"), Unknown),
        Answer("no part taken", parts("17", "17"), Refused),
        Answer("no parts", HttpAnswer(200, b'{"message-count":"0","messages":[]}'), Unknown),
        Answer("parts of another shape", HttpAnswer(200, b'{"messages":["0"]}'), Unknown),
        Answer("HTML with 200", HttpAnswer(200, b"<html>maintenance</html>"), Unknown),
        Answer("accepted, in other words", HttpAnswer(202), Unknown),
        Answer("401", HttpAnswer(401, PROBLEM), AccountFault),
        Answer("402", HttpAnswer(402, b"{}"), AccountFault),
        Answer("404", HttpAnswer(404, b""), AccountFault),
        Answer("422", HttpAnswer(422, b"{}"), Refused),
        Answer("429", HttpAnswer(429, b""), Retry, None, "provider"),
        Answer("429, told", HttpAnswer(429, b"", (("retry-after", "3"),)), Retry, 3.0, "provider"),
        Answer("500", HttpAnswer(500, b"{}"), Unknown),
        Answer("502", HttpAnswer(502, b"<html>"), Unknown),
        Answer("503", HttpAnswer(503, b""), Unknown),
    )
    hostile_contents = (
        {"content": "a&to=447700900000&text=b"},
        {"content": "\r\n\0 %0d%0a {{1}} \u2028 😀"},
        {"content": "half a pair \ud83d"},
    )
    hostile_identifiers = ("+1202555&to=1202556", "+12025550123\r\nx: 1", "", "12025550123", "+1 202 555", "0012025550")
    beyond_capacity = 250
    oversize: ClassVar = {"content": "x" * 3201}


def test_every_line_of_the_table_is_tried() -> None:
    assert {answer.name for answer in TestVonageContract.answers if answer.name.isdecimal()} >= MEANINGS.keys()


async def test_says_who_what_and_where_to_report(wire: VonageWire) -> None:
    request = wire.request(7)
    (outcome,) = await wire.send([request])

    assert outcome == Accepted("0A12020000007")
    (received,) = wire.server.received
    assert (received.headers[":method"], received.path) == ("POST", "/sms/json")
    assert form_of(received) == {
        "to": "12020000007",
        "from": "ACME",
        "text": "Your code is 4711 & no other",
        "type": "text",
        "ttl": "604800000",
        "callback": RECEIPTS_URL,
        "client-ref": request.delivery_id,
    }


async def test_each_part_has_an_id(wire: VonageWire) -> None:
    wire.answer(wire.identifier(0), parts("0", "0"))

    assert await wire.send(wire.requests(1)) == [Accepted("0A12025550123 1A12025550123")]


async def test_a_status_may_be_a_number_too(wire: VonageWire) -> None:
    wire.answer(wire.identifier(0), HttpAnswer(200, b'{"messages":[{"status":0,"message-id":"x"}]}'))

    assert await wire.send(wire.requests(1)) == [Accepted("x")]


@pytest.mark.parametrize(
    ("text", "kind"), [("Grüße à 5 €", "text"), ("a`b", "unicode"), ("“quoted”", "unicode"), ("😀", "unicode")]
)
async def test_what_gsm_7_bit_lacks_is_sent_as_unicode(wire: VonageWire, text: str, kind: str) -> None:
    await wire.send(wire.requests(1), replace(wire.content, data={"content": text}))

    fields = form_of(wire.server.received[0])
    assert (fields["type"], fields["text"]) == (kind, text)


@pytest.mark.parametrize(
    ("seconds", "shortest", "longest"),
    [(600, 590_000, 600_000), (-5, 20_000, 20_000), (700_000, 604_800_000, 604_800_000)],
)
async def test_a_message_is_not_kept_beyond_its_time_to_live(
    wire: VonageWire, seconds: int, shortest: int, longest: int
) -> None:
    await wire.send(wire.requests(1), replace(wire.content, expires_at=time.time() + seconds))

    assert shortest <= int(form_of(wire.server.received[0])["ttl"]) <= longest


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"options": {"from": "+15005550006"}}, {"from": "15005550006", "callback": RECEIPTS_URL}),
        ({"options": {}}, {"callback": RECEIPTS_URL}),  # Vonage says that there is none
        ({"receipts_url": ""}, {"from": "ACME"}),
        ({"receipts_url": "https://" + "x" * 93}, {"from": "ACME"}),  # too long for Vonage
    ],
)
async def test_senders_and_callbacks(wire: VonageWire, changes: dict[str, Any], said: dict[str, str]) -> None:
    wire.account = replace(wire.account, **changes)  # type: ignore[misc]  # this wire's own
    await collect(wire.make_adapter(wire.server.origin), wire.content, wire.requests(1))

    fields = form_of(wire.server.received[0])
    assert {name: fields[name] for name in fields.keys() & {"from", "callback"}} == said


async def test_an_account_without_credentials_is_told_so_by_vonage(wire: VonageWire) -> None:
    wire.account = Account(1, 1, {})  # type: ignore[misc]  # this wire's own
    wire.refuse_credentials()

    (outcome,) = await collect(wire.make_adapter(wire.server.origin), wire.content, wire.requests(1))

    assert outcome == AccountFault("Vonage answered status 4: Bad Credentials")
