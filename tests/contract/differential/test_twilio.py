"""Our requests to Twilio beside those of its own package, twilio 9.13.0, blocking and asynchronous."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import parse_qsl

import pytest
from twilio.base.exceptions import TwilioRestException
from twilio.http.async_http_client import AsyncTwilioHttpClient
from twilio.rest import Client

from shared.domain.outcome import Accepted, DeadAddress
from shared.domain.status import Channel
from shared.providers.contract import Account, Content, SendRequest
from shared.providers.curl import CurlTransport
from shared.providers.sms.twilio import TwilioAdapter
from shared.simulator.wire.exchange import Reply, Request
from tests.contract.differential.capture import Capture, capturing
from tests.contract.suite import collect

SID, TOKEN = "AC" + "0" * 32, "t0ken"
MESSAGE = "SM" + "0" * 32
RECEIPTS_URL = "https://tidings.example.com/receipts/abc"
CALLBACK = f"{RECEIPTS_URL}?tidings_delivery=1-7"

OURS = {"user-agent"}
"""Headers that say who asks, where we say that it is us."""

THEIRS = {
    "accept-charset",  # the answer is JSON, which has one
    "accept-encoding",  # an answer is a few hundred bytes
    "connection",  # of HTTP/1.1; keep-alive is its default
    "user-agent",
    "x-twilio-client",  # who asks, again
}
"""Headers that only the package sends, or with another value."""


def take(_request: Request) -> Reply:
    return Reply(201, json.dumps({"sid": MESSAGE, "status": "queued"}).encode())


def refuse(_request: Request) -> Reply:
    document = {"code": 21211, "message": "Invalid 'To' Phone Number", "more_info": "", "status": 400}
    return Reply(400, json.dumps(document).encode())


@pytest.fixture
async def server() -> AsyncIterator[Capture]:
    async with capturing(take) as capture:
        yield capture


async def send_ours(server: Capture, sender: str, text: str, *, seconds: float = 4e9) -> Any:
    transport = CurlTransport(timeout_seconds=5)
    account = Account(1, 1, {"accountSid": SID, "authToken": TOKEN}, {"from": sender}, receipts_url=RECEIPTS_URL)
    adapter = TwilioAdapter(account, transport=transport, endpoint=f"http://{server.host}")
    content = Content(1, Channel.SMS, {"content": text}, time.time() + seconds)
    (outcome,) = await collect(adapter, content, [SendRequest("1-7", "+12025550123")])
    await transport.aclose()
    return outcome


async def send_theirs(server: Capture, **fields: Any) -> Any:
    def send() -> Any:
        client = Client(SID, TOKEN)
        client.api.base_url = f"http://{server.host}"
        try:
            return client.messages.create(to="+12025550123", status_callback=CALLBACK, **fields)
        finally:
            client.http_client.session.close()

    return await asyncio.to_thread(send)


async def send_theirs_async(server: Capture, **fields: Any) -> Any:
    async with AsyncTwilioHttpClient() as http_client:
        client = Client(SID, TOKEN, http_client=http_client)
        client.api.base_url = f"http://{server.host}"
        return await client.messages.create_async(to="+12025550123", status_callback=CALLBACK, **fields)


def headers_of(request: Request, without: set[str]) -> dict[str, str]:
    names = {name.decode() for name in request.headers} - without - {"content-length"}
    return {name: request.header(name.encode()) for name in names}


def fields_of(request: Request) -> list[tuple[str, str]]:
    """In the order of their names, which says nothing to a form's reader."""
    return sorted(parse_qsl(request.body.decode(), keep_blank_values=True, strict_parsing=True))


@pytest.mark.filterwarnings("ignore:.*(BasicAuth|'auth' parameter) is deprecated:DeprecationWarning")  # its aiohttp
@pytest.mark.parametrize("send", [send_theirs, send_theirs_async])
@pytest.mark.parametrize(
    ("sender", "name"), [("+15005550006", "from_"), ("ACME", "from_"), ("MG" + "a" * 32, "messaging_service_sid")]
)
@pytest.mark.parametrize("text", ["Your code is 4711", "Grüße & 50 % + 😀\r\n=?#/"])
async def test_asks_as_the_package_does(server: Capture, send: Any, sender: str, name: str, text: str) -> None:
    outcome = await send_ours(server, sender, text)
    message = await send(server, **{name: sender, "body": text})

    ours, theirs = server.requests
    assert (ours.method, ours.path, ours.query) == (theirs.method, theirs.path, theirs.query)
    assert fields_of(ours) == fields_of(theirs)
    expected = headers_of(theirs, THEIRS)
    assert headers_of(ours, OURS) == expected
    assert expected.keys() == {"host", "accept", "authorization", "content-type"}
    assert outcome == Accepted(message.sid)


async def test_bounds_a_messages_life_as_the_package_does(server: Capture) -> None:
    await send_ours(server, "ACME", "x", seconds=600.9)
    await send_theirs(server, from_="ACME", body="x", validity_period=600)

    ours, theirs = server.requests
    assert fields_of(ours) == fields_of(theirs)


async def test_reads_a_refusal_as_the_package_does() -> None:
    async with capturing(refuse) as server:
        outcome = await send_ours(server, "ACME", "x")
        with pytest.raises(TwilioRestException) as raised:
            await send_theirs(server, from_="ACME", body="x")

    error = raised.value
    words = error.msg.removeprefix("Unable to create record: ")  # the package's own
    assert outcome == DeadAddress(f"Twilio answered {error.status}, code {error.code}: {words}")
