"""APNs as its clients see it: what it checks and in which order, whose token it takes, how many streams."""

import asyncio
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import jwt
import pycurl
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from shared.simulator.apns_keys import SigningKeys
from shared.simulator.simulator import Simulator
from tests.integration.simulator.clients import http
from tests.integration.simulator.http2_client import Http2Client, Stream

DEVICE = "00fc13adff785122b4ad28809a3420982341241421348097878e577c991de8f0"
APNS_ID = "EC1BF194-B3B2-424A-89A9-5A918A6E6B5D"
PAYLOAD = {"aps": {"alert": {"title": "Hello", "body": "Du & ich"}, "badge": 3}, "order": 7}
BODY = json.dumps(PAYLOAD).encode()


def sign(credentials: Mapping[str, Any], **wishes: Any) -> str:
    claims = {"iss": credentials["teamId"], "iat": wishes.get("iat", int(time.time()))}
    headers = {"kid": wishes.get("kid", credentials["authKeyId"])}
    return jwt.encode(claims, wishes.get("key", credentials["authKey"]), algorithm="ES256", headers=headers)


@dataclass(slots=True)
class Sender:
    """Pushes over one connection."""

    client: Http2Client
    token: str
    topic: str
    answers: list[Stream] = field(default_factory=list)

    def push(self, device: str = DEVICE, body: bytes = BODY, **headers: str | None) -> Stream:
        """`headers` replace the usual ones; None takes one away."""
        return self.client.ask(f"/3/device/{device}", self.headers(**headers), body)

    def headers(self, **changes: str | None) -> dict[str, str]:
        usual = {
            "authorization": f"bearer {self.token}",
            "apns_topic": self.topic,
            "apns_push_type": "alert",
            "apns_priority": "10",
        }
        wanted = {name: value for name, value in {**usual, **changes}.items() if value is not None}
        return {name.replace("_", "-"): value for name, value in wanted.items()}


Story = Callable[[Sender], Any]


async def tell(simulator: Simulator, story: Story, **wishes: Any) -> Any:
    """Run a story of blocking calls beside the simulator's loop; what it returns."""
    credentials = simulator.apns.credentials()

    def run() -> Any:
        with sender(simulator, sign(credentials, **wishes), credentials["bundleId"]) as opened:
            return story(opened)

    return await asyncio.to_thread(run)


@contextmanager
def sender(simulator: Simulator, token: str, topic: str) -> Iterator[Sender]:
    with Http2Client(simulator.apns_endpoint, simulator.ca_file) as client:
        yield Sender(client, token, topic)


@pytest.fixture
def simulator(simulator: Simulator) -> Simulator:
    """Keys whose tokens nobody has seen yet."""
    simulator.apns.keys = SigningKeys(simulator.apns.keyring)
    return simulator


def reason_of(answer: Stream) -> str:
    assert answer.data_frames == 1, "Apple puts an error into one frame"
    return str(json.loads(answer.body)["reason"])


# accepting


async def test_a_push_is_accepted_and_put_on_record(simulator: Simulator) -> None:
    wishes: dict[str, Any] = {
        "apns_id": APNS_ID,
        "apns_collapse_id": "1700000000000-7",
        "apns_expiration": "1800000000",
    }
    answer = await tell(simulator, lambda sender: sender.push(**wishes))

    assert (answer.status, answer.body, answer.data_frames) == (200, b"", 0)
    assert answer.headers == {"apns-id": APNS_ID}
    line = simulator.record.read(simulator.record.n)
    assert line is not None
    expected = {
        "provider": "apns",
        "recipient": DEVICE,
        "message": APNS_ID,
        "delivery": "1700000000000-7",
        "outcome": "accepted",
        "title": "Hello",
        "channel": "push",
        "body": "Du & ich",
        "badge": 3,
        "data": {"order": 7},
        "topic": "com.example.tidings",
        "push_type": "alert",
        "priority": "10",
        "expiration": "1800000000",
        "collapse_id": "1700000000000-7",
        "payload": PAYLOAD,
    }
    assert {name: line[name] for name in expected} == expected


async def test_an_id_is_made_for_a_push_without_one(simulator: Simulator) -> None:
    answer = await tell(simulator, lambda sender: sender.push())

    assert len(answer.headers["apns-id"]) == 36


async def test_the_sandbox_names_the_push_for_its_log(simulator: Simulator) -> None:
    simulator.faults.set("apns", sandbox=True)

    answer = await tell(simulator, lambda sender: sender.push())

    assert len(answer.headers["apns-unique-id"]) == 36


async def test_copies_are_counted_by_what_the_device_shows(simulator: Simulator) -> None:
    def story(sender: Sender) -> None:
        for collapse_id in ("1-1", "1-1", "1-2"):
            sender.push(apns_collapse_id=collapse_id)

    await tell(simulator, story)

    assert simulator.record.tallies["apns"].copies == 1


# checks


@pytest.mark.parametrize(
    ("wishes", "status", "reason"),
    [
        ({"apns_id": "7"}, 400, "BadMessageId"),
        ({"apns_topic": None}, 400, "MissingTopic"),
        ({"apns_topic": "com.example.other"}, 400, "TopicDisallowed"),
        ({"apns_collapse_id": "x" * 65}, 400, "BadCollapseId"),
        ({"apns_priority": "7"}, 400, "BadPriority"),
        ({"apns_push_type": "background"}, 400, "BadPriority"),
        ({"apns_push_type": "loud"}, 400, "InvalidPushType"),
        ({"apns_expiration": "tomorrow"}, 400, "BadExpirationDate"),
        ({"device": ""}, 400, "MissingDeviceToken"),
        ({"device": "token-7"}, 400, "BadDeviceToken"),
        ({"authorization": None}, 403, "MissingProviderToken"),
        ({"authorization": "bearer a.b.c"}, 403, "InvalidProviderToken"),
        ({"body": b""}, 400, "PayloadEmpty"),
        ({"body": b"[" * 4_000}, 400, "PayloadEmpty"),
        ({"body": json.dumps({"aps": {}, "x": "y" * 4096}).encode()}, 413, "PayloadTooLarge"),
        # the first fault in Apple's order is told
        ({"apns_id": "7", "apns_topic": None}, 400, "BadMessageId"),
        ({"apns_priority": "7", "device": "token-7"}, 400, "BadPriority"),
        ({"device": "token-7", "authorization": None}, 400, "BadDeviceToken"),
        ({"authorization": None, "body": b""}, 403, "MissingProviderToken"),
    ],
)
async def test_a_wrong_request(simulator: Simulator, wishes: dict[str, Any], status: int, reason: str) -> None:
    answer = await tell(simulator, lambda sender: sender.push(**wishes))

    assert (answer.status, reason_of(answer)) == (status, reason)
    assert len(answer.headers["apns-id"]) == 36
    assert simulator.record.tallies["apns"].captured == 0


async def test_other_paths_and_methods(simulator: Simulator) -> None:
    topic = {"apns-topic": "com.example.tidings"}

    def ask(method: str, path: str) -> Any:
        url = f"{simulator.apns_endpoint}{path}"
        return http(method, url, headers=topic, ca_file=simulator.ca_file, body=b"{}")

    wrong_path = await asyncio.to_thread(ask, "POST", "/4/device/aa")
    wrong_method = await asyncio.to_thread(ask, "PUT", "/3/device/aa")

    assert (wrong_path.status, wrong_path.json["reason"]) == (404, "BadPath")
    assert (wrong_method.status, wrong_method.json["reason"]) == (405, "MethodNotAllowed")


async def test_http1_is_not_spoken(simulator: Simulator) -> None:
    def ask() -> Any:
        url = f"{simulator.apns_endpoint}/3/device/aa"
        return http("POST", url, ca_file=simulator.ca_file, body=b"{}", version=pycurl.CURL_HTTP_VERSION_1_1)

    with pytest.raises(pycurl.error):
        await asyncio.to_thread(ask)


# provider tokens


def foreign_key() -> str:
    return (
        ec.generate_private_key(ec.SECP256R1())
        .private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        .decode()
    )


@pytest.mark.parametrize(
    ("wishes", "reason"),
    [
        ({"key": foreign_key()}, "InvalidProviderToken"),
        ({"kid": "ABC123DEFG"}, "InvalidProviderToken"),
        ({"iat": "soon"}, "InvalidProviderToken"),
        ({"iat": int(time.time()) + 86_400}, "InvalidProviderToken"),
        ({"iat": int(time.time()) - 3700}, "ExpiredProviderToken"),
    ],
)
async def test_a_wrong_token(simulator: Simulator, wishes: dict[str, Any], reason: str) -> None:
    answer = await tell(simulator, lambda sender: sender.push(), **wishes)

    assert (answer.status, reason_of(answer)) == (403, reason)


async def test_a_third_token_within_twenty_minutes_is_one_too_many(simulator: Simulator) -> None:
    """Two are a renewal; and those that are known go on being taken."""
    now = int(time.time())
    first, second, third = (sign(simulator.apns.credentials(), iat=now - age) for age in (30, 20, 10))

    def story(sender: Sender) -> list[Stream]:
        return [sender.push(authorization=f"bearer {token}") for token in (first, second, third, first)]

    answers = await tell(simulator, story)

    assert [answer.status for answer in answers] == [200, 200, 429, 200]
    assert reason_of(answers[2]) == "TooManyProviderTokenUpdates"


async def test_a_connection_belongs_to_the_key_of_its_first_push(simulator: Simulator) -> None:
    other = simulator.apns.credentials_of("OTHERTEAM1")

    def story(sender: Sender) -> list[Stream]:
        return [sender.push(), sender.push(authorization=f"bearer {sign(other)}"), sender.push()]

    answers = await tell(simulator, story)

    assert [answer.status for answer in answers] == [200, 403, 200]
    assert reason_of(answers[1]) == "UnrelatedKeyIdInToken"


# fates


@pytest.mark.parametrize(
    ("device", "statuses", "reason"),
    [
        ("a5550190", [410, 410], "Unregistered"),
        ("a5550191", [400, 400], "BadDeviceToken"),
        ("a5550192", [429, 200], "TooManyRequests"),
        ("a5550195", [503, 200], "Shutdown"),
        ("a5550196", [400, 400], "DeviceTokenNotForTopic"),
        ("a5550198", [403, 403], "InvalidProviderToken"),
        ("a5550199", [500, 500], "InternalServerError"),
    ],
)
async def test_magic_devices(simulator: Simulator, device: str, statuses: list[int], reason: str) -> None:
    simulator.faults.set("apns", server_error_statuses=[500])

    answers = await tell(simulator, lambda sender: [sender.push(device), sender.push(device)])

    assert [answer.status for answer in answers] == statuses
    assert reason_of(answers[0]) == reason
    assert "retry-after" not in answers[0].headers


async def test_a_device_that_is_gone_has_been_so_since_a_moment_in_milliseconds(simulator: Simulator) -> None:
    answer = await tell(simulator, lambda sender: sender.push("a5550190"))

    assert 1_000_000_000_000 < json.loads(answer.body)["timestamp"] < time.time() * 1000


@pytest.mark.parametrize(
    ("device", "error", "captured"),
    [("a5550194", 2, 1), ("a5550197", 7, 0)],  # INTERNAL_ERROR, REFUSED_STREAM
)
async def test_streams_that_are_reset(simulator: Simulator, device: str, error: int, captured: int) -> None:
    answer = await tell(simulator, lambda sender: sender.push(device))

    assert answer.reset == error
    assert simulator.record.tallies["apns"].captured == captured


async def test_a_slow_answer_comes(simulator: Simulator) -> None:
    simulator.faults.set("apns", slow_seconds=0.1)

    answer = await tell(simulator, lambda sender: sender.push("a5550193"))

    assert answer.status == 200


async def test_an_app_of_the_other_environment_is_told_that_every_device_is_bad(simulator: Simulator) -> None:
    simulator.faults.set("apns", invalid_rate=1)

    answers = await tell(simulator, lambda sender: [sender.push(f"{number:064x}") for number in range(5)])

    assert [reason_of(answer) for answer in answers] == ["BadDeviceToken"] * 5


# streams


async def test_one_stream_until_a_push_was_taken_then_a_thousand(simulator: Simulator) -> None:
    def story(sender: Sender) -> tuple[list[int], list[int]]:
        sender.push("a5550191")
        refused = list(sender.client.limits)
        sender.push()
        return refused, sender.client.limits

    refused, accepted = await tell(simulator, story)

    assert refused == [1]
    assert accepted == [1, 1000]


async def test_who_sends_more_than_one_at_first_is_shown_the_door(simulator: Simulator) -> None:
    """What was taken on before is answered."""
    simulator.faults.set("apns", latency_ms=100)

    def story(sender: Sender) -> tuple[list[Stream], Any]:
        path, headers = f"/3/device/{DEVICE}", sender.headers()
        streams = [sender.client.post(path, headers, BODY) for _ in range(3)]
        sender.client.read_to_the_end()
        return streams, sender.client.goodbye

    streams, goodbye = await tell(simulator, story)

    assert (goodbye.error_code, goodbye.last_stream_id) == (7, 1)
    assert goodbye.additional_data == b"Maximum active streams violated for this endpoint."
    assert [stream.status for stream in streams] == [200, 0, 0]
    assert simulator.record.tallies["apns"].captured == 1


async def test_a_server_that_shuts_down_answers_what_it_took_on(simulator: Simulator) -> None:
    simulator.faults.set("apns", goaway_after=2)

    def story(sender: Sender) -> tuple[list[int], Any]:
        statuses = [sender.push().status, sender.push().status]
        sender.client.read_to_the_end()
        return statuses, sender.client.goodbye

    statuses, goodbye = await tell(simulator, story)

    assert statuses == [200, 200]
    assert (goodbye.error_code, goodbye.last_stream_id) == (0, 3)
    assert json.loads(goodbye.additional_data) == {"reason": "Shutdown"}
