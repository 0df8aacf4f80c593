"""Resend's adapter keeps the contract; and what only Resend has: an answer for each mail, calls asked for again."""

import base64
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import pytest

from shared.domain.outcome import Accepted, AccountFault, DeadAddress, Refused, Retry, Unknown
from shared.providers.contract import ContentFile
from shared.providers.email.resend import ResendAdapter
from tests.contract.certificates import Certificates
from tests.contract.http2_server import Act, Hangup, Received, Silence
from tests.contract.http2_server import Answer as HttpAnswer
from tests.contract.mail_wire import HOSTILE_CONTENTS, HOSTILE_IDENTIFIERS, PICTURE, HttpMailWire
from tests.contract.smtp_wire import email
from tests.contract.suite import AdapterContract, Answer


@dataclass(frozen=True, slots=True)
class Unmade:
    """Of a batch this mail was not made; alone it is a 422."""

    message: str


class ResendWire(HttpMailWire):
    adapter_type = ResendAdapter

    def __init__(self, certificates: Certificates) -> None:
        super().__init__(certificates)
        self.answers_once: list[Act] = []  # to the next calls, whomever they name

    def read_mails(self, request: Received) -> list[dict[str, Any]]:
        document = json.loads(request.body)
        assert request.path == ("/emails/batch" if isinstance(document, list) else "/emails")
        assert len(document) <= 100
        return [_mail(mail) for mail in (document if isinstance(document, list) else [document])]

    def acceptance(self, request: Received, recipients: Sequence[str]) -> HttpAnswer:
        ids = [{"id": f"id-of-{recipient}"} for recipient in recipients]
        return HttpAnswer(200, json.dumps({"data": ids} if request.path == "/emails/batch" else ids[0]).encode())

    def credentials_refused(self) -> Act:
        return error(403, "invalid_api_key", "API key is invalid")

    def respond(self, request: Received, recipients: Sequence[str]) -> Act:
        """Permissive: what is wrong with a mail costs that mail."""
        if self.answers_once:
            return self.answers_once.pop(0)
        unmade = {n: self.replies[r] for n, r in enumerate(recipients) if isinstance(self.replies.get(r), Unmade)}
        if not unmade:
            return super().respond(request, recipients)
        if request.path == "/emails":
            return error(422, "validation_error", unmade[0].message)
        made = [recipient for number, recipient in enumerate(recipients) if number not in unmade]
        answer = json.loads(self.accept(request, made).body)
        errors = [{"index": number, "message": reply.message} for number, reply in unmade.items()]
        return HttpAnswer(200, json.dumps({**answer, "errors": errors}).encode())


def _mail(mail: dict[str, Any]) -> dict[str, Any]:
    tags = {tag["name"]: tag["value"] for tag in mail["tags"]}
    named: dict[str, Any] = {"sender": mail["from"], "reply_to": mail["reply_to"], "delivery": tags["tidings_delivery"]}
    same: dict[str, Any] = {name: mail[name] for name in ("to", "cc", "bcc", "subject", "text", "html") if name in mail}
    files = [
        (file["filename"], file.get("content_type"), base64.b64decode(file["content"]))
        for file in mail.get("attachments", ())
    ]
    return {**named, **same, **({"files": files} if files else {})}


def error(status: int, name: str, message: str, headers: tuple[tuple[str, str], ...] = ()) -> HttpAnswer:
    document = {"statusCode": status, "name": name, "message": message}
    return HttpAnswer(status, json.dumps(document).encode(), headers)


@pytest.fixture
async def wire(certificates: Certificates) -> AsyncIterator[ResendWire]:
    wire = ResendWire(certificates)
    async with wire.server:
        wire.open()
        yield wire
        await wire.close_adapter()


BAD_TO = "Invalid `to` field. The email address needs to follow the format."
INVALID = Answer("invalid address", Unmade(BAD_TO), DeadAddress)


def of_call(name: str, reply: Act, outcome: type, after_seconds: float | None = None) -> Answer:
    scope = "provider" if outcome is Retry else "recipient"
    return Answer(name, reply, outcome, after_seconds, scope, is_about_call=True)


def said(status: int, name: str, outcome: type, text: str = "what Resend says") -> Answer:
    return of_call(f"{status} {name}", error(status, name, text), outcome)


class TestResendContract(AdapterContract):
    refusal = INVALID
    calls_name_several = True
    recognises_repeats = True
    answers: ClassVar = (
        INVALID,
        Answer("unmade", Unmade("Missing `subject` field."), Refused),
        Answer("unmade for its sender", Unmade("Invalid `from` field."), AccountFault),
        Answer("strict after all", error(422, "validation_error", BAD_TO), DeadAddress),
        said(400, "validation_error", Refused),
        said(400, "invalid_idempotency_key", Refused),
        said(401, "missing_api_key", AccountFault),
        said(401, "restricted_api_key", AccountFault),
        said(403, "invalid_api_key", AccountFault),
        said(403, "validation_error", AccountFault, "The example.com domain is not verified"),
        of_call("no user agent", HttpAnswer(403, b"error code: 1010"), AccountFault),
        said(404, "not_found", AccountFault),
        said(405, "method_not_allowed", AccountFault),
        said(409, "invalid_idempotent_request", Refused),
        said(409, "concurrent_idempotent_requests", Unknown),
        said(413, "too_large", Refused),
        said(422, "missing_required_field", Refused),
        said(422, "invalid_parameter", Refused),
        said(422, "invalid_attachment", Refused),
        said(422, "validation_error", AccountFault, "Invalid `from` field."),
        said(429, "rate_limit_exceeded", Retry),
        of_call("429, told", error(429, "rate_limit_exceeded", "x", (("retry-after", "3"),)), Retry, 3.0),
        said(429, "daily_quota_exceeded", AccountFault),
        said(429, "monthly_quota_exceeded", AccountFault),
        said(451, "security_error", AccountFault),
        said(500, "application_error", Unknown),
        said(500, "internal_server_error", Unknown),
        of_call("unavailable", HttpAnswer(503, b"<html>"), Retry),
        of_call("bad gateway", HttpAnswer(502, b"<html>"), Unknown),
        of_call("accepted, unreadable", HttpAnswer(200, b"<html>"), Unknown),
        of_call("accepted, too few", HttpAnswer(200, b'{"data":[{"id":"1"}]}'), Unknown),
        of_call("accepted, too many", HttpAnswer(200, b'{"data":[%s{"id":"1"}]}' % (b'{"id":"2"},' * 9)), Unknown),
        of_call("accepted, nameless", HttpAnswer(200, b'{"data":[{},{},{}]}'), Unknown),
        of_call("errors of others", HttpAnswer(200, b'{"data":[],"errors":[{"index":7,"message":"x"}]}'), Unknown),
    )
    hostile_contents = HOSTILE_CONTENTS
    hostile_identifiers = HOSTILE_IDENTIFIERS
    beyond_capacity = 400
    oversize: ClassVar = {"subject": "too big", "content": "x" * 40 * 1024 * 1024}


async def test_each_mail_of_a_batch_has_its_own_id(wire: ResendWire) -> None:
    requests = wire.requests(250)
    wire.answer(requests[7].identifier, Unmade(BAD_TO))

    outcomes = await wire.send(requests)

    assert len(wire.server.received) == 3
    assert [n for n, outcome in enumerate(outcomes) if isinstance(outcome, DeadAddress)] == [7]
    assert all(
        outcome == Accepted(f"id-of-{request.identifier}")
        for number, (request, outcome) in enumerate(zip(requests, outcomes, strict=True))
        if number != 7
    )


@pytest.mark.parametrize("lost", [Hangup(), error(500, "application_error", "x"), HttpAnswer(502, b"")], ids=repr)
async def test_a_lost_answer_is_asked_for_again_under_the_same_key(wire: ResendWire, lost: Act) -> None:
    requests = wire.requests(3)
    wire.answers_once = [lost]

    outcomes = await wire.send(requests)

    assert {type(outcome) for outcome in outcomes} == {Accepted}
    first, second = wire.server.received
    assert (first.body, first.headers["idempotency-key"]) == (second.body, second.headers["idempotency-key"])


@pytest.mark.parametrize(
    "again", [error(429, "rate_limit_exceeded", "x"), error(403, "invalid_api_key", "x"), Hangup()], ids=repr
)
async def test_a_refusal_of_the_second_call_leaves_the_first_in_doubt(wire: ResendWire, again: Act) -> None:
    wire.answers_once = [Hangup(), again]

    outcomes = await wire.send(wire.requests(3))

    assert {type(outcome) for outcome in outcomes} == {Unknown}
    assert len(wire.server.received) == 2


@pytest.mark.hurried
async def test_nothing_leaves_again_when_the_time_is_up(wire: ResendWire) -> None:
    wire.answers_once = [Silence()]

    outcomes = await wire.send(wire.requests(1))

    assert {type(outcome) for outcome in outcomes} == {Unknown}
    assert len(wire.server.received) == 1


async def test_other_mails_have_other_keys(wire: ResendWire) -> None:
    await wire.send(wire.requests(1))
    await wire.send([replace(wire.request(0), delivery_id="18-0")])
    await wire.send(wire.requests(1), email("Hello", "something else"))

    assert len({request.headers["idempotency-key"] for request in wire.server.received}) == 3


async def test_calls_stay_small_however_long_the_content_is(wire: ResendWire) -> None:
    """A hundred of the longest would be 50 MB in one piece, each time."""
    longest = email("Hello", "\N{GRINNING FACE}" * 64_230, html=True)

    outcomes = await wire.send(wire.requests(20), longest)

    assert {type(outcome) for outcome in outcomes} == {Accepted}
    assert max(len(request.body) for request in wire.server.received) < 5 * 1024 * 1024
    assert len({request.headers["idempotency-key"] for request in wire.server.received}) == len(wire.server.received)


async def test_says_everything_of_a_mail_and_attachments_go_alone(wire: ResendWire) -> None:
    data = {"attachments": [{"bucketId": "b", "fileId": "f"}] * 2, "html": True, "replyToEmail": "desk@example.com"}
    content = replace(
        email("Grüße", "<p>Du &amp; ich</p>", **data), files=(PICTURE, ContentFile("README", "text/plain", b"x"))
    )
    requests = [wire.request(0), replace(wire.request(1), role="cc"), replace(wire.request(2), role="bcc")]

    outcomes = await wire.send(requests, content)

    assert {type(outcome) for outcome in outcomes} == {Accepted}
    assert [request.path for request in wire.server.received] == ["/emails"] * 3
    for mail in wire.taken_mails():
        assert mail["sender"] == '"News, \\"daily\\"" <news@example.com>'
        assert mail["reply_to"] == ['"News, \\"daily\\"" <desk@example.com>']
        assert (mail["subject"], mail["text"], mail["html"]) == ("Grüße", "Du & ich\n", "<p>Du &amp; ich</p>")
        assert mail["files"] == [(PICTURE.name, None, PICTURE.content), ("README", "text/plain", b"x")]
        assert len(mail["to"]) == 1
        assert mail.keys().isdisjoint({"cc", "bcc"})
