"""FCM's adapter keeps the contract; and what only FCM has: access tokens, streams, its simulator."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import ClassVar
from urllib.parse import parse_qs

import h2.errors
import jwt
import pytest
import uvloop
from cryptography.hazmat.primitives.asymmetric import rsa

from shared.domain.outcome import Accepted, AccountFault, DeadAddress, Refused, Retry, Unknown
from shared.providers.contract import Account
from shared.providers.http import HttpTransport
from shared.providers.push.fcm import FcmAdapter
from shared.providers.tokens import InMemoryTokenStore
from shared.simulator.simulator import Simulator
from tests.contract.certificates import Certificates
from tests.contract.fcm_wire import TOKEN_URI, FcmWire, error, running_wire
from tests.contract.http2_server import Answer as HttpAnswer
from tests.contract.http2_server import GoAway, ResetStream
from tests.contract.suite import AdapterContract, Answer, collect


@pytest.fixture(scope="session")
def private_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


@pytest.fixture
async def wire(certificates: Certificates, private_key: rsa.RSAPrivateKey) -> AsyncIterator[FcmWire]:
    async with running_wire(certificates, private_key) as wire:
        yield wire


UNREGISTERED = Answer("unregistered", error(404, "NOT_FOUND", "UNREGISTERED"), DeadAddress)
NOT_A_TOKEN = error(
    400,
    "INVALID_ARGUMENT",
    "INVALID_ARGUMENT",
    text="The registration token is not a valid FCM registration token",
)


class TestFcmContract(AdapterContract):
    refusal = UNREGISTERED
    answers: ClassVar = (
        UNREGISTERED,
        Answer("not a token", NOT_A_TOKEN, DeadAddress),
        Answer("bad token field", error(400, "INVALID_ARGUMENT", field="message.token"), DeadAddress),
        Answer("bad field", error(400, "INVALID_ARGUMENT", field="message.android.ttl"), Refused),
        Answer("bad message", error(400, "INVALID_ARGUMENT", "INVALID_ARGUMENT"), Refused),
        Answer("third party", error(401, "UNAUTHENTICATED", "THIRD_PARTY_AUTH_ERROR"), AccountFault),
        Answer("third party, older", error(401, "UNAUTHENTICATED", "APNS_AUTH_ERROR"), AccountFault),
        Answer("always unauthenticated", error(401, "UNAUTHENTICATED"), AccountFault),
        Answer("other sender", error(403, "PERMISSION_DENIED", "SENDER_ID_MISMATCH"), DeadAddress),
        Answer("no permission", error(403, "PERMISSION_DENIED"), AccountFault),
        Answer("no such project", error(404, "NOT_FOUND"), AccountFault),
        Answer("not FCM", HttpAnswer(404, b"<html>nothing here</html>"), AccountFault),
        Answer("moved", HttpAnswer(301, b"", (("location", "https://127.0.0.1:1/"),)), AccountFault),
        Answer("too long", HttpAnswer(413, b"<html>"), Refused),
        Answer("quota", error(429, "RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED"), Retry, 60.0, "provider"),
        Answer("quota, told", error(429, "RESOURCE_EXHAUSTED", retry_after="7"), Retry, 7.0, "provider"),
        Answer("internal", error(500, "INTERNAL"), Retry, 10.0),
        Answer("unavailable", error(503, "UNAVAILABLE", "UNAVAILABLE"), Retry, 10.0, "provider"),
        Answer("unavailable, told", error(503, "UNAVAILABLE", retry_after="120"), Retry, 120.0, "provider"),
        Answer("bad gateway", HttpAnswer(502, b"<html>bad gateway</html>"), Unknown),
        Answer("gateway timeout", HttpAnswer(504, b""), Unknown),
        Answer("unheard-of 4xx", HttpAnswer(418, b"{}"), Refused),
        Answer("unheard-of 5xx", HttpAnswer(507, b"[]"), Unknown),
        Answer("accepted, unreadable", HttpAnswer(200, b"<html>captive portal</html>"), Unknown),
        Answer("accepted, nameless", HttpAnswer(200, b"{}"), Unknown),
        Answer("accepted, nested", HttpAnswer(200, b"[" * 60_000), Unknown),
        Answer("refused, nested", HttpAnswer(400, b"[" * 60_000), Refused),
        Answer("accepted, in other words", HttpAnswer(202, b""), Unknown),
        Answer("refused stream", ResetStream(h2.errors.ErrorCodes.REFUSED_STREAM), Retry, None, "provider"),
        Answer("reset stream", ResetStream(), Unknown),
    )
    hostile_contents = (
        {"title": '","token":"other","x":"', "body": "\r\n\0"},
        {"title": "\u2028{{}}%s\\\\", "body": "]]}}"},
    )
    hostile_identifiers = ('a","topic":"everyone', "a\r\nx-header: 1", "\0", "a/../b?c#d", "ünï")
    beyond_capacity = 250
    oversize: ClassVar = {"title": "x", "body": "é" * 2048}


async def test_signs_for_its_access_token(wire: FcmWire, private_key: rsa.RSAPrivateKey) -> None:
    await wire.send(wire.requests(1))

    form = parse_qs(wire.server.received[0].body.decode())
    assert form["grant_type"] == ["urn:ietf:params:oauth:grant-type:jwt-bearer"]
    claims = jwt.decode(form["assertion"][0], private_key.public_key(), algorithms=["RS256"], audience=TOKEN_URI)
    assert claims["iss"] == "sender@demo.iam.gserviceaccount.com"
    assert claims["scope"] == "https://www.googleapis.com/auth/firebase.messaging"
    assert claims["exp"] - claims["iat"] == 3600


async def test_one_access_token_serves_all(wire: FcmWire) -> None:
    """Batches at once, and another worker on the same store."""
    other_worker = wire.make_adapter()

    await asyncio.gather(wire.send(wire.requests(3)), wire.send(wire.requests(3)))
    await collect(other_worker, wire.content, wire.requests(3))

    assert wire.tokens_made == 1
    assert len(wire.accepted()) == 9


async def test_a_token_that_ends_within_a_batch_is_renewed_once(wire: FcmWire) -> None:
    await wire.send(wire.requests(1))
    wire.stale_tokens.add("access-1")

    outcomes = await wire.send(wire.requests(20))

    assert {type(outcome) for outcome in outcomes} == {Accepted}
    assert wire.tokens_made == 2


async def test_no_token_to_be_had_is_no_attempt(wire: FcmWire) -> None:
    wire.token_answers = [HttpAnswer(503, b"")]

    outcomes = await wire.send(wire.requests(2))

    assert [(type(outcome), outcome.scope) for outcome in outcomes if isinstance(outcome, Retry)] == [
        (Retry, "provider")
    ] * 2
    assert wire.received() == []


async def test_streams_above_a_goaway_were_not_taken(wire: FcmWire) -> None:
    requests = wire.requests(3)
    wire.answer(requests[1].identifier, GoAway())

    first, second, third = await wire.send(requests)

    assert isinstance(first, Accepted)
    assert isinstance(second, Retry)
    assert isinstance(third, Retry)


async def test_works_in_a_workers_event_loop(certificates: Certificates, private_key: rsa.RSAPrivateKey) -> None:
    async def story() -> None:
        async with running_wire(certificates, private_key) as wire:
            wire.answer(wire.identifier(7), UNREGISTERED.reply)
            outcomes = await wire.send(wire.requests(300))
            assert [number for number, outcome in enumerate(outcomes) if not isinstance(outcome, Accepted)] == [7]

    await asyncio.to_thread(uvloop.run, story())


async def test_delivers_to_the_simulator(tmp_path: Path, wire: FcmWire) -> None:
    async with Simulator.running(tmp_path) as simulator:
        transport = HttpTransport(timeout_seconds=5, ca_file=simulator.ca_file)
        account = Account(1, 1, {"serviceAccountJSON": simulator.service_account()})
        adapter = FcmAdapter(
            account, transport=transport, token_store=InMemoryTokenStore(), endpoint=simulator.fcm_endpoint
        )

        outcomes = await collect(adapter, wire.content, [*wire.requests(5), wire.request(5, "dead-5")])

        assert [type(outcome) for outcome in outcomes] == [Accepted] * 5 + [DeadAddress]
        await transport.aclose()
