"""TextMagic's adapter keeps the contract; and what only TextMagic has: sessions of phones, blame in free text."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import ClassVar

import pytest

from shared.domain.outcome import Accepted, AccountFault, DeadAddress, Refused, Retry, Unknown
from shared.providers.contract import Account
from shared.providers.sms.textmagic import FIELDS
from tests.contract.certificates import Certificates
from tests.contract.http2_server import Answer as HttpAnswer
from tests.contract.suite import AdapterContract, Answer, collect
from tests.contract.textmagic_wire import RUN, TextmagicWire, error, invalid
from tests.contract.twilio_wire import form_of


@pytest.fixture
async def wire(certificates: Certificates) -> AsyncIterator[TextmagicWire]:
    wire = TextmagicWire(certificates)
    async with wire.server:
        wire.open()
        yield wire
        await wire.close_adapter()


def of_call(name: str, reply: HttpAnswer, outcome: type, scope: str = "recipient") -> Answer:
    return Answer(name, reply, outcome, scope=scope, is_about_call=True)


INVALID_PHONE = Answer("phones", invalid(phones="Some of the phone numbers are not valid"), DeadAddress)


class TestTextmagicContract(AdapterContract):
    refusal = INVALID_PHONE
    calls_name_several = True
    answers: ClassVar = (
        INVALID_PHONE,
        Answer("phones, named", invalid(phones="Invalid phone number: 12020000001"), DeadAddress),
        Answer("phones, not wanted", invalid(phones="Sending to this country is switched off"), Refused),
        Answer("nobody knows what", error(400, "Invalid request"), Refused),
        Answer("nobody knows where", error(400, "Validation Failed", common=["This is odd"]), Refused),
        Answer("nobody can follow", HttpAnswer(400, b'{"errors":' + b"[" * 800 + b"]" * 800 + b"}"), Refused),
        of_call("from", invalid(from_="This sender ID is not available"), AccountFault),
        of_call("text", invalid(text="This value should not be blank"), Refused),
        of_call("partsCount", invalid(partsCount="Message is too long"), Refused),
        of_call("templateId", invalid(templateId="Template not found"), Refused),
        of_call("referenceId", invalid(referenceId="This value is not valid"), Refused),
        of_call("balance", error(400, "You have insufficient balance to send this"), AccountFault),
        of_call("balance, in common", error(400, "Validation Failed", common=["Not enough credits"]), AccountFault),
        of_call("key", error(401, "Bad credentials"), AccountFault),
        of_call("forbidden", error(403, "Your account is suspended"), AccountFault),
        of_call("not found", error(404, "Not found"), AccountFault),
        of_call("not TextMagic", HttpAnswer(404, b"<html>"), AccountFault),
        of_call("throttled", error(429, "Too many requests"), Retry, "provider"),
        of_call("internal", HttpAnswer(500, b"<html>Internal Server Error</html>"), Unknown),
        of_call("bad gateway", HttpAnswer(502, b"<html>"), Unknown),
        of_call("unavailable", HttpAnswer(503, b"<html>"), Unknown),
        of_call("nobody's 4xx", HttpAnswer(418, b"[]"), Refused),
        of_call("400, unreadable", HttpAnswer(400, b"<html>"), Refused),
        of_call("accepted, unreadable", HttpAnswer(200, b"<html>captive portal</html>"), Unknown),
        of_call("accepted, nameless", HttpAnswer(201, b'{"id": null, "type": "session"}'), Unknown),
    )
    hostile_contents = (
        {"content": "a&phones=15005550009&from=b"},
        {"content": "\r\n\0 %0d%0a {{1}} {First name} \u2028 😀"},
        {"content": "half a pair \ud83d"},
    )
    hostile_identifiers = ("+1202555,1202556", "+1202555&text=x", "+12025550123\r\nx: 1", "", "12025550123")
    beyond_capacity = 1_200  # ten connections of a hundred phones each, and two more
    oversize: ClassVar = {"content": "x" * 919}


def test_every_field_of_the_table_is_tried() -> None:
    assert FIELDS.keys() <= {answer.name for answer in TestTextmagicContract.answers}


async def test_a_hundred_stand_in_one_session(wire: TextmagicWire) -> None:
    outcomes = await wire.send(wire.requests(101))

    assert outcomes == [Accepted("session 1")] * 100 + [Accepted("2")]
    first, second = map(form_of, wire.server.received)
    assert first == {
        "text": "Dein Code ist 4711 & gültig",
        "from": "15005550006",
        "referenceId": str(RUN),
        "phones": ",".join(f"1202{number:07d}" for number in range(100)),
    }
    assert second["phones"] == "12020000100"
    headers = wire.server.received[0].headers
    assert (headers["x-tm-username"], headers["x-tm-key"]) == ("ada", "k3y")


async def test_phones_that_are_named_cost_one_more_call(wire: TextmagicWire) -> None:
    requests = wire.requests(100)
    reply = invalid(phones="12020000007 and 12020000042 are invalid")
    wire.answer(requests[7].identifier, reply)
    wire.answer(requests[42].identifier, reply)

    outcomes = await wire.send(requests)

    assert [index for index, outcome in enumerate(outcomes) if isinstance(outcome, DeadAddress)] == [7, 42]
    assert len(wire.server.received) == 2
    assert "1202" not in str(outcomes[7])  # reasons hold no addresses


@pytest.mark.parametrize(
    ("text", "outcome"),
    [("ж" * 402, Accepted("1")), ("ж" * 403, Refused("the text takes 7 parts, TextMagic allows 6"))],
)
async def test_a_text_has_six_parts_at_most(wire: TextmagicWire, text: str, outcome: object) -> None:
    content = replace(wire.content, data={"content": text})
    assert await wire.send(wire.requests(1), content) == [outcome]


@pytest.mark.parametrize("credentials", [{}, {"username": "ada"}, {"username": "a\r\nb: c", "apiKey": "k"}])
async def test_an_account_without_usable_credentials_asks_nothing(
    wire: TextmagicWire, credentials: dict[str, str]
) -> None:
    wire.account = Account(1, 1, credentials)  # type: ignore[misc]  # this wire's own

    (outcome,) = await collect(wire.make_adapter(wire.server.origin), wire.content, wire.requests(1))

    assert isinstance(outcome, AccountFault)
    assert wire.server.received == []
