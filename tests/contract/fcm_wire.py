"""FCM's other side for the contract: a token endpoint and messages:send, answering as a test says."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from shared.domain.status import Channel
from shared.providers.contract import Account, Content
from shared.providers.http import HttpTransport
from shared.providers.push.fcm import FcmAdapter
from shared.providers.tokens import InMemoryTokenStore
from tests.contract.certificates import Certificates
from tests.contract.http2_server import Act, Drip, Garbage, Hangup, Http2Server, Received, Silence
from tests.contract.http2_server import Answer as HttpAnswer
from tests.contract.patience import make_transport
from tests.contract.suite import Fault, Wire

FAR_FUTURE = 4_000_000_000.0
TOKEN_URI = "https://oauth2.googleapis.com/token"

FAULTS: dict[Fault, Act] = {
    Fault.SILENCE: Silence(),
    Fault.HANGUP: Hangup(),
    Fault.GARBAGE: Garbage(),
    Fault.HUGE: HttpAnswer(200, b"x" * 10 * 1024 * 1024),
    Fault.DRIP: Drip(),
}


class FcmWire(Wire):
    def __init__(self, certificates: Certificates, key: rsa.RSAPrivateKey) -> None:
        self.server = Http2Server(self._answer, certificates.server_context("h2"))
        self.content = Content(1, Channel.PUSH, {"title": "Hello", "body": "Du & ich", "priority": "high"}, FAR_FUTURE)
        self.token_answers: list[Act] = []  # to the next token requests; then access-1, access-2 ...
        self.tokens_made = 0
        self.stale_tokens: set[str] = set()
        self._ca_file = certificates.ca_file
        self._key = key
        self._acts: dict[str, Act] = {}
        self.store = InMemoryTokenStore()
        self.arrived = asyncio.Event()

    def open(self) -> None:
        self.transport = self._make_transport()
        self.adapter = self.make_adapter()

    def make_adapter(self, origin: str | None = None, transport: HttpTransport | None = None) -> FcmAdapter:
        pem = self._key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        service_account = {
            "project_id": "demo",
            "client_email": "sender@demo.iam.gserviceaccount.com",
            "private_key": pem.decode(),
            "token_uri": TOKEN_URI,
        }
        account = Account(1, 1, {"serviceAccountJSON": service_account})
        return FcmAdapter(
            account,
            transport=transport or self.transport,
            token_store=self.store,
            endpoint=origin or self.server.origin,
        )

    def _make_transport(self) -> HttpTransport:
        return make_transport(self._ca_file)

    def _answer(self, request: Received) -> Act:
        if request.path == "/token":
            return self._issue()
        if request.headers["authorization"].removeprefix("Bearer ") in self.stale_tokens:
            return error(401, "UNAUTHENTICATED")
        self.arrived.set()
        token = message_of(request)["token"]
        accepted = HttpAnswer(200, json.dumps({"name": f"projects/demo/messages/0:{token}"}).encode())
        return self._acts.get(token, accepted)

    def _issue(self) -> Act:
        if self.token_answers:
            return self.token_answers.pop(0)
        self.tokens_made += 1
        return HttpAnswer(200, json.dumps({"access_token": f"access-{self.tokens_made}", "expires_in": 3599}).encode())

    def identifier(self, number: int) -> str:
        return f"token{number}:APA91b"

    def answer(self, identifier: str, reply: Act) -> None:
        self._acts[identifier] = reply

    def fail(self, identifier: str, fault: Fault) -> None:
        self._acts[identifier] = FAULTS[fault]

    def received(self) -> list[Received]:
        return [request for request in self.server.received if request.path != "/token"]

    def messages(self) -> list[dict[str, Any]]:
        """Those accepted."""
        messages = [message_of(request) for request in self.received()]
        return [message for message in messages if message["token"] not in self._acts]

    def accepted(self) -> list[str]:
        return [message["token"] for message in self.messages()]

    def identities(self) -> list[str]:
        return [
            message["android"]["notification"]["tag"] + message["apns"]["headers"]["apns-collapse-id"]
            for message in self.messages()
        ]

    def refuse_credentials(self) -> None:
        self.token_answers = [HttpAnswer(400, b'{"error":"invalid_grant"}')] * 9

    def check_unharmed(self, data: dict[str, Any]) -> None:
        for message in self.messages():
            assert message.keys() <= {"token", "notification", "data", "android", "apns", "webpush"}
            assert message["notification"]["title"] == data["title"]

    async def close_adapter(self) -> None:
        await self.adapter.aclose()
        await self.transport.aclose()

    def adapter_for(self, address: tuple[str, int]) -> FcmAdapter:
        return self.make_adapter(f"https://{address[0]}:{address[1]}")


def message_of(request: Received) -> dict[str, Any]:
    body = json.loads(request.body)
    assert body.keys() == {"message"}
    message: dict[str, Any] = body["message"]
    return message


def error(status: int, name: str, code: str | None = None, *, text: str = "what FCM says", **more: Any) -> HttpAnswer:
    """An error in Google's shape. `code` is FcmError's, `field` a field violation's, `retry_after` a header."""
    details: list[dict[str, Any]] = []
    if code:
        details.append({"@type": "type.googleapis.com/google.firebase.fcm.v1.FcmError", "errorCode": code})
    if "field" in more:
        violation = {"field": more["field"], "description": text}
        details.append({"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": [violation]})
    body = {"error": {"code": status, "message": text, "status": name, "details": details}}
    headers = (("retry-after", more["retry_after"]),) if "retry_after" in more else ()
    return HttpAnswer(status, json.dumps(body).encode(), headers)


@asynccontextmanager
async def running_wire(certificates: Certificates, key: rsa.RSAPrivateKey) -> AsyncIterator[FcmWire]:
    wire = FcmWire(certificates, key)
    async with wire.server:
        wire.open()
        yield wire
        await wire.close_adapter()
