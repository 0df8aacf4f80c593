"""Our pushes through FCM beside those of Google's own package, firebase-admin 7.7.0."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from typing import Any
from urllib.parse import parse_qs

import firebase_admin
import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from firebase_admin import credentials, exceptions, messaging

from shared.domain.outcome import Accepted, AccountFault, DeadAddress, Outcome, Refused, Retry
from shared.domain.status import Channel
from shared.providers.contract import Account, Content, SendRequest
from shared.providers.http import HttpTransport
from shared.providers.push.fcm import FcmAdapter
from shared.providers.tokens import InMemoryTokenStore
from shared.simulator.wire.exchange import Reply, Request
from tests.contract.certificates import Certificates
from tests.contract.differential.capture import Capture, capturing
from tests.contract.suite import collect

# the package wants `fid` instead of `token`, which targets do not have yet
pytestmark = pytest.mark.filterwarnings("ignore:.*token.*:DeprecationWarning")

TOKEN = "bk3RNwTe3H0:CI2k_HHwgIpoDKCIZvvDMExUdFQ3P1"
NAME = "projects/demo/messages/0:1500415314455276%31bd1c9631bd1c96"

OURS = {"host", "user-agent", "accept"}
"""Headers that say who asks and where."""

THEIRS = {
    *OURS,
    "accept-encoding",  # an answer is a few hundred bytes
    "connection",  # of HTTP/1.1, which the blocking half of the package speaks
    "x-firebase-client",  # who asks, again
    "x-goog-api-client",  # and again
    "x-goog-api-format-version",  # of error bodies; 2 is the only one that v1 has
}
"""Headers that only the package sends, or with another value."""


class Sides:
    """Both, and what they ask: `pushes` leaves out what is asked of the token endpoint."""

    def __init__(self, server: Capture, certificates: Certificates, key: rsa.RSAPrivateKey) -> None:
        self.server = server
        self.public_key = key.public_key()
        self._ca_file = certificates.ca_file
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        self.service_account = {
            "type": "service_account",
            "project_id": "demo",
            "client_email": "sender@demo.iam.gserviceaccount.com",
            "private_key": pem.decode(),
            "private_key_id": "0" * 40,
            "token_uri": f"https://{server.host}/token",
        }

    @property
    def pushes(self) -> list[Request]:
        return [request for request in self.server.requests if request.path != "/token"]

    @property
    def grants(self) -> list[Request]:
        return [request for request in self.server.requests if request.path == "/token"]

    async def ours(self, data: dict[str, Any]) -> Outcome:
        transport = HttpTransport(timeout_seconds=5, ca_file=self._ca_file)
        adapter = FcmAdapter(
            Account(1, 1, {"serviceAccountJSON": self.service_account}),
            transport=transport,
            token_store=InMemoryTokenStore(),
            endpoint=f"https://{self.server.host}",
        )
        content = Content(1, Channel.PUSH, data, time.time() + 3600.5)
        (outcome,) = await collect(adapter, content, [SendRequest("1700000000000-7", TOKEN)])
        await transport.aclose()
        return outcome

    async def theirs(self, message: messaging.Message) -> str:
        def send() -> Any:
            app = firebase_admin.initialize_app(credentials.Certificate(self.service_account), name="differential")
            try:
                return messaging.send(message, app=app)
            finally:
                messaging._get_messaging_service(app)._client.session.close()
                firebase_admin.delete_app(app)

        name: str = await asyncio.to_thread(send)
        return name


@pytest.fixture(scope="session")
def key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


@pytest.fixture
async def sides(
    certificates: Certificates, key: rsa.RSAPrivateKey, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Sides]:
    """Where to send to is a constant of the package; for tokens it goes where the service account says."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificates.ca_file))
    async with capturing(answering(200, {"name": NAME}), tls=certificates.server_context("h2", "http/1.1")) as server:
        address = f"https://{server.host}/v1/projects/{{0}}/messages:send"
        monkeypatch.setattr(messaging._MessagingService, "FCM_URL", address)
        yield Sides(server, certificates, key)


def answering(status: int, document: dict[str, Any]) -> Callable[[Request], Reply]:
    def answer(request: Request) -> Reply:
        if request.path == "/token":
            token = {"access_token": "ya29.c", "expires_in": 3599, "token_type": "Bearer"}
            return Reply(200, json.dumps(token).encode())
        return Reply(status, json.dumps(document).encode())

    return answer


def headers_of(request: Request, names: set[str]) -> dict[str, str]:
    wanted = {name.decode() for name in request.headers if not name.startswith(b":")} - names - {"content-length"}
    return {name: request.header(name.encode()) for name in wanted}


def message_of(request: Request) -> dict[str, Any]:
    """Canonical: FCM's enumerations are read in either case, and expiry counts from each side's own moment."""
    body = json.loads(request.body)
    assert body.keys() - {"validate_only"} == {"message"}
    message: dict[str, Any] = body["message"]
    message["android"]["priority"] = message["android"]["priority"].upper()
    assert abs(int(message["apns"]["headers"].pop("apns-expiration")) - time.time() - 3600) < 60
    return message


def fill(data: dict[str, Any]) -> messaging.Message:
    """What a developer would write with the package to say the same as our message."""
    shown = {name: data.get(name) for name in ("icon", "color", "tag")}
    link = data.get("action") if str(data.get("action")).startswith("https://") else None
    image = data.get("image", {}).get("url")
    is_normal = data.get("priority") == "normal"
    sound: Any = data.get("sound")
    if data.get("critical"):
        sound = messaging.CriticalSound(sound or "default", critical=True, volume=1.0)
    aps = messaging.Aps(
        badge=data.get("badge"),
        sound=sound,
        category=data.get("action"),
        content_available=data.get("contentAvailable"),
        mutable_content=True if image else None,
        custom_data={"interruption-level": "critical"} if data.get("critical") else None,
    )
    headers = {
        "apns-expiration": str(int(time.time()) + 3600),
        "apns-priority": "5" if is_normal else "10",
        "apns-collapse-id": data["tag"],
    }
    return messaging.Message(
        token=TOKEN,
        notification=messaging.Notification(data["title"], data["body"], image),
        data=data.get("data"),
        android=messaging.AndroidConfig(
            priority="normal" if is_normal else "high",
            ttl=3600,
            notification=messaging.AndroidNotification(
                **shown,
                sound=data.get("sound"),
                click_action=data.get("action"),
                notification_count=data.get("badge"),
                priority="max" if data.get("critical") else None,
            ),
        ),
        apns=messaging.APNSConfig(
            headers=headers, payload=messaging.APNSPayload(aps) if data.keys() & APPLES_OWN else None
        ),
        webpush=messaging.WebpushConfig(
            headers={"Urgency": "normal" if is_normal else "high", "TTL": "3600"},
            notification=messaging.WebpushNotification(icon=data.get("icon"), tag=data["tag"]),
            fcm_options=messaging.WebpushFCMOptions(link) if link else None,
        ),
    )


APPLES_OWN = {"action", "badge", "contentAvailable", "critical", "image", "sound"}
SHOWN = {"title": "Grüße", "body": "Du & ich 😀\r\n", "tag": "offer", "priority": "high"}


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"priority": "normal"},
        {"data": {"order": "7", "note": "größer"}},
        {"action": "OPEN"},
        {"action": "https://example.com/offer"},
        {"icon": "bell", "color": "#ff0000", "sound": "ping"},
        {"badge": 0},
        {"badge": 3, "contentAvailable": True},
        {"critical": True},
        {"critical": True, "sound": "ping"},
        {"image": {"bucketId": "b", "fileId": "f", "url": "https://t.example/i.png"}},
    ],
    ids=str,
)
async def test_asks_as_the_package_does(sides: Sides, more: dict[str, Any]) -> None:
    data = {**SHOWN, **more}
    outcome = await sides.ours(data)
    name = await sides.theirs(fill(data))

    ours, theirs = sides.pushes
    assert (ours.method, ours.path, ours.query) == (theirs.method, theirs.path, theirs.query)
    assert message_of(ours) == message_of(theirs)
    assert headers_of(ours, OURS) == {
        "authorization": theirs.header(b"authorization"),
        "content-type": "application/json; charset=UTF-8",  # the package leaves the charset to JSON
    }
    assert headers_of(theirs, THEIRS).keys() == headers_of(ours, OURS).keys()
    assert name == NAME
    assert outcome == Accepted(NAME.rpartition("/")[2])


async def test_asks_for_a_token_as_the_package_does(sides: Sides) -> None:
    await sides.ours(SHOWN)
    await sides.theirs(fill(SHOWN))

    ours, theirs = sides.grants
    forms = [parse_qs(request.body.decode()) for request in (ours, theirs)]
    assert (ours.method, ours.path) == (theirs.method, theirs.path)
    assert ours.header(b"content-type") == theirs.header(b"content-type") == "application/x-www-form-urlencoded"
    assert forms[0]["grant_type"] == forms[1]["grant_type"]
    our_claims, their_claims = (
        jwt.decode(form["assertion"][0], sides.public_key, algorithms=["RS256"], options={"verify_aud": False})
        for form in forms
    )
    assert our_claims.keys() == their_claims.keys()
    assert our_claims["iss"] == their_claims["iss"]
    assert our_claims["exp"] - our_claims["iat"] == their_claims["exp"] - their_claims["iat"] == 3600
    # we name the account's own token_uri, the package a constant: what Google puts there is the same
    assert our_claims["aud"] == sides.service_account["token_uri"]
    assert their_claims["aud"] == "https://oauth2.googleapis.com/token"
    # the package asks for all that Firebase has; messages need one thing
    assert our_claims["scope"] == "https://www.googleapis.com/auth/firebase.messaging"
    assert "https://www.googleapis.com/auth/cloud-platform" in their_claims["scope"].split()


@pytest.mark.parametrize(
    ("answer", "error", "meaning"),
    [
        ((404, "NOT_FOUND", "UNREGISTERED"), messaging.UnregisteredError, DeadAddress),
        ((403, "PERMISSION_DENIED", "SENDER_ID_MISMATCH"), messaging.SenderIdMismatchError, DeadAddress),
        ((401, "UNAUTHENTICATED", "THIRD_PARTY_AUTH_ERROR"), messaging.ThirdPartyAuthError, AccountFault),
        ((429, "RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED"), messaging.QuotaExceededError, Retry),
        ((400, "INVALID_ARGUMENT", "INVALID_ARGUMENT"), exceptions.InvalidArgumentError, Refused),
        ((403, "PERMISSION_DENIED", ""), exceptions.PermissionDeniedError, AccountFault),
    ],
)
async def test_reads_an_error_as_the_package_does(
    sides: Sides, answer: tuple[int, str, str], error: type[Exception], meaning: type[Outcome]
) -> None:
    status, state, code = answer
    detail = {"@type": "type.googleapis.com/google.firebase.fcm.v1.FcmError", "errorCode": code}
    document = {"code": status, "message": "what FCM says", "status": state, "details": [detail] if code else []}
    sides.server.reply = answering(status, {"error": document})

    outcome = await sides.ours(SHOWN)
    with pytest.raises(error):
        await sides.theirs(fill(SHOWN))

    assert isinstance(outcome, meaning)
