"""Our requests to Vonage beside those of its own package, vonage 4.9.1."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import parse_qsl

import pytest
from vonage import Auth, HttpClientOptions, Vonage
from vonage_sms import SmsMessage
from vonage_sms.errors import PartialFailureError, SmsError

from shared.domain.outcome import Accepted, DeadAddress, Outcome, Unknown
from shared.domain.status import Channel
from shared.providers.contract import Account, Content, SendRequest
from shared.providers.curl import CurlTransport
from shared.providers.sms.vonage import VonageAdapter
from shared.simulator.wire.exchange import Reply, Request
from tests.contract.certificates import Certificates
from tests.contract.differential.capture import Capture, capturing
from tests.contract.suite import collect

KEY, SECRET = "abcd1234", "s3cret"
RECEIPTS_URL = "https://tidings.example.com/receipts/abc"
LONGEST = 604_800_000

OURS = {"user-agent"}
"""Headers that say who asks, where we say that it is us."""

THEIRS = {
    "accept-encoding",  # an answer is a few hundred bytes
    "connection",  # of HTTP/1.1; keep-alive is its default
    "host",  # of HTTP/1.1; ours go over HTTP/2, where it is `:authority`
    "user-agent",
}
"""Headers that only the package sends, or with another value."""


def answering(*parts: dict[str, str]) -> Reply:
    return Reply(200, json.dumps({"message-count": str(len(parts)), "messages": parts}).encode())


TAKEN = {"to": "12025550123", "message-id": "0A0000000123ABCD1", "status": "0"}
FAILED = {"to": "12025550123", "status": "33", "error-text": "Number De-activated"}


class Sides:
    """Both, and what they ask."""

    def __init__(self, server: Capture, certificates: Certificates) -> None:
        self.server = server
        self._ca_file = certificates.ca_file

    async def ours(self, sender: str, text: str) -> Outcome:
        transport = CurlTransport(timeout_seconds=5, ca_file=self._ca_file)
        account = Account(1, 1, {"apiKey": KEY, "apiSecret": SECRET}, {"from": sender}, receipts_url=RECEIPTS_URL)
        adapter = VonageAdapter(account, transport=transport, endpoint=f"https://{self.server.host}")
        content = Content(1, Channel.SMS, {"content": text}, 4e9)
        (outcome,) = await collect(adapter, content, [SendRequest("1-7", "+12025550123")])
        await transport.aclose()
        return outcome

    async def theirs(self, **fields: Any) -> Any:
        # one connection: the package sends again on each further one when the first breaks
        options = HttpClientOptions(rest_host=self.server.host, timeout=5, pool_maxsize=1, max_retries=0)
        message = SmsMessage(to="12025550123", ttl=LONGEST, callback=RECEIPTS_URL, client_ref="1-7", **fields)

        def send() -> Any:
            client = Vonage(Auth(api_key=KEY, api_secret=SECRET), options)
            try:
                return client.sms.send(message)
            finally:
                client.http_client._session.close()

        return await asyncio.to_thread(send)


@pytest.fixture
async def sides(certificates: Certificates, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Sides]:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificates.ca_file))
    async with capturing(lambda _: answering(TAKEN), tls=certificates.server_context("h2", "http/1.1")) as server:
        yield Sides(server, certificates)


def headers_of(request: Request, without: set[str]) -> dict[str, str]:
    names = {name.decode() for name in request.headers} - without - {"content-length"}
    return {name: request.header(name.encode()) for name in names if not name.startswith(":")}


def fields_of(request: Request) -> list[tuple[str, str]]:
    """In the order of their names, which says nothing to a form's reader."""
    return sorted(parse_qsl(request.body.decode(), keep_blank_values=True, strict_parsing=True))


@pytest.mark.parametrize(("sender", "theirs"), [("ACME", "ACME"), ("+15005550006", "15005550006")])
@pytest.mark.parametrize(
    ("text", "kind"), [("Your code is 4711", "text"), ("Grüße & 50 % + €\r\n=?#/", "text"), ("“Hi” 😀", "unicode")]
)
async def test_asks_as_the_package_does(sides: Sides, sender: str, theirs: str, text: str, kind: Any) -> None:
    """The package has to be told the type, or text outside GSM 7 bit arrives damaged: ours is always said."""
    outcome = await sides.ours(sender, text)
    answer = await sides.theirs(from_=theirs, text=text, type=kind)

    ours, package = sides.server.requests
    assert (ours.method, ours.path, ours.query) == (package.method, package.path, package.query)
    assert fields_of(ours) == fields_of(package)
    expected = headers_of(package, THEIRS)
    assert expected.keys() == {"accept", "authorization", "content-type"}
    assert headers_of(ours, OURS) == expected
    assert outcome == Accepted(answer.messages[0].message_id)


async def test_reads_a_refusal_as_the_package_does(sides: Sides) -> None:
    sides.server.reply = lambda _: answering(FAILED)

    outcome = await sides.ours("ACME", "x")
    with pytest.raises(SmsError, match="error code 33: Number De-activated"):
        await sides.theirs(from_="ACME", text="x")

    assert outcome == DeadAddress("Vonage answered status 33: Number De-activated")


async def test_reads_a_text_taken_in_part_as_the_package_does(sides: Sides) -> None:
    sides.server.reply = lambda _: answering(TAKEN, {**FAILED, "status": "1"})

    outcome = await sides.ours("ACME", "x" * 161)
    with pytest.raises(PartialFailureError):
        await sides.theirs(from_="ACME", text="x" * 161)

    assert isinstance(outcome, Unknown)
