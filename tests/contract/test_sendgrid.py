"""SendGrid's adapter keeps the contract; and what only SendGrid has: personalizations, and errors that name them."""

import base64
import json
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import pytest

from shared.domain.outcome import Accepted, AccountFault, DeadAddress, Refused, Retry, Unknown
from shared.providers.contract import Account
from shared.providers.email.sendgrid import SendgridAdapter
from tests.contract.certificates import Certificates
from tests.contract.http2_server import Act, Received
from tests.contract.http2_server import Answer as HttpAnswer
from tests.contract.mail_wire import HOSTILE_CONTENTS, HOSTILE_IDENTIFIERS, OPTIONS, PICTURE, HttpMailWire
from tests.contract.smtp_wire import email
from tests.contract.suite import AdapterContract, Answer, collect


@dataclass(frozen=True, slots=True)
class Blame:
    """The whole call is refused, with an error for each of these among its recipients."""

    text: str = "Does not contain a valid address."


class SendgridWire(HttpMailWire):
    adapter_type = SendgridAdapter

    def read_mails(self, request: Received) -> list[dict[str, Any]]:
        document = json.loads(request.body)
        shared = {
            "sender": document["from"],
            "reply_to": document["reply_to"],
            "subject": document["subject"],
            **{
                part["type"].removeprefix("text/").replace("plain", "text"): part["value"]
                for part in document["content"]
            },
        }
        if "attachments" in document:
            shared["files"] = [
                (file["filename"], file["type"], base64.b64decode(file["content"])) for file in document["attachments"]
            ]
        return [
            {
                **shared,
                **{role: [person["email"] for person in entry[role]] for role in ("to", "cc", "bcc") if role in entry},
                "delivery": entry["custom_args"]["tidings_delivery"],
            }
            for entry in document["personalizations"]
        ]

    def acceptance(self, request: Received, recipients: Sequence[str]) -> HttpAnswer:
        return HttpAnswer(202, b"", (("x-message-id", "14c5d75ce93"),))

    def credentials_refused(self) -> Act:
        return error(401, "The provided authorization grant is invalid, expired, or revoked")

    def respond(self, request: Received, recipients: Sequence[str]) -> Act:
        blamed = [
            (f"personalizations.{place}.to.0.email", reply.text)
            for place, recipient in enumerate(recipients)
            if isinstance(reply := self.replies.get(recipient), Blame)
        ]
        return errors(400, *blamed) if blamed else super().respond(request, recipients)


def errors(status: int, *found: tuple[str | None, str], headers: tuple[tuple[str, str], ...] = ()) -> HttpAnswer:
    document = {"errors": [{"message": text, "field": field, "help": None} for field, text in found]}
    return HttpAnswer(status, json.dumps(document).encode(), headers)


def error(status: int, text: str, field: str | None = None, headers: tuple[tuple[str, str], ...] = ()) -> HttpAnswer:
    return errors(status, (field, text), headers=headers)


@pytest.fixture
async def wire(certificates: Certificates) -> AsyncIterator[SendgridWire]:
    wire = SendgridWire(certificates)
    async with wire.server:
        wire.open()
        yield wire
        await wire.close_adapter()


INVALID = Answer("invalid address", Blame(), DeadAddress)


def of_call(
    name: str, reply: Act, outcome: type, after_seconds: float | None = None, scope: str = "recipient"
) -> Answer:
    return Answer(name, reply, outcome, after_seconds, scope, is_about_call=True)


class TestSendgridContract(AdapterContract):
    refusal = INVALID
    calls_name_several = True
    answers: ClassVar = (
        INVALID,
        Answer("personalization without a place", error(400, "The to array is required", "personalizations"), Refused),
        Answer("twice", error(400, "should only be included once", "personalizations.0"), Refused),
        of_call("content", error(400, "must be a string at least one character in length", "content.0.value"), Refused),
        of_call("no field", error(400, "Bad Request"), Refused),
        of_call("sender", error(400, "The from email does not contain a valid address.", "from.email"), AccountFault),
        of_call("key", error(401, "The provided authorization grant is invalid, expired, or revoked"), AccountFault),
        of_call("credits", error(401, "Maximum credits exceeded"), AccountFault),
        of_call(
            "sender identity", error(403, "The from address does not match a verified Sender Identity."), AccountFault
        ),
        of_call("blocked", error(403, "Too many bad requests, you are blocked"), Retry, 300.0, "provider"),
        of_call("accept", error(406, "Missing Accept header"), Refused),
        of_call("too large", error(413, "Payload Too Large"), Refused),
        of_call("throttled", error(429, "too many requests"), Retry, None, "provider"),
        of_call(
            "throttled, told", error(429, "too many requests", None, (("retry-after", "7"),)), Retry, 7.0, "provider"
        ),
        of_call("other region", error(451, "Unavailable for legal reasons"), AccountFault),
        of_call("internal", error(500, "Internal Server Error"), Unknown),
        of_call("bad gateway", HttpAnswer(502, b"<html>"), Unknown),
        of_call("unavailable", HttpAnswer(503, b"<html>"), Retry, None, "provider"),
        of_call("not SendGrid", HttpAnswer(404, b"<html>"), AccountFault),
        of_call("sandbox, or nobody we know", HttpAnswer(200, b""), Unknown),
    )
    hostile_contents = HOSTILE_CONTENTS
    hostile_identifiers = HOSTILE_IDENTIFIERS
    beyond_capacity = 2_500
    oversize: ClassVar = {"subject": "too big", "content": "x" * 30 * 1024 * 1024}


async def test_a_thousand_stand_in_one_call(wire: SendgridWire) -> None:
    outcomes = await wire.send(wire.requests(1_000))

    assert set(outcomes) == {Accepted("14c5d75ce93")}
    assert len(wire.server.received) == 1


async def test_who_is_named_in_an_error_is_left_out_at_once(wire: SendgridWire) -> None:
    requests = wire.requests(500)
    for number in (3, 77, 401):
        wire.answer(requests[number].identifier, Blame())

    outcomes = await wire.send(requests)

    assert [n for n, outcome in enumerate(outcomes) if isinstance(outcome, DeadAddress)] == [3, 77, 401]
    assert len(wire.server.received) == 2


async def test_waits_until_the_limit_is_renewed(wire: SendgridWire) -> None:
    requests = wire.requests(1)
    reset = str(int(time.time()) + 60)
    wire.answer(requests[0].identifier, error(429, "too many requests", None, (("x-ratelimit-reset", reset),)))

    (outcome,) = await wire.send(requests)

    assert isinstance(outcome, Retry)
    assert outcome.after_seconds == pytest.approx(60, abs=2)


async def test_an_address_that_comes_twice_comes_in_two_calls(wire: SendgridWire) -> None:
    requests = [wire.request(0), wire.request(1, "Person.0@example.com"), wire.request(2)]

    outcomes = await wire.send(requests)

    assert {type(outcome) for outcome in outcomes} == {Accepted}
    assert sorted(len(wire.mails(request)) for request in wire.server.received) == [1, 2]


async def test_roles_do_not_multiply_and_show_nobody(wire: SendgridWire) -> None:
    requests = [wire.request(0), replace(wire.request(1), role="cc"), replace(wire.request(2), role="bcc")]

    await wire.send(requests)

    assert [mail["to"] for mail in wire.taken_mails()] == [[request.identifier] for request in requests]


async def test_says_everything_of_a_mail(wire: SendgridWire) -> None:
    data = {"attachments": [{"bucketId": "b", "fileId": "f"}], "html": True, "replyToEmail": "desk@bücher.example"}
    content = replace(email("Grüße", "<p>Du &amp; ich</p>", **data), files=(PICTURE,))

    await wire.send(wire.requests(2), content)

    for mail in wire.taken_mails():
        assert mail["sender"] == {"email": "news@example.com", "name": 'News, "daily"'}
        assert mail["reply_to"] == {"email": "desk@xn--bcher-kva.example", "name": 'News, "daily"'}
        assert (mail["subject"], mail["text"], mail["html"]) == ("Grüße", "Du & ich\n", "<p>Du &amp; ich</p>")
        assert mail["files"] == [(PICTURE.name, PICTURE.mime_type, PICTURE.content)]


async def test_a_key_that_is_none_leaves_nothing(wire: SendgridWire) -> None:
    for key in ("", "a\r\nx-other: 1", "ключ"):
        account = Account(1, 1, {"apiKey": key}, OPTIONS)
        adapter = SendgridAdapter(account, transport=wire.transport, endpoint=wire.server.origin)

        assert {type(outcome) for outcome in await collect(adapter, wire.content, wire.requests(2))} == {AccountFault}
    assert wire.server.received == []
