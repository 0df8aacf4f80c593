"""APNs' other side for the contract: answers as a test says, knows one signing key, shows what it was sent."""

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from shared.domain.status import Channel
from shared.providers.contract import Account, Content
from shared.providers.push.apns import ApnsAdapter
from tests.contract.certificates import Certificates
from tests.contract.http2_server import Answer, Received
from tests.contract.http_wire import FAR_FUTURE, HttpWire

NOON = 1_800_000_000.0
assert NOON % 2400 == 0, "tests count from the start of a period"

CREDENTIALS = {"authKeyId": "ABC123DEFG", "teamId": "DEF123GHIJ", "bundleId": "com.example.app"}

HEADERS = {
    ":method",
    ":scheme",
    ":authority",
    ":path",
    "apns-collapse-id",
    "apns-expiration",
    "apns-id",
    "apns-priority",
    "apns-push-type",
    "apns-topic",
    "authorization",
    "content-length",
    "content-type",
    "user-agent",
}


class ApnsWire(HttpWire):
    content = Content(1, Channel.PUSH, {"title": "Hello", "body": "Du & ich", "priority": "high"}, FAR_FUTURE)

    def __init__(self, certificates: Certificates, key: ec.EllipticCurvePrivateKey) -> None:
        super().__init__(certificates)
        self.now = NOON + 1200
        self.stale_tokens: set[str] = set()
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        self.sender = Account(1, 1, {**CREDENTIALS, "authKey": pem.decode()})

    def make_adapter(self, origin: str, account: Account | None = None) -> ApnsAdapter:
        return ApnsAdapter(account or self.sender, transport=self.transport, endpoint=origin, now=lambda: self.now)

    def identifier(self, number: int) -> str:
        return f"{number:064x}"

    def recipients(self, request: Received) -> list[str]:
        return [request.path.removeprefix("/3/device/")]

    def respond(self, request: Received, recipients: Sequence[str]) -> Any:
        if token_of(request) in self.stale_tokens:
            return error(403, "ExpiredProviderToken")
        return super().respond(request, recipients)

    def acceptance(self, request: Received, _recipients: Sequence[str]) -> Answer:
        return Answer(200, b"", (("apns-id", request.headers["apns-id"].upper()),))

    def credentials_refused(self) -> Answer:
        return error(403, "InvalidProviderToken")

    def identities(self) -> list[str]:
        return [request.headers["apns-id"] + request.headers["apns-collapse-id"] for _, request in self.taken]

    def check_unharmed(self, data: dict[str, Any]) -> None:
        for _, request in self.taken:
            assert request.headers.keys() == HEADERS
            body = json.loads(request.body)
            assert body.keys() == {"aps", *data.get("data", {})}
            assert body["aps"]["alert"]["title"] == data["title"]


def token_of(request: Received) -> str:
    return request.headers["authorization"].removeprefix("bearer ")


def error(status: int, reason: str, **more: object) -> Answer:
    return Answer(status, json.dumps({"reason": reason, **more}).encode())


@asynccontextmanager
async def running_wire(certificates: Certificates, key: ec.EllipticCurvePrivateKey) -> AsyncIterator[ApnsWire]:
    wire = ApnsWire(certificates, key)
    async with wire.server:
        wire.open()
        yield wire
        await wire.close_adapter()
