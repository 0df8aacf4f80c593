"""Our pushes through APNs beside those of aioapns 4.0."""

import json
import ssl
import time
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import jwt
import pytest
from aioapns import APNs, NotificationRequest, PushType
from aioapns.common import NotificationResult
from aioapns.connection import APNsTLSClientProtocol
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from shared.domain.outcome import Accepted, AccountFault, DeadAddress, Outcome, Refused, Retry
from shared.domain.status import Channel
from shared.providers.contract import Account, Content, SendRequest
from shared.providers.http import HttpTransport
from shared.providers.push.apns import ApnsAdapter
from shared.simulator.wire.exchange import Reply, Request
from shared.simulator.wire.http import Http2Server
from shared.simulator.wire.http2 import StreamTerms
from tests.contract.certificates import Certificates
from tests.contract.differential.capture import Capture
from tests.contract.suite import collect

DEVICE = "00fc13adff785122b4ad28809a3420982341241421348097878e577c991de8f0"
TEAM, KEY_ID, BUNDLE_ID = "DEF123GHIJ", "ABC123DEFG", "com.example.app"

OURS = {
    b":authority",  # HTTP/2's word for where the request goes
    b"accept",
    b"content-length",
    b"content-type",  # libcurl would call the body a form
    b"user-agent",
}
"""Headers that only we send."""

THEIRS = {
    b"host",  # HTTP/1.1's word for the same
}
"""Headers that only the package sends."""

DIFFERENT = {
    b"authorization",  # the token's iat: the package's is its own moment, ours lies on a grid all workers share
    b"apns-expiration",  # the package counts seconds from its own moment
}
"""Headers that both send, compared apart."""


class Sides:
    """Both, and what they ask."""

    def __init__(self, server: Capture, certificates: Certificates, key: ec.EllipticCurvePrivateKey) -> None:
        self.server = server
        self.public_key = key.public_key()
        self._ca_file = certificates.ca_file
        self._pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode()

    async def ours(self, data: dict[str, Any], *, seconds: int = 3600) -> Outcome:
        transport = HttpTransport(timeout_seconds=5, ca_file=self._ca_file)
        credentials = {"authKey": self._pem, "authKeyId": KEY_ID, "teamId": TEAM, "bundleId": BUNDLE_ID}
        adapter = ApnsAdapter(Account(1, 1, credentials), transport=transport, endpoint=f"https://{self.server.host}")
        content = Content(1, Channel.PUSH, data, time.time() + seconds)
        (outcome,) = await collect(adapter, content, [SendRequest("1700000000000-7", DEVICE)])
        await transport.aclose()
        return outcome

    async def theirs(self, payload: dict[str, Any], **fields: Any) -> NotificationResult:
        host, _, port = self.server.host.partition(":")

        class Redirected(APNsTLSClientProtocol):
            APNS_SERVER, APNS_PORT = host, int(port)

        client = APNs(
            key=self._pem,
            key_id=KEY_ID,
            team_id=TEAM,
            topic=BUNDLE_ID,
            ssl_context=ssl.create_default_context(cafile=self._ca_file),
        )
        client.pool.protocol_class = Redirected
        result = await client.send_notification(NotificationRequest(DEVICE, payload, **fields))
        client.pool.close()
        return result


@pytest.fixture(scope="session")
def key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


@pytest.fixture
async def sides(certificates: Certificates, key: ec.EllipticCurvePrivateKey) -> AsyncIterator[Sides]:
    """The package offers no ALPN, so the server takes HTTP/2 for granted."""
    capture = Capture(echo)
    terms = StreamTerms(first=100, header_list_bytes=8000, on_violation=b"")
    server = Http2Server(lambda: capture, before_write=lambda: None, terms=lambda: terms)
    await server.start("127.0.0.1", 0, tls=certificates.server_context("h2"))
    capture.host = f"127.0.0.1:{server.port}"
    yield Sides(capture, certificates, key)
    await server.close()


def echo(request: Request) -> Reply:
    return Reply(200, headers=((b"apns-id", request.headers[b"apns-id"]),))


def without(request: Request, names: set[bytes]) -> dict[bytes, bytes]:
    return {name: value for name, value in request.headers.items() if name not in names}


SHOWN = {"title": "Grüße", "body": "Du & ich 😀\r\n"}
ALERT = {"alert": SHOWN}
IMAGE = "https://t.example/i.png"


@pytest.mark.parametrize(
    ("data", "payload", "fields"),
    [
        (SHOWN, {"aps": ALERT}, {}),
        ({**SHOWN, "priority": "normal"}, {"aps": ALERT}, {"priority": 5}),
        ({**SHOWN, "tag": "offer"}, {"aps": ALERT}, {"collapse_key": "offer"}),
        (
            {**SHOWN, "badge": 0, "sound": "ping", "action": "OPEN"},
            {"aps": {**ALERT, "badge": 0, "sound": "ping", "category": "OPEN"}},
            {},
        ),
        ({**SHOWN, "image": {"url": IMAGE}}, {"aps": {**ALERT, "mutable-content": 1}, "image": IMAGE}, {}),
        ({**SHOWN, "data": {"order": 7}}, {"aps": {**ALERT, "data": {"order": 7}}, "order": 7}, {}),
        (
            {"contentAvailable": True},
            {"aps": {"content-available": 1}},
            {"push_type": PushType.BACKGROUND, "priority": 5},
        ),
    ],
)
async def test_asks_as_the_package_does(
    sides: Sides, data: dict[str, Any], payload: dict[str, Any], fields: dict[str, Any]
) -> None:
    outcome = await sides.ours(data)
    assert isinstance(outcome, Accepted)
    wishes = {"push_type": PushType.ALERT, "priority": 10, "collapse_key": "1700000000000-7", **fields}
    result = await sides.theirs(payload, notification_id=outcome.provider_message_id, time_to_live=3600, **wishes)

    ours, theirs = sides.server.requests
    assert without(ours, OURS | DIFFERENT) == without(theirs, THEIRS | DIFFERENT)
    assert ours.headers.keys() - OURS == theirs.headers.keys() - THEIRS
    assert ours.headers[b":authority"] == f"{theirs.header(b'host')}:{sides.server.host.partition(':')[2]}".encode()
    assert abs(int(ours.header(b"apns-expiration")) - int(theirs.header(b"apns-expiration"))) <= 1
    assert json.loads(ours.body) == json.loads(theirs.body)
    assert result.notification_id == str(UUID(outcome.provider_message_id))


async def test_signs_as_the_package_does(sides: Sides) -> None:
    await sides.ours(SHOWN)
    await sides.theirs({"aps": ALERT})

    ours, theirs = (request.header(b"authorization").removeprefix("bearer ") for request in sides.server.requests)
    header = jwt.get_unverified_header(theirs)
    assert header.pop("typ") == "JWT"  # Apple asks for two members
    assert jwt.get_unverified_header(ours) == header
    our_claims, their_claims = (
        jwt.decode(token, sides.public_key, algorithms=["ES256"], options={"require": ["iss", "iat"]})
        for token in (ours, theirs)
    )
    assert our_claims.keys() == their_claims.keys()
    assert our_claims["iss"] == their_claims["iss"]
    assert 0 <= their_claims["iat"] - our_claims["iat"] < 3600


@pytest.mark.parametrize(
    ("status", "reason", "meaning"),
    [
        (410, "Unregistered", DeadAddress),
        (400, "BadDeviceToken", DeadAddress),
        (413, "PayloadTooLarge", Refused),
        (403, "InvalidProviderToken", AccountFault),
        (429, "TooManyRequests", Retry),
        (503, "Shutdown", Retry),
    ],
)
async def test_reads_an_error_as_the_package_does(
    sides: Sides, status: int, reason: str, meaning: type[Outcome]
) -> None:
    """The package hands on status and reason; what they mean is left to its caller."""
    body = json.dumps({"reason": reason}).encode()
    sides.server.reply = lambda request: Reply(status, body, headers=((b"apns-id", request.headers[b"apns-id"]),))

    outcome = await sides.ours(SHOWN)
    result = await sides.theirs({"aps": ALERT})

    assert (result.status, result.description) == (str(status), reason)
    assert isinstance(outcome, meaning)
    if status != 410:  # said in the words that Appwrite's clients know
        assert outcome.reason == f"APNs answered {result.status} {result.description}"  # type: ignore[union-attr]
