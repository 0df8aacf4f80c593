"""Our requests to SendGrid beside those of its own package, sendgrid 6.12.5."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
from python_http_client.exceptions import BadRequestsError
from sendgrid import SendGridAPIClient
from sendgrid.helpers.eventwebhook import EventWebhook
from sendgrid.helpers.mail import Attachment, Content, CustomArg, Email, Mail, Personalization, ReplyTo, To

from shared.domain.outcome import Accepted, DeadAddress
from shared.providers.contract import Account, SendRequest
from shared.providers.curl import CurlTransport
from shared.providers.email.sendgrid import SendgridAdapter
from shared.simulator.mailer import News
from shared.simulator.sendgrid import Sendgrid
from shared.simulator.wire.exchange import Reply, Request
from tests.contract.differential.capture import Capture, capturing
from tests.contract.mail_wire import PICTURE
from tests.contract.smtp_wire import email
from tests.contract.suite import collect
from tests.unit.providers.mail_receipts import mailer, taken

KEY = "SG.key"
OPTIONS = {"fromEmail": "news@example.com", "fromName": 'News, "daily"', "replyToEmail": "desk@example.com"}
REQUESTS = [SendRequest(f"17-{number}", f"person.{number}@example.com") for number in range(3)]

OURS = {"user-agent"}
"""Headers that say who asks, where we say that it is us."""

THEIRS = {
    "accept-encoding",  # an answer is empty, or a few hundred bytes
    "connection",  # it opens another connection for each request
    "user-agent",
}
"""Headers that only the package sends, or with another value."""


def take(_request: Request) -> Reply:
    return Reply(202, headers=((b"x-message-id", b"14c5d75ce93"),))


def refuse(_request: Request) -> Reply:
    error = {"message": "Does not contain a valid address.", "field": "personalizations.0.to.0.email", "help": None}
    return Reply(400, json.dumps({"errors": [error]}).encode())


@pytest.fixture
async def server() -> AsyncIterator[Capture]:
    async with capturing(take) as capture:
        yield capture


async def send_ours(server: Capture, subject: str, content: str, *, html: bool, files: bool) -> Sequence[Any]:
    transport = CurlTransport(timeout_seconds=5)
    adapter = SendgridAdapter(
        Account(1, 1, {"apiKey": KEY}, OPTIONS), transport=transport, endpoint=f"http://{server.host}"
    )
    said = email(subject, content, html=html, attachments=[{"bucketId": "b", "fileId": "f"}] * files)
    outcomes = await collect(adapter, replace(said, files=(PICTURE,) * files), REQUESTS)
    await transport.aclose()
    return outcomes


async def send_theirs(server: Capture, subject: str, contents: Sequence[Content], *, files: bool) -> Any:
    mail = Mail(from_email=Email(OPTIONS["fromEmail"], OPTIONS["fromName"]), subject=subject)
    mail.reply_to = ReplyTo(OPTIONS["replyToEmail"], OPTIONS["fromName"])
    for content in contents:
        mail.add_content(content)
    for request in reversed(REQUESTS):  # it puts each before those it has
        person = Personalization()
        person.add_to(To(request.identifier))
        person.add_custom_arg(CustomArg("tidings_delivery", request.delivery_id))
        mail.add_personalization(person)
    if files:
        encoded = base64.b64encode(PICTURE.content).decode()
        mail.add_attachment(Attachment(encoded, PICTURE.name, PICTURE.mime_type, "attachment"))
    return await asyncio.to_thread(SendGridAPIClient(KEY, host=f"http://{server.host}").send, mail)


def headers_of(request: Request, without: set[str]) -> dict[str, str]:
    names = {name.decode() for name in request.headers} - without - {"content-length"}
    return {name: request.header(name.encode()) for name in names}


@pytest.mark.parametrize("files", [False, True])
@pytest.mark.parametrize("html", [False, True])
async def test_asks_as_the_package_does(server: Capture, html: bool, files: bool) -> None:  # noqa: FBT001  # a table
    subject, content = 'Grüße, "du" & ich {{x}}', "<p>50 % für 😀</p>" if html else "50 % für 😀\r\n"
    contents = [Content("text/plain", "50 % für 😀\n" if html else content)]
    if html:
        contents.append(Content("text/html", content))

    outcomes = await send_ours(server, subject, content, html=html, files=files)
    answer = await send_theirs(server, subject, contents, files=files)

    ours, theirs = server.requests
    assert (ours.method, ours.path, ours.query) == (theirs.method, theirs.path, theirs.query)
    assert json.loads(ours.body) == json.loads(theirs.body)
    expected = headers_of(theirs, THEIRS)
    assert headers_of(ours, OURS) == expected
    assert expected.keys() == {"host", "accept", "authorization", "content-type"}
    assert outcomes == [Accepted(answer.headers["x-message-id"])] * 3


async def test_reads_a_refusal_as_the_package_does(server: Capture) -> None:
    """The package raises for all; we leave out whom the error names, and ask again for the others."""
    server.reply = lambda request: refuse(request) if b"person.0@" in request.body else take(request)

    outcomes = await send_ours(server, "Hello", "x", html=False, files=False)
    with pytest.raises(BadRequestsError) as caught:
        await send_theirs(server, "Hello", [Content("text/plain", "x")], files=False)

    assert [type(outcome) for outcome in outcomes] == [DeadAddress, Accepted, Accepted]
    assert caught.value.to_dict["errors"][0]["message"] in str(outcomes[0])


async def test_the_package_believes_what_the_simulator_signs(tmp_path: Any) -> None:
    provider = mailer(Sendgrid, tmp_path)
    (call,) = provider.receipts_of(taken(News))
    headers = dict(call.headers)
    checker = EventWebhook(provider.receipts_secret)

    signature = headers["x-twilio-email-event-webhook-signature"]
    timestamp = headers["x-twilio-email-event-webhook-timestamp"]

    assert checker.verify_signature(call.body.decode(), signature, timestamp)
    assert not checker.verify_signature(call.body.decode(), signature, "1")
