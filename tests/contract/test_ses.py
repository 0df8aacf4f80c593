"""SES's adapter keeps the contract; and what only SES has: bulk entries, inline templates, signatures, hidden bcc."""

import base64
import json
import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from email.header import decode_header, make_header
from typing import Any, ClassVar

import pytest

from shared.domain.outcome import Accepted, AccountFault, DeadAddress, Refused, Retry, Unknown
from shared.providers.contract import Account
from shared.providers.email.ses import SesAdapter
from tests.contract.certificates import Certificates
from tests.contract.http2_server import Act, Received
from tests.contract.http2_server import Answer as HttpAnswer
from tests.contract.mail_wire import HOSTILE_CONTENTS, HOSTILE_IDENTIFIERS, OPTIONS, PICTURE, HttpMailWire
from tests.contract.smtp_wire import email
from tests.contract.suite import AdapterContract, Answer, collect

SINGLE, BULK = "/v2/email/outbound-emails", "/v2/email/outbound-bulk-emails"

CREDENTIALS = {"accessKey": "AKIDEXAMPLE", "secretKey": "secret", "region": "eu-central-1"}


@dataclass(frozen=True, slots=True)
class Entry:
    """What a bulk call says of this recipient."""

    status: str
    error: str = ""


class SesWire(HttpMailWire):
    adapter_type = SesAdapter
    account = Account(1, 1, CREDENTIALS, OPTIONS)

    def read_mails(self, request: Received) -> list[dict[str, Any]]:
        document = json.loads(request.body)
        if request.path == SINGLE:
            simple = document["Content"]["Simple"]
            texts = {"Subject": simple["Subject"], **simple["Body"]}
            said = {name.lower(): text["Data"] for name, text in texts.items()}
            return [_mail(document, said, simple.get("Attachments"), document["Destination"], document["EmailTags"])]
        assert request.path == BULK
        assert len(document["BulkEmailEntries"]) <= 50
        template = document["DefaultContent"]["Template"]
        variables = json.loads(template["TemplateData"])
        said = {name.lower(): filled(text, variables) for name, text in template["TemplateContent"].items()}
        return [
            _mail(document, said, template.get("Attachments"), entry["Destination"], entry["ReplacementTags"])
            for entry in document["BulkEmailEntries"]
        ]

    def acceptance(self, request: Received, recipients: Sequence[str]) -> HttpAnswer:
        if request.path == SINGLE:
            return HttpAnswer(200, json.dumps({"MessageId": f"id-of-{recipients[0]}"}).encode())
        return bulk({recipient: Entry("SUCCESS") for recipient in recipients})

    def credentials_refused(self) -> Act:
        return error(403, "SignatureDoesNotMatch", "The request signature we calculated does not match")

    def respond(self, request: Received, recipients: Sequence[str]) -> Act:
        entries = {r: reply for r in recipients if isinstance(reply := self.replies.get(r), Entry)}
        if not entries:
            return super().respond(request, recipients)
        if request.path == SINGLE:
            return error(400, "BadRequestException", f"Illegal address: {recipients[0]}")
        self.accept(request, [recipient for recipient in recipients if recipient not in entries])
        return bulk({recipient: entries.get(recipient, Entry("SUCCESS")) for recipient in recipients})


def filled(text: str, variables: dict[str, str]) -> str:
    """As the engine does it: anything but a known variable, or a leftover brace of one, is an error."""
    pieces = re.split(r"\{\{(\w+)\}\}", text)
    assert not any("{{" in piece for piece in pieces[::2]), "an expression that is none of ours"
    assert not any(piece.startswith("}") for piece in pieces[2::2]), "it would be read as another kind of expression"
    assert not any(piece.endswith(("{", "\\")) for piece in pieces[:-1:2]), (
        "it would be read as another kind of expression"
    )
    return "".join(variables[piece] if number % 2 else piece for number, piece in enumerate(pieces))


def _mail(
    document: dict[str, Any], said: dict[str, str], files: Any, destination: dict[str, list[str]], tags: Any
) -> dict[str, Any]:
    people = {name.removesuffix("Addresses").lower(): people for name, people in destination.items()}
    (reply_to,) = document["ReplyToAddresses"]
    (tag,) = tags
    assert tag["Name"] == "tidings_delivery"
    read = {"sender": document["FromEmailAddress"], "reply_to": reply_to, "delivery": tag["Value"], **said, **people}
    if files:
        read["files"] = [(f["FileName"], f["ContentType"], base64.b64decode(f["RawContent"])) for f in files]
    return read


def bulk(entries: dict[str, Entry]) -> HttpAnswer:
    results = [
        {"Status": entry.status, **({"Error": entry.error} if entry.error else {"MessageId": f"id-of-{recipient}"})}
        for recipient, entry in entries.items()
    ]
    return HttpAnswer(200, json.dumps({"BulkEmailEntryResults": results}).encode())


def error(status: int, kind: str, text: str) -> HttpAnswer:
    return HttpAnswer(status, json.dumps({"message": text}).encode(), (("x-amzn-errortype", f"{kind}:http://x/"),))


@pytest.fixture
async def wire(certificates: Certificates) -> AsyncIterator[SesWire]:
    wire = SesWire(certificates)
    async with wire.server:
        wire.open()
        yield wire
        await wire.close_adapter()


INVALID = Answer("invalid address", Entry("INVALID_PARAMETER", "Illegal address"), DeadAddress)

HOUR = 3600.0


def of_call(name: str, reply: Act, outcome: type, after_seconds: float | None = None) -> Answer:
    scope = "provider" if outcome is Retry else "recipient"
    return Answer(name, reply, outcome, after_seconds, scope, is_about_call=True)


def said(
    status: int, kind: str, outcome: type, after_seconds: float | None = None, text: str = "what SES says"
) -> Answer:
    return of_call(f"{status} {kind} {text}", error(status, kind, text), outcome, after_seconds)


def entry(status: str, outcome: type, text: str = "what SES says") -> Answer:
    return Answer(f"{status} {text}", Entry(status, text), outcome)


class TestSesContract(AdapterContract):
    refusal = INVALID
    calls_name_several = True
    answers: ClassVar = (
        INVALID,
        entry("INVALID_PARAMETER", Refused),
        entry("MESSAGE_REJECTED", Refused),
        entry("MESSAGE_REJECTED", AccountFault, "Email address is not verified."),
        entry("MAIL_FROM_DOMAIN_NOT_VERIFIED", AccountFault),
        entry("CONFIGURATION_SET_NOT_FOUND", AccountFault),
        entry("CONFIGURATION_SET_DOES_NOT_EXIST", AccountFault),
        entry("TEMPLATE_NOT_FOUND", AccountFault),
        entry("TEMPLATE_DOES_NOT_EXIST", AccountFault),
        entry("ACCOUNT_SUSPENDED", AccountFault),
        entry("ACCOUNT_SENDING_PAUSED", AccountFault),
        entry("CONFIGURATION_SET_SENDING_PAUSED", AccountFault),
        entry("INVALID_SENDING_POOL_NAME", AccountFault),
        entry("TRANSIENT_FAILURE", Retry),
        entry("FAILED", Retry),
        entry("A_STATUS_OF_TOMORROW", Unknown),
        Answer("throttled entry", Entry("ACCOUNT_THROTTLED", "slower"), Retry, None, "provider"),
        Answer("used up, for an entry", Entry("ACCOUNT_DAILY_QUOTA_EXCEEDED", "x"), Retry, HOUR, "provider"),
        Answer("an address of several", error(400, "BadRequestException", "Domain ends with dot"), Refused),
        said(429, "TooManyRequestsException", Retry, None, "Maximum sending rate exceeded."),
        said(400, "ThrottlingException", Retry),
        said(400, "LimitExceededException", Retry, HOUR),
        said(400, "AccountSuspendedException", AccountFault),
        said(400, "SendingPausedException", AccountFault),
        said(400, "MailFromDomainNotVerifiedException", AccountFault),
        said(400, "MessageRejected", AccountFault, None, "Email address is not verified. The following identities"),
        said(400, "MessageRejected", Refused),
        said(400, "BadRequestException", Refused),
        said(404, "NotFoundException", AccountFault),
        said(403, "InvalidSignatureException", AccountFault),
        said(403, "UnrecognizedClientException", AccountFault),
        said(400, "ExpiredTokenException", AccountFault),
        said(400, "AccessDeniedException", AccountFault),
        said(403, "RequestExpired", AccountFault),
        of_call("type in the body", HttpAnswer(400, b'{"__type":"a#ThrottlingException","Message":"x"}'), Retry),
        of_call("no type at all", HttpAnswer(400, b"<html>"), Refused),
        said(500, "InternalFailure", Unknown),
        said(503, "ServiceUnavailable", Retry),
        of_call("bad gateway", HttpAnswer(502, b"<html>"), Unknown),
        of_call("accepted, unreadable", HttpAnswer(200, b"<html>"), Unknown),
        of_call("accepted, in other words", HttpAnswer(202, b"{}"), Unknown),
        of_call("accepted, too few", HttpAnswer(200, b'{"BulkEmailEntryResults":[{"Status":"SUCCESS"}]}'), Unknown),
        of_call(
            "accepted, nameless", HttpAnswer(200, b'{"BulkEmailEntryResults":[{"Status":"SUCCESS"},{},7]}'), Unknown
        ),
    )
    hostile_contents = HOSTILE_CONTENTS
    hostile_identifiers = HOSTILE_IDENTIFIERS
    beyond_capacity = 250
    oversize: ClassVar = {"subject": "too big", "content": "x" * 40 * 1024 * 1024}


async def test_fifty_stand_in_one_call(wire: SesWire) -> None:
    requests = wire.requests(101)

    outcomes = await wire.send(requests)

    assert outcomes == [Accepted(f"id-of-{request.identifier}") for request in requests]
    assert sorted(request.path for request in wire.server.received) == [BULK, BULK, SINGLE]


async def test_an_address_named_in_the_error_is_dead(wire: SesWire) -> None:
    """And nobody whose own is a part of it."""
    requests = [wire.request(0, "son.1@example.com"), *wire.requests(3)[1:]]
    wire.answer(requests[1].identifier, error(400, "BadRequestException", f"Bad: <{requests[1].identifier}>."))

    outcomes = await wire.send(requests)

    assert [type(outcome) for outcome in outcomes] == [Accepted, DeadAddress, Accepted]


@pytest.mark.parametrize(
    "text",
    [
        "{{",
        "a{{{b}}}c",
        "\\{{x}}",
        "{\\{{x}}}}",
        "{}",
        "}}{{",
        "p{a:b}{c:d}",
        "{{{{{",
        "{{open}}",
        "\\\\{{",
        "{{#if x}}{{/if}}",
    ],
)
async def test_the_template_engine_gives_back_what_was_written(wire: SesWire, text: str) -> None:
    await wire.send(wire.requests(2), email(text, f"<{text}>{text}{text}\n"))

    assert wire.server.received[0].path == BULK
    for mail in wire.taken_mails():
        assert (mail["subject"], mail["text"]) == (text, f"<{text}>{text}{text}\n")


@pytest.mark.parametrize("count", [1, 3])
async def test_says_everything_of_a_mail(wire: SesWire, count: int) -> None:
    data = {"attachments": [{"bucketId": "b", "fileId": "f"}] * 2, "html": True, "replyToName": "Müller, Tür & Tor"}
    content = replace(email("Grüße", "<p>Du &amp; ich</p>", **data), files=(PICTURE, PICTURE))

    await wire.send(wire.requests(count), content)

    assert len(wire.taken_mails()) == count
    for mail in wire.taken_mails():
        assert mail["sender"] == '"News, \\"daily\\"" <news@example.com>'
        assert mail["reply_to"].isascii()
        assert str(make_header(decode_header(mail["reply_to"]))) == "Müller, Tür & Tor <news@example.com>"
        assert (mail["subject"], mail["text"], mail["html"]) == ("Grüße", "Du & ich\n", "<p>Du &amp; ich</p>")
        assert mail["files"] == [(PICTURE.name, PICTURE.mime_type, PICTURE.content)] * 2


@pytest.mark.parametrize("count", [1, 3])
async def test_each_role_shows_what_it_may(wire: SesWire, count: int) -> None:
    requests = [wire.request(0), replace(wire.request(1), role="cc"), replace(wire.request(2), role="bcc")]
    for start in range(0, 3, count):
        await wire.send(requests[start : start + count])

    assert [{role: mail[role] for role in ("to", "cc", "bcc") if role in mail} for mail in wire.taken_mails()] == [
        {request.role: [request.identifier]} for request in requests
    ]


@pytest.mark.parametrize("region", ["evil.example.com/#", "eu-central-1.evil", "", "EU-CENTRAL-1", "eu-central-1\n"])
async def test_a_region_that_is_none_leaves_nothing(wire: SesWire, region: str) -> None:
    account = Account(1, 1, {**CREDENTIALS, "region": region}, OPTIONS)
    adapter = SesAdapter(account, transport=wire.transport, endpoint=wire.server.origin)

    outcomes = await collect(adapter, wire.content, wire.requests(2))

    assert {type(outcome) for outcome in outcomes} == {AccountFault}
    assert wire.server.received == []
