"""Mailgun's adapter keeps the contract; and what only Mailgun has: recipient variables, regions, dates to wait for."""

import base64
import json
import re
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from email import message_from_bytes, policy
from email.message import EmailMessage
from email.utils import formatdate
from typing import Any, ClassVar

import pytest

from shared.domain.outcome import Accepted, AccountFault, DeadAddress, Refused, Retry, Unknown
from shared.providers.contract import Account
from shared.providers.email.mailgun import MailgunAdapter
from tests.contract.certificates import Certificates
from tests.contract.http2_server import Act, Received
from tests.contract.http2_server import Answer as HttpAnswer
from tests.contract.mail_wire import HOSTILE_CONTENTS, HOSTILE_IDENTIFIERS, OPTIONS, PICTURE, HttpMailWire
from tests.contract.smtp_wire import email
from tests.contract.suite import AdapterContract, Answer


class MailgunWire(HttpMailWire):
    adapter_type = MailgunAdapter
    account = Account(1, 1, {"apiKey": "key", "domain": "mg.example.com", "isEuRegion": False}, OPTIONS)

    def read_mails(self, request: Received) -> list[dict[str, Any]]:
        parts = parts_of(request)
        fields = {part["name"]: part["text"] for part in parts if part["file"] is None}
        files = [(part["file"], part["type"], part["bytes"]) for part in parts if part["file"] is not None]
        known = {"subject", "text", "html", "from", "h:Reply-To", "v:tidings_delivery", "to", "recipient-variables"}
        assert fields.keys() <= known
        variables = json.loads(fields["recipient-variables"])
        addresses = fields["to"].split(",")
        assert sorted(variables) == sorted(addresses), "who has no variables sees the others"
        return [self._mail(fields, files, address, variables[address]) for address in addresses]

    def _mail(
        self, fields: dict[str, str], files: list[tuple[str, str, bytes]], address: str, variables: dict[str, str]
    ) -> dict[str, Any]:
        """As Mailgun makes it: placeholders replaced, once, by what is known of the recipient."""

        def filled(text: str) -> str:
            return re.sub(r"%recipient\.(\w+)%", lambda found: variables.get(found[1], found[0]), text)

        mail: dict[str, Any] = {
            "to": [address],
            "sender": fields["from"],
            "reply_to": fields["h:Reply-To"],
            "delivery": filled(fields["v:tidings_delivery"]),
            **{name: filled(fields[name]) for name in ("subject", "text", "html") if name in fields},
        }
        return {**mail, "files": files} if files else mail

    def acceptance(self, request: Received, recipients: Sequence[str]) -> HttpAnswer:
        return HttpAnswer(200, b'{"id":"<2026.7@mg.example.com>","message":"Queued. Thank you."}')

    def credentials_refused(self) -> Act:
        return HttpAnswer(401, b"Forbidden")


def parts_of(request: Received) -> list[dict[str, Any]]:
    """Taken apart by the standard library's reader of MIME."""
    head = f"Content-Type: {request.headers['content-type']}\r\n\r\n".encode()
    message = message_from_bytes(head + request.body, policy=policy.HTTP)
    return [
        {
            "name": part.get_param("name", header="content-disposition"),
            "file": part.get_filename(),
            "type": part.get_content_type(),
            "bytes": content,
            "text": content.decode("utf-8", "replace"),
        }
        for part in message.iter_parts()
        if isinstance(part, EmailMessage) and isinstance(content := part.get_payload(decode=True), bytes)
    ]


def error(status: int, text: str, headers: tuple[tuple[str, str], ...] = ()) -> HttpAnswer:
    return HttpAnswer(status, json.dumps({"message": text}).encode(), headers)


@pytest.fixture
async def wire(certificates: Certificates) -> AsyncIterator[MailgunWire]:
    wire = MailgunWire(certificates)
    async with wire.server:
        wire.open()
        yield wire
        await wire.close_adapter()


INVALID = Answer(
    "invalid address", error(400, "'to' parameter is not a valid address. please check documentation"), DeadAddress
)


def of_call(name: str, reply: Act, outcome: type, after_seconds: float | None = None) -> Answer:
    scope = "provider" if outcome is Retry else "recipient"
    return Answer(name, reply, outcome, after_seconds, scope, is_about_call=True)


class TestMailgunContract(AdapterContract):
    refusal = INVALID
    calls_name_several = True
    answers: ClassVar = (
        INVALID,
        of_call(
            "sender", error(400, "'from' parameter is not a valid address. please check documentation"), AccountFault
        ),
        of_call("nothing to say", error(400, "Need at least one of 'text' or 'html' parameters specified"), Refused),
        of_call("options", error(400, "o:, h:, v: and t: parameters exceed 16 kB"), Refused),
        of_call("key", HttpAnswer(401, b"Forbidden"), AccountFault),
        of_call("to be paid", error(402, "Payment Required"), AccountFault),
        of_call("not allowed", error(403, "Domain mg.example.com is not allowed to send"), AccountFault),
        of_call("no such domain", error(404, "Domain not found: mg.example.com"), AccountFault),
        of_call("too large", error(413, "Request Entity Too Large"), Refused),
        of_call("limit", error(420, "recipient limit exceeded, try again later"), Retry, 60.0),
        of_call("throttled", error(429, "Too Many Requests"), Retry),
        of_call("throttled, told", error(429, "Too Many Requests", (("retry-after", "7"),)), Retry, 7.0),
        of_call("internal", error(500, "Internal Server Error"), Unknown),
        of_call("bad gateway", HttpAnswer(502, b"<html>"), Unknown),
        of_call("unavailable", HttpAnswer(503, b"<html>"), Retry),
        of_call("accepted, unreadable", HttpAnswer(200, b"Mailgun Magnificent API"), Unknown),
        of_call("accepted, nameless", HttpAnswer(200, b'{"message":"Queued. Thank you."}'), Unknown),
        of_call("accepted, in other words", HttpAnswer(202, b'{"message":"Queued. Thank you."}'), Unknown),
    )
    hostile_contents = HOSTILE_CONTENTS
    hostile_identifiers = HOSTILE_IDENTIFIERS
    beyond_capacity = 2_500
    oversize: ClassVar = {"subject": "too big", "content": "x" * 25 * 1024 * 1024}


async def test_a_thousand_stand_in_one_call(wire: MailgunWire) -> None:
    outcomes = await wire.send(wire.requests(1_000))

    assert set(outcomes) == {Accepted("2026.7@mg.example.com")}
    assert len(wire.server.received) == 1
    assert wire.server.received[0].path == "/v3/mg.example.com/messages"
    assert wire.server.received[0].headers["authorization"] == f"Basic {base64.b64encode(b'api:key').decode()}"


async def test_finds_the_addresses_that_sink_a_call(wire: MailgunWire) -> None:
    requests = wire.requests(200)
    for number in (3, 77, 78):
        wire.answer(requests[number].identifier, INVALID.reply)

    outcomes = await wire.send(requests)

    assert [n for n, outcome in enumerate(outcomes) if isinstance(outcome, DeadAddress)] == [3, 77, 78]
    assert sorted(wire.accepted()) == sorted(r.identifier for n, r in enumerate(requests) if n not in {3, 77, 78})


async def test_waits_until_the_named_date(wire: MailgunWire) -> None:
    requests = wire.requests(1)
    until = formatdate(time.time() + 90, usegmt=True)
    wire.answer(requests[0].identifier, error(420, f"recipient limit exceeded, try again after {until}"))

    (outcome,) = await wire.send(requests)

    assert isinstance(outcome, Retry)
    assert outcome.after_seconds == pytest.approx(90, abs=2)


async def test_says_everything_of_a_mail(wire: MailgunWire) -> None:
    data = {"attachments": [{"bucketId": "b", "fileId": "f"}] * 2, "html": True, "replyToName": "Müller, %recipient"}
    odd = replace(PICTURE, name="\"a\\b'.png", mime_type="")
    content = replace(email("Grüße %recipient.x%", "<p>50%recipient</p>", **data), files=(PICTURE, odd))
    requests = [wire.request(0), replace(wire.request(1), role="cc"), replace(wire.request(2), role="bcc")]

    await wire.send(requests, content)

    for mail, request in zip(wire.taken_mails(), requests, strict=True):
        assert mail["to"] == [request.identifier]
        assert mail["sender"] == '"News, \\"daily\\"" <news@example.com>'
        assert mail["reply_to"] == '"Müller, %recipient.tidings_percent%recipient" <news@example.com>'
        assert (mail["subject"], mail["text"], mail["html"]) == (
            "Grüße %recipient.x%",
            "50%recipient\n",
            "<p>50%recipient</p>",
        )
        assert mail["files"][0] == (PICTURE.name, PICTURE.mime_type, PICTURE.content)
        assert mail["files"][1][1:] == ("application/octet-stream", PICTURE.content)


async def test_files_count_as_they_are_mailed(wire: MailgunWire) -> None:
    large = replace(PICTURE, content=bytes(19 * 1024 * 1024))
    content = replace(email("Hello", "x", attachments=[{"bucketId": "b", "fileId": "f"}]), files=(large,))

    (outcome,) = await wire.send(wire.requests(1), content)

    assert isinstance(outcome, Refused)
    assert wire.server.received == []


@pytest.mark.parametrize(("is_eu", "host"), [(True, "https://api.eu.mailgun.net"), (False, "https://api.mailgun.net")])
def test_each_region_has_its_own_address(is_eu: bool, host: str) -> None:  # noqa: FBT001  # a case of the table
    account = Account(1, 1, {"apiKey": "key", "domain": "mg.example.com", "isEuRegion": is_eu}, OPTIONS)

    assert MailgunAdapter(account, transport=None).origin == host  # type: ignore[arg-type]  # nothing is sent
