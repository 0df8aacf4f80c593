"""Servers that cannot be reached, or that nobody can talk to: on SMTP, on HTTP/1 and on HTTP/2."""

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator

import pycurl
import pytest
import pytest_asyncio

from shared.errors import ConfigurationError
from shared.simulator.simulator import Ports, Simulator
from tests.integration.simulator.clients import FcmClient, http
from tests.integration.simulator.conftest import Ask

ON_ITS_OWN = "sendgrid"


@pytest_asyncio.fixture(loop_scope="session")
async def apart(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Simulator]:
    """A simulator where SendGrid has a port of its own."""
    async with Simulator.running(tmp_path_factory.mktemp("apart"), ports=Ports(sendgrid=0)) as simulator:
        yield simulator


def port_of(simulator: Simulator, provider: str) -> int:
    where = simulator.smtp_endpoint if provider == "smtp" else simulator.endpoint_of(provider)
    return int(where.rpartition(":")[2])


def reads(port: int, *, seconds: float = 0.3) -> bytes | None:
    """What a server says by itself within this time; None where it does not let us in, or throws us out."""
    said, deadline = b"", time.monotonic() + seconds
    try:
        with socket.create_connection(("127.0.0.1", port), 5) as client:
            while (left := deadline - time.monotonic()) > 0 and len(said) < 1024:
                client.settimeout(left)
                if not (data := client.recv(65_536)):
                    return None
                said += data
    except TimeoutError:
        return said
    except ConnectionError:
        return None
    return said


def ask_sendgrid(simulator: Simulator) -> int:
    return http("GET", f"{simulator.endpoint_of('sendgrid')}/v3/mail/send", ca_file=simulator.ca_file).status


@pytest.mark.parametrize("provider", ["smtp", "fcm", ON_ITS_OWN])
async def test_a_port_refuses_while_it_is_told_to(apart: Simulator, provider: str) -> None:
    port = port_of(apart, provider)

    apart.faults.set(provider, opening="refused")
    with pytest.raises(ConnectionRefusedError):
        await asyncio.to_thread(socket.create_connection, ("127.0.0.1", port), 5)

    apart.faults.set(provider)
    (await asyncio.to_thread(socket.create_connection, ("127.0.0.1", port), 5)).close()
    assert port_of(apart, provider) == port


@pytest.mark.parametrize("provider", ["smtp", "apns", ON_ITS_OWN])
@pytest.mark.parametrize(
    ("opening", "first"), [("silent", b""), ("reset", None), ("garbage", b"\x80\x81"), ("endless", b"220-And")]
)
async def test_a_port_opens_badly(apart: Simulator, provider: str, opening: str, first: bytes | None) -> None:
    apart.faults.set(provider, opening=opening)

    said = await asyncio.to_thread(reads, port_of(apart, provider))

    assert (said if said is None else said[: len(first or b"")]) == first
    if opening == "silent":
        assert said == b""


@pytest.mark.parametrize(("provider", "first"), [("smtp", b"2"), ("fcm", b"\x16")])
async def test_a_greeting_or_a_handshake_drips(apart: Simulator, provider: str, first: bytes) -> None:
    apart.faults.set(provider, opening="dripping")

    assert await asyncio.to_thread(reads, port_of(apart, provider)) == first


async def test_a_slow_opening_serves_in_the_end(apart: Simulator) -> None:
    apart.faults.set(ON_ITS_OWN, opening="slow", slow_seconds=0.3)
    began = time.monotonic()

    status = await asyncio.to_thread(ask_sendgrid, apart)

    assert status == 405
    assert time.monotonic() - began > 0.3


async def test_trouble_at_one_port_is_none_at_the_others(apart: Simulator) -> None:
    apart.faults.set(ON_ITS_OWN, opening="silent")

    answer = await asyncio.to_thread(http, "GET", f"{apart.https_endpoint}/v3/mail/send", ca_file=apart.ca_file)

    assert answer.status == 405
    assert apart.endpoint_of("mailgun") == apart.https_endpoint


async def test_a_connection_that_was_open_is_cut(apart: Simulator) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port_of(apart, "smtp"))
    assert (await reader.readline()).startswith(b"220 ")

    apart.faults.set("smtp", opening="silent")

    async with asyncio.timeout(5):
        try:
            assert await reader.read() == b""
        except ConnectionResetError:
            assert reader.exception() is not None
    writer.close()


def test_whoever_shares_a_port_cannot_open_badly(simulator: Simulator) -> None:
    with pytest.raises(ConfigurationError, match="--vonage-port gives it its own"):
        simulator.faults.set("vonage", opening="refused")


async def test_a_field_that_does_not_exist_is_answered_with_those_that_do(simulator: Simulator, inbox: Ask) -> None:
    answer = await inbox("PUT", "/faults", json.dumps({"smtp": {"foo": 1, "dead_rate": 2}}).encode())

    complaint = answer.json["error"]["message"]
    assert answer.status == 400
    assert "there is no foo; there are recipients, opening, latency_ms" in complaint
    assert "starttls" in complaint
    assert "dead_rate: Input should be less than or equal to 1" in complaint
    assert "password" in complaint


NO_REPLIES = pytest.mark.parametrize(
    ("wishes", "learnt"),
    [
        ({"silent_rate": 1, "silent_as": "cut"}, "at once"),
        ({"dropped_rate": 1, "dropped_as": "cut"}, "at once"),
        ({"dropped_rate": 1, "dropped_as": "garbage"}, "somehow"),  # some clients hang up, some wait for better
        ({"dropped_rate": 1, "dropped_as": "endless"}, "never"),
        ({"slow_rate": 1, "slow_as": "bytes"}, "never"),
    ],
)


@NO_REPLIES
@pytest.mark.parametrize("version", [pycurl.CURL_HTTP_VERSION_2_0, pycurl.CURL_HTTP_VERSION_1_1])
async def test_http_replies_that_are_none(
    simulator: Simulator, fcm: FcmClient, wishes: dict[str, object], learnt: str, version: int
) -> None:
    """`learnt`: when the client knows that nothing will come; never: it has to give up."""
    simulator.faults.set("fcm", **wishes)

    with pytest.raises(pycurl.error) as failed:
        await asyncio.to_thread(fcm.send, {"token": "device"}, timeout=1.5, version=version)

    if learnt != "somehow":
        assert (failed.value.args[0] == pycurl.E_OPERATION_TIMEDOUT) == (learnt == "never")
    is_taken = "silent_rate" not in wishes
    assert [entry.recipient for entry in simulator.record.entries()] == ["device"] * is_taken


async def test_trouble_concerns_the_recipients_it_names(simulator: Simulator, fcm: FcmClient) -> None:
    simulator.faults.set("fcm", recipients="acme-*", throttle_rate=1, latency_ms=30_000)

    healthy = await asyncio.to_thread(fcm.send, {"token": "other-1"})
    simulator.faults.set("fcm", recipients="acme-*", throttle_rate=1)
    troubled = await asyncio.to_thread(fcm.send, {"token": "acme-1"})

    assert healthy.status == 200
    assert troubled.status == 429


@pytest.mark.parametrize(
    ("wishes", "after_the_dot"),
    [
        ({"silent_rate": 1, "silent_as": "cut"}, None),
        ({"dropped_rate": 1, "dropped_as": "garbage"}, b"\x80\x81\x82"),
        ({"dropped_rate": 1, "dropped_as": "endless"}, b"250-And there is more"),
        ({"slow_rate": 1, "slow_as": "bytes"}, b"2"),
    ],
)
async def test_smtp_replies_that_are_none(
    simulator: Simulator, wishes: dict[str, object], after_the_dot: bytes | None
) -> None:
    simulator.faults.set("smtp", recipients="*@acme.example", **wishes)

    def send(domain: str) -> bytes | None:
        with socket.create_connection(("127.0.0.1", port_of(simulator, "smtp")), 5) as client:
            client.recv(1024)
            for line in ("HELO me", "MAIL FROM:<a@b.example>", f"RCPT TO:<one@{domain}>", "DATA"):
                client.sendall(f"{line}\r\n".encode())
                client.recv(1024)
            client.sendall(b"Subject: x\r\n\r\nx\r\n.\r\n")
            try:
                return client.recv(65_536)
            except ConnectionResetError:
                return None

    said = await asyncio.to_thread(send, "acme.example")

    assert (said if said is None else said[: len(after_the_dot or b"")]) == after_the_dot
    assert (await asyncio.to_thread(send, "other.example") or b"").startswith(b"250 2.0.0 Ok")
