"""APNs' adapter keeps the contract; and what only APNs has: provider tokens, one stream at first, its simulator."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import h2.errors
import jwt
import pytest
import uvloop
from cryptography.hazmat.primitives.asymmetric import ec

from shared.domain.outcome import Accepted, AccountFault, DeadAddress, Outcome, Refused, Retry, Unknown
from shared.providers.contract import Account, SendRequest
from shared.providers.http import HttpTransport
from shared.providers.push.apns import PRODUCTION, SANDBOX, ApnsAdapter
from shared.simulator.simulator import Simulator
from tests.contract.apns_wire import NOON, ApnsWire, error, running_wire, token_of
from tests.contract.certificates import Certificates
from tests.contract.http2_server import Answer as HttpAnswer
from tests.contract.http2_server import GoAway, Held, ResetStream
from tests.contract.suite import AdapterContract, Answer, collect


@pytest.fixture(scope="session")
def signing_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


@pytest.fixture
async def wire(certificates: Certificates, signing_key: ec.EllipticCurvePrivateKey) -> AsyncIterator[ApnsWire]:
    async with running_wire(certificates, signing_key) as wire:
        yield wire


UNREGISTERED = Answer("Unregistered", error(410, "Unregistered", timestamp=1_629_000_000_000), DeadAddress)


def _told(status: int, reason: str, outcome: type[Outcome], *more: float | str | None) -> Answer:
    return Answer(reason, error(status, reason), outcome, *more)  # type: ignore[arg-type]  # seconds and scope


class TestApnsContract(AdapterContract):
    refusal = UNREGISTERED
    answers: ClassVar = (
        _told(400, "BadDeviceToken", DeadAddress),
        _told(400, "DeviceTokenNotForTopic", Refused),
        *(
            _told(400, reason, Refused)
            for reason in (
                "MissingDeviceToken",
                "BadCollapseId",
                "BadExpirationDate",
                "BadMessageId",
                "BadPriority",
                "DuplicateHeaders",
                "InvalidPushType",
                "PayloadEmpty",
            )
        ),
        _told(400, "BadTopic", AccountFault),
        _told(400, "MissingTopic", AccountFault),
        _told(400, "TopicDisallowed", AccountFault),
        _told(400, "IdleTimeout", Retry),
        *(
            _told(403, reason, AccountFault)
            for reason in (
                "BadCertificate",
                "BadCertificateEnvironment",
                "BadEnvironmentKeyIdInToken",
                "BadEnvironmentKeyInToken",
                "ExpiredProviderToken",  # of one just made
                "Forbidden",
                "InvalidProviderToken",
                "MissingProviderToken",
                "UnrelatedKeyIdInToken",
            )
        ),
        _told(404, "BadPath", Refused),
        _told(405, "MethodNotAllowed", Refused),
        UNREGISTERED,
        _told(410, "ExpiredToken", DeadAddress),
        _told(413, "PayloadTooLarge", Refused),
        _told(429, "TooManyRequests", Retry),
        _told(429, "TooManyProviderTokenUpdates", Retry, 300.0, "provider"),
        _told(500, "InternalServerError", Retry, 900.0),
        _told(503, "ServiceUnavailable", Retry, 900.0, "provider"),
        _told(503, "Shutdown", Retry),
        Answer("told to wait", replace(error(503, "Shutdown"), headers=(("retry-after", "7"),)), Retry, 7.0),
        Answer("unheard-of reason", error(400, "BadMood"), Refused),
        Answer("no reason", HttpAnswer(400, b'["reason"]'), Refused),
        Answer("refused, nested", HttpAnswer(400, b"[" * 60_000), Refused),
        Answer("not APNs", HttpAnswer(404, b"<html>nothing here</html>"), AccountFault),
        Answer("moved", HttpAnswer(301, b"", (("location", "https://127.0.0.1:1/"),)), AccountFault),
        Answer("gateway", HttpAnswer(502, b"<html>bad gateway</html>"), Unknown),
        Answer("captive portal", HttpAnswer(200, b"<html>welcome</html>"), Unknown),
        Answer("accepted, in other words", HttpAnswer(202), Unknown),
        Answer("refused stream", ResetStream(h2.errors.ErrorCodes.REFUSED_STREAM), Retry, None, "provider"),
        Answer("reset stream", ResetStream(), Unknown),
    )
    hostile_contents = (
        {"title": '"},"alert":"other"},"x":"', "body": "\r\n\0"},
        {"title": "\u2028{{}}%s\\\\", "body": "]]}}", "data": {"key": "}}"}},
        {"title": "x", "tag": "a\r\napns-topic: com.example.other"},
        {"title": "x", "tag": " \0ü"},
    )
    hostile_identifiers = (
        "",
        "aa/../bb",
        "aa?b#c",
        "aa\r\nx-header: 1",
        "\0",
        "aa%0d%0a",
        "ünï",
        "\uff11\uff12",
        "a" * 201,
    )
    beyond_capacity = 50
    oversize: ClassVar = {"title": "x", "body": "é" * 2048}


async def test_sends_what_apple_asks_for(wire: ApnsWire) -> None:
    (outcome,) = await wire.send(wire.requests(1))

    ((token, request),) = wire.taken
    headers = request.headers
    assert headers[":path"] == f"/3/device/{token}"
    assert headers["apns-topic"] == "com.example.app"
    assert (headers["apns-push-type"], headers["apns-priority"]) == ("alert", "10")
    assert headers["apns-expiration"] == "4000000000"
    assert headers["apns-collapse-id"] == wire.request(0).delivery_id
    assert headers["apns-id"] == str(uuid.UUID(headers["apns-id"]))
    assert outcome == Accepted(headers["apns-id"])


@pytest.mark.parametrize(
    ("options", "origin"), [({}, PRODUCTION), ({"sandbox": False}, PRODUCTION), ({"sandbox": True}, SANDBOX)]
)
def test_the_environment_is_an_option(wire: ApnsWire, options: dict[str, bool], origin: str) -> None:
    adapter = wire.make_adapter("", replace(wire.sender, options=options))

    assert adapter._origin == origin


# Provider tokens


async def test_signs_its_token(wire: ApnsWire, signing_key: ec.EllipticCurvePrivateKey) -> None:
    await wire.send(wire.requests(1))

    token = token_of(wire.server.received[0])
    assert jwt.get_unverified_header(token) == {"alg": "ES256", "kid": "ABC123DEFG"}
    claims = jwt.decode(token, signing_key.public_key(), algorithms=["ES256"], options={"verify_iat": False})
    assert claims == {"iss": "DEF123GHIJ", "iat": int(NOON)}


async def test_a_key_has_one_token_in_all_workers_and_accounts(wire: ApnsWire) -> None:
    """Apple counts changes of a key's token, not who makes them."""
    other_app = replace(wire.sender, provider_seq=2, credentials={**wire.sender.credentials, "bundleId": "b.c"})
    for account in (wire.sender, replace(wire.sender, version=2), other_app):
        await collect(wire.make_adapter(wire.server.origin, account), wire.content, wire.requests(2))

    assert len({token_of(request) for request in wire.server.received}) == 1


async def test_the_token_changes_every_forty_minutes(wire: ApnsWire) -> None:
    ages = []
    for minute in range(0, 180, 5):
        wire.now = NOON + minute * 60
        await wire.send(wire.requests(1))
        claims = jwt.decode(token_of(wire.server.received[-1]), options={"verify_signature": False})
        ages.append(wire.now - claims["iat"])

    assert all(0 < age < 56 * 60 for age in ages)
    assert len({token_of(request) for request in wire.server.received}) == 6


async def test_a_token_first_used_late_in_its_period_is_used_for_twenty_minutes(wire: ApnsWire) -> None:
    for minute in (38, 42, 54, 59):
        wire.now = NOON + minute * 60
        await wire.send(wire.requests(1))

    tokens = [token_of(request) for request in wire.server.received]
    assert tokens[0] == tokens[1] == tokens[2] != tokens[3]


async def test_a_token_that_ends_within_a_batch_is_renewed_once(wire: ApnsWire) -> None:
    """Our clock is slow: what is 25 minutes old here is an hour old there."""
    wire.now = NOON + 25 * 60
    await wire.send(wire.requests(1))
    wire.stale_tokens.add(token_of(wire.server.received[0]))

    outcomes = await wire.send(wire.requests(20))
    arrived = len(wire.server.received)
    again = await wire.send(wire.requests(1))

    assert {type(outcome) for outcome in [*outcomes, *again]} == {Accepted}
    assert len({token_of(request) for request in wire.server.received}) == 2
    assert len(wire.server.received) == arrived + 1, "the expired one was tried again"


async def test_a_young_token_that_apple_calls_expired_is_a_matter_of_clocks(wire: ApnsWire) -> None:
    wire.now = NOON + 10 * 60
    await wire.send(wire.requests(1))
    wire.stale_tokens.add(token_of(wire.server.received[0]))

    outcomes = await wire.send(wire.requests(2))

    assert ["clock" in outcome.reason for outcome in outcomes if isinstance(outcome, AccountFault)] == [True] * 2


@pytest.mark.parametrize(
    ("credentials", "word"),
    [
        ({"authKey": None}, "authKey"),
        ({"authKey": "-----BEGIN PRIVATE KEY-----\nMIGT\n-----END PRIVATE KEY-----"}, "PEM"),
        ({"authKeyId": ""}, "authKeyId"),
        ({"authKeyId": "x" * 101}, "authKeyId"),
        ({"teamId": "x" * 101}, "teamId"),
        ({"teamId": 7}, "teamId"),
        ({"bundleId": "com.example\r\nx-header: 1"}, "bundleId"),
    ],
)
async def test_credentials_that_cannot_work_are_told(wire: ApnsWire, credentials: dict[str, object], word: str) -> None:
    account = Account(1, 1, {**wire.sender.credentials, **credentials})

    outcomes = await collect(wire.make_adapter(wire.server.origin, account), wire.content, wire.requests(2))

    assert [word in outcome.reason for outcome in outcomes if isinstance(outcome, AccountFault)] == [True] * 2
    assert wire.server.received == []


# Streams


async def test_one_stream_until_apple_has_taken_a_push(wire: ApnsWire) -> None:
    """The server ends a connection that has more of them."""
    wire.server.max_streams, wire.server.later_streams = 1, 1000
    released = asyncio.Event()
    requests = wire.requests(300)
    wire.answer(requests[0].identifier, Held(HttpAnswer(200), released))

    sending = asyncio.create_task(wire.send(requests))
    await wire.server.arrival(1)
    await asyncio.sleep(0.05)  # others would have arrived meanwhile
    assert len(wire.server.received) == 1
    released.set()

    assert {type(outcome) for outcome in await sending} == {Accepted}
    assert wire.server.connections == 1


async def test_streams_above_a_goaway_were_not_taken(wire: ApnsWire) -> None:
    requests = wire.requests(3)
    wire.answer(requests[1].identifier, GoAway())

    first, second, third = await wire.send(requests)

    assert isinstance(first, Accepted)
    assert isinstance(second, Retry)
    assert isinstance(third, Retry)


async def test_signing_keys_do_not_share_a_connection(wire: ApnsWire) -> None:
    other = replace(wire.sender, credentials={**wire.sender.credentials, "authKeyId": "OTHERKEY00"})

    await wire.send(wire.requests(2))
    await collect(wire.make_adapter(wire.server.origin, other), wire.content, wire.requests(2))

    assert [request.connection for request in wire.server.received] == [0, 0, 1, 1]


async def test_works_in_a_workers_event_loop(
    certificates: Certificates, signing_key: ec.EllipticCurvePrivateKey
) -> None:
    async def story() -> None:
        async with running_wire(certificates, signing_key) as wire:
            wire.answer(wire.identifier(7), UNREGISTERED.reply)
            outcomes = await wire.send(wire.requests(300))
            assert [number for number, outcome in enumerate(outcomes) if not isinstance(outcome, Accepted)] == [7]

    await asyncio.to_thread(uvloop.run, story())


# The simulator


async def test_delivers_to_the_simulator(tmp_path: Path) -> None:
    """300 of them: it ends the connection of whoever sends a second before the first was taken."""
    content = replace(ApnsWire.content, data={**ApnsWire.content.data, "badge": 3, "data": {"order": 7}})
    async with Simulator.running(tmp_path) as simulator:
        transport = HttpTransport(timeout_seconds=5, ca_file=simulator.ca_file)
        account = Account(1, 1, simulator.apns.credentials())
        adapter = ApnsAdapter(account, transport=transport, endpoint=simulator.apns_endpoint)
        requests = [SendRequest(f"7-{number}", f"{number:064x}") for number in range(300)]
        dead = SendRequest("7-300", "a5550190")

        outcomes = await collect(adapter, content, [*requests, dead])

        assert {type(outcome) for outcome in outcomes[:300]} == {Accepted}
        assert isinstance(outcomes[300], DeadAddress)
        tally = simulator.record.tallies["apns"]
        assert (tally.recipients, tally.copies, tally.outcomes) == (300, 0, {"accepted": 300, "dead_address": 1})
        line = simulator.record.read(1)
        assert line is not None
        assert (line["title"], line["delivery"], line["payload"]["order"]) == ("Hello", "7-0", 7)
        await transport.aclose()


async def test_a_server_that_shuts_down_again_and_again_costs_nobody_a_push(tmp_path: Path) -> None:
    """What is above the last stream of a GOAWAY is tried again, and nothing below it."""
    async with Simulator.running(tmp_path, faults={"apns": {"goaway_after": 100, "latency_ms": 5}}) as simulator:
        transport = HttpTransport(timeout_seconds=5, ca_file=simulator.ca_file)
        account = Account(1, 1, simulator.apns.credentials())
        adapter = ApnsAdapter(account, transport=transport, endpoint=simulator.apns_endpoint)
        waiting = [SendRequest(f"7-{number}", f"{number:064x}") for number in range(300)]
        while waiting:
            outcomes = await collect(adapter, ApnsWire.content, waiting)
            assert {type(outcome) for outcome in outcomes} <= {Accepted, Retry}
            pairs = zip(waiting, outcomes, strict=True)
            waiting = [request for request, outcome in pairs if isinstance(outcome, Retry)]

        tally = simulator.record.tallies["apns"]
        assert (tally.captured, tally.copies) == (300, 0)
        await transport.aclose()
