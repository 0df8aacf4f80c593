"""Twilio's adapter keeps the contract; and what only Twilio has: senders that are services, validity, callbacks."""

import time
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any, ClassVar

import pytest

from shared.domain.outcome import Accepted, AccountFault, DeadAddress, Refused, Retry, Unknown
from shared.providers.contract import Account
from shared.providers.sms.twilio import MEANINGS
from tests.contract.certificates import Certificates
from tests.contract.http2_server import Answer as HttpAnswer
from tests.contract.suite import AdapterContract, Answer, collect
from tests.contract.twilio_wire import PATH, RECEIPTS_URL, TwilioWire, error, form_of


@pytest.fixture
async def wire(certificates: Certificates) -> AsyncIterator[TwilioWire]:
    wire = TwilioWire(certificates)
    async with wire.server:
        wire.open()
        yield wire
        await wire.close_adapter()


FAULTS = {
    20003: 401,
    20005: 401,
    10001: 403,
    20006: 403,
    20403: 403,
    20404: 404,
    **dict.fromkeys((21606, 21212, 21603, 21616, 21711, 21607, 21608, 21609), 400),
    **dict.fromkeys((21701, 21702, 21703, 21704, 21705), 400),
}
REFUSALS = (21612, 21408, 21602, 21617, 21618, 21624, 21654, 21655, 21656, 21657, 21658, 20422)
DEAD = (21211, 21217, 21614, 21610)
UNREGISTERED = Answer("21211", error(400, 21211, "Invalid 'To' Phone Number"), DeadAddress)
RFC_9457 = b'{"type":"about:blank","title":"Bad","status":400,"code":21211,"detail":"no number"}'


class TestTwilioContract(AdapterContract):
    refusal = UNREGISTERED
    answers: ClassVar = (
        *(Answer(str(code), error(status, code), AccountFault) for code, status in FAULTS.items()),
        *(Answer(str(code), error(400, code), Refused) for code in REFUSALS),
        *(Answer(str(code), error(400, code), DeadAddress) for code in DEAD),
        Answer("20429", error(429, 20429), Retry, None, "provider"),
        Answer("20429, told", error(429, 20429, retry_after="7"), Retry, 7.0, "provider"),
        Answer("63017", error(429, 63017), Retry, None, "provider"),
        Answer("63017 of 400", error(400, 63017), Retry, None, "provider"),
        Answer("14107", error(400, 14107), Retry, 30.0),
        Answer("14107 of 429", error(429, 14107), Retry, 30.0),
        Answer("21611", error(400, 21611), Retry, 600.0, "provider"),
        Answer("20500", error(500, 20500), Unknown),
        Answer("20503", error(503, 20503), Unknown),
        Answer("edge", HttpAnswer(502, b"<html>Bad Gateway</html>"), Unknown),
        Answer("edge, overloaded", HttpAnswer(503, b"<html>"), Unknown),
        Answer("code as text", error(400, "21211"), DeadAddress),  # type: ignore[arg-type]  # which JSON allows
        Answer("newer shape", HttpAnswer(400, RFC_9457), DeadAddress),
        Answer("unheard-of code", error(400, 21999), Refused),
        Answer("unheard-of throttling", error(429, 99999), Retry, None, "provider"),
        Answer("nobody's 4xx", HttpAnswer(418, b"[]"), Refused),
        Answer("not Twilio", HttpAnswer(404, b"<html>"), AccountFault),
        Answer("moved", HttpAnswer(301, b"", (("location", "https://127.0.0.1:1/"),)), AccountFault),
        Answer("accepted, unreadable", HttpAnswer(200, b"<html>captive portal</html>"), Unknown),
        Answer("accepted, nested", HttpAnswer(201, b"[" * 60_000), Unknown),
        Answer("accepted, unstorable", HttpAnswer(201, b'{"sid": "SM\\u0000\\ud800"}'), Unknown),
        Answer("accepted, nameless", HttpAnswer(201, b'{"sid": null}'), Unknown),
    )
    hostile_contents = (
        {"content": "a&To=%2B15005550009&Body=b"},
        {"content": "\r\n\0 %0d%0a {{1}} <#if> \u2028 😀"},
        {"content": "half a pair \ud83d"},
    )
    hostile_identifiers = (
        "+1202555&To=+1202556",
        "+12025550123\r\nx: 1",
        "",
        "12025550123",
        "+1 202 555",
        "whatsapp:+1202",
    )
    beyond_capacity = 250
    oversize: ClassVar = {"content": "x" * 1601}


def test_every_line_of_the_table_is_tried() -> None:
    assert {name for answer in TestTwilioContract.answers if (name := answer.name).isdecimal()} == set(
        map(str, MEANINGS)
    )


async def test_says_who_what_and_where_to_report(wire: TwilioWire) -> None:
    request = wire.request(7)
    (outcome,) = await wire.send([request])

    assert outcome == Accepted("SM" + "12020000007".rjust(32, "0"))
    (received,) = wire.server.received
    assert (received.headers[":method"], received.path) == ("POST", PATH)
    assert form_of(received) == {
        "To": "+12020000007",
        "From": "+15005550006",
        "Body": "Dein Code ist 4711 & gültig",
        "StatusCallback": f"{RECEIPTS_URL}?tidings_delivery={request.delivery_id}",
    }


@pytest.mark.parametrize(
    ("account", "said"),
    [
        ({"options": {"from": "MG" + "a" * 32}}, {"MessagingServiceSid": "MG" + "a" * 32}),
        ({"options": {"from": "ACME"}}, {"From": "ACME"}),
        ({"options": {"from": "MGM Resorts"}}, {"From": "MGM Resorts"}),
        ({"options": {}}, {}),  # Twilio says that there is none
    ],
)
async def test_senders(wire: TwilioWire, account: dict[str, Any], said: dict[str, str]) -> None:
    wire.account = replace(wire.account, **account, receipts_url="")  # type: ignore[misc]  # this wire's own
    await collect(wire.make_adapter(wire.server.origin), wire.content, wire.requests(1))

    fields = form_of(wire.server.received[0])
    assert {name: fields[name] for name in fields.keys() - {"To", "Body"}} == said


@pytest.mark.parametrize(
    ("seconds", "shortest", "longest"), [(600, 590, 600), (-5, 1, 1), (35_999, 35_990, 35_999), (36_001, None, None)]
)
async def test_a_message_is_not_kept_beyond_its_time_to_live(
    wire: TwilioWire, seconds: int, shortest: int | None, longest: int | None
) -> None:
    await wire.send(wire.requests(1), replace(wire.content, expires_at=time.time() + seconds))

    validity = form_of(wire.server.received[0]).get("ValidityPeriod")
    if shortest is None or longest is None:
        assert validity is None  # Twilio's own longest
    else:
        assert shortest <= int(validity or 0) <= longest


async def test_an_account_without_credentials_is_told_so_by_twilio(wire: TwilioWire) -> None:
    wire.account = Account(1, 1, {})  # type: ignore[misc]  # this wire's own
    wire.refuse_credentials()

    (outcome,) = await collect(wire.make_adapter(wire.server.origin), wire.content, wire.requests(1))

    assert outcome == AccountFault("Twilio answered 401, code 20003: Authenticate")
