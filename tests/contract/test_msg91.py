"""MSG91's adapter keeps the contract; and what only MSG91 has: templates, errors under status 200, dropped repeats."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import ClassVar

import pytest

from shared.domain.outcome import Accepted, AccountFault, DeadAddress, Outcome, Refused, Retry, Unknown
from shared.providers.contract import Account
from shared.providers.sms.msg91 import CODES
from tests.contract.certificates import Certificates
from tests.contract.http2_server import Answer as HttpAnswer
from tests.contract.msg91_wire import Msg91Wire, answer, body_of, error, gateway_error
from tests.contract.suite import AdapterContract, Answer, collect
from tests.contract.textmagic_wire import RUN


@pytest.fixture
async def wire(certificates: Certificates) -> AsyncIterator[Msg91Wire]:
    wire = Msg91Wire(certificates)
    async with wire.server:
        wire.open()
        yield wire
        await wire.close_adapter()


def of_call(
    name: str, reply: HttpAnswer, outcome: type[Outcome], after_seconds: float | None = None, scope: str = "recipient"
) -> Answer:
    return Answer(name, reply, outcome, after_seconds, scope, is_about_call=True)


def of_code(code: str, outcome: type[Outcome], after_seconds: float | None = None, scope: str = "recipient") -> Answer:
    return of_call(code, error("what MSG91 says", code=code), outcome, after_seconds, scope)


DEEP = b"[" * 800 + b"]" * 800
FAULTS = ("103", "106", "107", "201", "203", "205", "207", "208", "209", "210", "301", "302", "303", "418", "505")
INVALID_MOBILE = Answer("202", error("Invalid mobile number", code="202"), DeadAddress)


class TestMsg91Contract(AdapterContract):
    refusal = INVALID_MOBILE
    calls_name_several = True
    answers: ClassVar = (
        INVALID_MOBILE,
        Answer("101", error("Missing mobile no.", code=101), Refused),
        *(of_code(code, AccountFault) for code in FAULTS),
        *(of_code(code, Refused) for code in ("102", "307", "308", "310")),
        *(of_code(code, Unknown) for code in ("001", "002", "601")),
        *(of_code(code, Retry, 900.0, "provider") for code in ("306", "506")),
        of_call("code in the words", error("301: Insufficient balance"), AccountFault),
        Answer("words alone, number", error("Please provide a valid mobile number"), Refused),
        Answer("words alone, wrong number", error("Invalid mobile number 91980000"), DeadAddress),
        of_call("words alone, wrong sender", error("Invalid sender number"), AccountFault),
        of_call("words alone, template", error("template id missing or template not found"), AccountFault),
        of_call("words alone, sender", error("Sender does not exist", http_status=400), AccountFault),
        of_call("words alone, balance", error("You do not have enough balance"), AccountFault),
        of_call("words alone, key", error("Invalid authkey", http_status=400), AccountFault),
        Answer("words that say nothing", error("Something is wrong"), Refused),
        Answer("no words", HttpAnswer(400, b'{"message":%b,"code":%b}' % (DEEP, DEEP)), Refused),
        Answer("words that say nothing, 400", error("Something is wrong", http_status=400), Refused),
        of_call("key", gateway_error("201"), AccountFault),
        of_call("address not listed", gateway_error("418"), AccountFault),
        of_call("not authorised", HttpAnswer(401, b"<html>"), AccountFault),
        of_call("not MSG91", HttpAnswer(404, b"<html>"), AccountFault),
        of_call("throttled", error("ip sends too much", http_status=429), Retry, None, "provider"),
        of_call("internal", error("Invalid authkey", http_status=500), Unknown),
        of_call("bad gateway", HttpAnswer(502, b"<html>"), Unknown),
        of_call("unavailable", HttpAnswer(503, b""), Unknown),
        of_call("accepted, unreadable", HttpAnswer(200, b"<html>captive portal</html>"), Unknown),
        of_call("accepted, nameless", answer({"type": "success"}), Unknown),
        of_call("neither of both", answer({"message": "hello"}), Unknown),
    )
    hostile_contents = (
        {"content": '","mobiles":"15005550009","x":"'},
        {"content": "\r\n\0 ##otp## {{1}} \u2028 😀"},
        {"content": "half a pair \ud83d"},
    )
    hostile_identifiers = ('+1202555","x":"y', "+1202555,1202556", "+12025550123\r\nx: 1", "", "12025550123")
    beyond_capacity = 1_200  # ten connections of a hundred phones each, and two more
    oversize: ClassVar = {"content": "x" * 1601}


def test_every_code_of_the_table_is_tried() -> None:
    assert {answer.name for answer in TestMsg91Contract.answers if answer.name.isdecimal()} == set(CODES)


async def test_a_hundred_stand_in_one_request(wire: Msg91Wire) -> None:
    outcomes = await wire.send(wire.requests(101))

    assert outcomes == [Accepted(f"{1:024x}")] * 100 + [Accepted(f"{2:024x}")]
    first, second = map(body_of, wire.server.received)
    recipients = first.pop("recipients")
    assert first == {"template_id": "6512abc", "sender": "ACMEIN", "short_url": "0", "CRQID": str(RUN)}
    assert recipients[0] == {"mobiles": "919800000000", "content": "Your code is 4711", "otp": "Your code is 4711"}
    assert [len(recipients), len(second["recipients"])] == [100, 1]
    received = wire.server.received[0]
    assert (received.path, received.headers["authkey"]) == ("/api/v5/flow", "k3y")


async def test_what_was_dropped_as_a_repeat_had_been_taken_before(wire: Msg91Wire) -> None:
    """Ours may be the second of two calls, the first of which had no answer."""
    wire.answer(wire.identifier(0), error("311"))
    assert await wire.send(wire.requests(1)) == [Accepted()]


async def test_what_needs_unicode_says_so(wire: Msg91Wire) -> None:
    await wire.send(wire.requests(1), replace(wire.content, data={"content": "नमस्ते"}))
    assert body_of(wire.server.received[0])["unicode"] == "1"


@pytest.mark.parametrize(
    "credentials",
    [
        {"senderId": "ACMEIN", "authKey": "k"},  # which the Messaging API lets one enable
        {"templateId": "t", "authKey": "a\r\nb: c"},
        {"templateId": "t"},
    ],
)
async def test_an_account_without_usable_credentials_asks_nothing(wire: Msg91Wire, credentials: dict[str, str]) -> None:
    wire.account = Account(1, 1, credentials)  # type: ignore[misc]  # this wire's own

    (outcome,) = await collect(wire.make_adapter(wire.server.origin), wire.content, wire.requests(1))

    assert isinstance(outcome, AccountFault)
    assert wire.server.received == []
