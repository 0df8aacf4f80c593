import asyncio
import json
import time
from typing import Any

import jwt
import pycurl
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from shared.simulator.simulator import Simulator
from tests.integration.simulator.clients import SCOPE, FcmClient, HttpAnswer, assertion, http, http_many

STREAM_RESET = 92
"""CURLE_HTTP2_STREAM, which pycurl does not name."""


def error_code_of(answer: HttpAnswer) -> str | None:
    """The FcmError of an answer, where Google puts it; None when it has none."""
    for detail in answer.json["error"].get("details", []):
        if detail["@type"] == "type.googleapis.com/google.firebase.fcm.v1.FcmError":
            return str(detail["errorCode"])
    return None


def fields_of(answer: HttpAnswer) -> list[str]:
    """The fields a BadRequest detail names."""
    details = answer.json["error"]["details"]
    return [fault["field"] for detail in details for fault in detail.get("fieldViolations", [])]


def foreign_key() -> str:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


# the token endpoint


async def test_a_service_account_gets_a_token_for_an_hour(simulator: Simulator, fcm: FcmClient) -> None:
    account = simulator.service_account("demo")

    answer = await asyncio.to_thread(fcm.ask_for_token, account["token_uri"], assertion(account))

    assert answer.status == 200
    assert answer.json["token_type"] == "Bearer"
    assert answer.json["expires_in"] == 3599
    assert answer.json["access_token"]


@pytest.mark.parametrize(
    ("claims", "error"),
    [
        ({"iss": "firebase-adminsdk-aaaaa@demo.iam.gserviceaccount.com"}, "invalid_grant"),
        ({"aud": "https://oauth2.googleapis.com/token"}, "invalid_grant"),
        ({"exp": int(time.time()) - 60}, "invalid_grant"),
        ({"exp": int(time.time()) + 7200}, "invalid_grant"),
        ({"exp": None}, "invalid_grant"),
        ({"scope": "https://www.googleapis.com/auth/drive"}, "invalid_scope"),
        ({"scope": None}, "invalid_scope"),
    ],
    ids=["unknown account", "other audience", "expired", "too long", "no expiry", "other scope", "no scope"],
)
async def test_a_wrong_assertion_gets_no_token(
    simulator: Simulator, fcm: FcmClient, claims: dict[str, Any], error: str
) -> None:
    account = simulator.service_account("demo")

    answer = await asyncio.to_thread(fcm.ask_for_token, account["token_uri"], assertion(account, **claims))

    assert (answer.status, answer.json["error"]) == (400, error)


async def test_an_assertion_must_be_signed_by_the_accounts_own_key(simulator: Simulator, fcm: FcmClient) -> None:
    account = simulator.service_account("demo")
    now = int(time.time())
    claims = {"iss": account["client_email"], "scope": SCOPE, "aud": account["token_uri"], "iat": now, "exp": now + 60}
    forgeries = [
        assertion(account, key=foreign_key()),
        jwt.encode(claims, "a secret that is long enough for HS256", algorithm="HS256"),
        jwt.encode(claims, "", algorithm="none"),
        "no assertion at all",
        "",
    ]

    for forgery in forgeries:
        answer = await asyncio.to_thread(fcm.ask_for_token, account["token_uri"], forgery)
        assert (answer.status, answer.json["error"]) == (400, "invalid_grant")


async def test_only_the_jwt_grant_is_known(simulator: Simulator, fcm: FcmClient) -> None:
    account = simulator.service_account("demo")

    answer = await asyncio.to_thread(fcm.ask_for_token, account["token_uri"], assertion(account), "password")

    assert (answer.status, answer.json["error"]) == (400, "unsupported_grant_type")


async def test_the_token_endpoint_has_faults_of_its_own(simulator: Simulator, fcm: FcmClient) -> None:
    account = simulator.service_account("demo")
    simulator.faults.set("fcm-token", server_error_rate=1, retry_after_seconds=7)

    answer = await asyncio.to_thread(fcm.ask_for_token, account["token_uri"], assertion(account))

    assert (answer.status, answer.headers["retry-after"]) == (503, "7")
    assert (await asyncio.to_thread(fcm.send, {"token": "still-works"})).status == 200


async def test_a_token_expires_after_its_lifetime(simulator: Simulator, fcm: FcmClient) -> None:
    simulator.faults.set("fcm-token", token_lifetime_seconds=1)
    await asyncio.to_thread(fcm.authorize, simulator.service_account("demo"))
    expires = int(fcm.token.split(".")[2])
    await asyncio.sleep(max(0.0, expires - time.time()) + 0.01)

    answer = await asyncio.to_thread(fcm.send, {"token": "device"})

    assert (answer.status, answer.json["error"]["status"]) == (401, "UNAUTHENTICATED")


# sending


@pytest.mark.parametrize(
    ("version", "spoken"), [(pycurl.CURL_HTTP_VERSION_2TLS, "2"), (pycurl.CURL_HTTP_VERSION_1_1, "1.1")]
)
async def test_a_message_is_accepted_and_recorded(
    simulator: Simulator, fcm: FcmClient, version: int, spoken: str
) -> None:
    message = {
        "token": "device-1",
        "notification": {"title": "Grüße", "body": "Text"},
        "data": {"a": "1"},
        "android": {"collapse_key": "c", "ttl": "3600s", "notification": {"tag": "t", "notification_count": 3}},
    }

    answer = await asyncio.to_thread(fcm.send, message, version=version)

    assert (answer.status, answer.version) == (200, spoken)
    line = simulator.record.read(simulator.record.n)
    assert line is not None
    assert answer.json == {"name": line["message"]}
    assert line["message"].startswith("projects/demo/messages/")
    assert (line["recipient"], line["project"], line["kind"]) == ("device-1", "demo", "token")
    assert (line["title"], line["body"], line["tag"], line["collapse_key"]) == ("Grüße", "Text", "t", "c")
    assert line["payload"]["data"] == {"a": "1"}


@pytest.mark.parametrize("kind", ["fid", "topic", "condition"])
async def test_other_addresses_than_tokens_are_known(simulator: Simulator, fcm: FcmClient, kind: str) -> None:
    answer = await asyncio.to_thread(fcm.send, {kind: "address", "notification": {"title": "x"}})

    assert answer.status == 200
    assert next(simulator.record.entries()).recipient == "address"


async def test_validate_only_records_nothing(simulator: Simulator, fcm: FcmClient) -> None:
    body = json.dumps({"message": {"token": "device"}, "validate_only": True}).encode()

    answer = await asyncio.to_thread(fcm.send, None, body=body)

    assert answer.status == 200
    assert list(simulator.record.entries()) == []


@pytest.mark.parametrize(
    ("token", "refusal"),
    [
        ("dead-1", (404, "NOT_FOUND", "UNREGISTERED")),
        ("token_dead2", (404, "NOT_FOUND", "UNREGISTERED")),
        ("invalid", (400, "INVALID_ARGUMENT", "INVALID_ARGUMENT")),
        ("x:mismatch", (403, "PERMISSION_DENIED", "SENDER_ID_MISMATCH")),
        ("thirdparty-1", (401, "UNAUTHENTICATED", "THIRD_PARTY_AUTH_ERROR")),
    ],
)
async def test_a_magic_token_is_refused_as_fcm_would(
    simulator: Simulator, fcm: FcmClient, token: str, refusal: tuple[int, str, str]
) -> None:
    answer = await asyncio.to_thread(fcm.send, {"token": token})

    assert (answer.status, answer.json["error"]["status"], error_code_of(answer)) == refusal
    assert answer.json["error"]["code"] == answer.status
    assert "BadRequest" not in answer.text
    assert list(simulator.record.entries()) == []


@pytest.mark.parametrize("token", ["deadline", "undead", "APA91bdeadbeef", "slowly", "c0ffeedead00"])
async def test_ordinary_tokens_hold_no_magic_by_chance(fcm: FcmClient, token: str) -> None:
    assert (await asyncio.to_thread(fcm.send, {"token": token})).status == 200


async def test_an_account_of_the_wrong_project_is_told_that_no_token_is_its_own(
    simulator: Simulator, fcm: FcmClient
) -> None:
    simulator.faults.set("fcm", foreign_rate=1)

    answers = [await asyncio.to_thread(fcm.send, {"token": f"token-{number}"}) for number in range(3)]

    assert [error_code_of(answer) for answer in answers] == ["SENDER_ID_MISMATCH"] * 3


async def test_a_throttled_token_is_accepted_the_second_time(simulator: Simulator, fcm: FcmClient) -> None:
    first = await asyncio.to_thread(fcm.send, {"token": "throttled-1"})
    second = await asyncio.to_thread(fcm.send, {"token": "throttled-1"})

    assert (first.status, first.headers["retry-after"], error_code_of(first)) == (429, "1", "QUOTA_EXCEEDED")
    assert second.status == 200
    assert len(list(simulator.record.entries())) == 1


async def test_a_slow_reply_takes_its_time_and_arrives_whole(simulator: Simulator, fcm: FcmClient) -> None:
    simulator.faults.set("fcm", slow_seconds=0.5)
    started = time.monotonic()

    for version in (pycurl.CURL_HTTP_VERSION_2TLS, pycurl.CURL_HTTP_VERSION_1_1):
        answer = await asyncio.to_thread(fcm.send, {"token": "slow-1"}, version=version)
        assert (answer.status, "name" in answer.json) == (200, True)

    assert time.monotonic() - started > 2 * 0.4


@pytest.mark.parametrize(
    ("version", "error"),
    [(pycurl.CURL_HTTP_VERSION_2TLS, STREAM_RESET), (pycurl.CURL_HTTP_VERSION_1_1, pycurl.E_RECV_ERROR)],
)
async def test_a_dropped_reply_is_on_record(simulator: Simulator, fcm: FcmClient, version: int, error: int) -> None:
    with pytest.raises(pycurl.error) as failure:
        await asyncio.to_thread(fcm.send, {"token": "dropped-1"}, version=version)

    assert failure.value.args[0] == error
    line = simulator.record.read(simulator.record.n)
    assert line is not None
    assert (line["recipient"], line["outcome"]) == ("dropped-1", "dropped")


@pytest.mark.parametrize(
    ("message", "field"),
    [
        ({"token": "a", "data": {"count": 1}}, "message.data"),
        ({"token": "a", "data": {"nested": {"x": "y"}}}, "message.data"),
        ({"token": "a", "nonsense": "x"}, "message.nonsense"),
        ({"token": "a", "notification": {"title": "x", "sound": "y"}}, "message.notification.sound"),
        ({"token": "a", "notification": "text"}, "message.notification"),
        ({"token": "a", "android": {"priority": "URGENT"}}, "message.android.priority"),
        ({"token": "a", "android": {"ttl": 3600}}, "message.android.ttl"),
        ({"token": "a", "android": {"notification": {"notificationCount": "3"}}}, None),
        ({"token": "a", "topic": "b"}, "message"),
        ({"notification": {"title": "nobody"}}, "message"),
        ({"token": 7}, "message.token"),
        ({"token": "a", "notification": {"body": "x" * 4096}}, "message"),
        ({"token": "a", "data": {"k": "ü" * 2048}}, "message"),
        ({"topic": "a", "notification": {"body": "x" * 2048}}, "message"),
    ],
)
async def test_a_malformed_message_is_refused_by_field(
    simulator: Simulator, fcm: FcmClient, message: dict[str, Any], field: str | None
) -> None:
    answer = await asyncio.to_thread(fcm.send, message)

    assert (answer.status, answer.json["error"]["status"]) == (400, "INVALID_ARGUMENT")
    assert error_code_of(answer) is None
    assert fields_of(answer) == [field or "message.android.notification.notificationCount"]
    assert list(simulator.record.entries()) == []


@pytest.mark.parametrize(
    "body", [b"{", b"[]", b"\xff", b'{"message": null}', b'{"massage": {"token": "a"}}', b"[" * 100_000]
)
async def test_a_body_that_is_no_request_is_refused(fcm: FcmClient, body: bytes) -> None:
    answer = await asyncio.to_thread(fcm.send, None, body=body)

    assert (answer.status, answer.json["error"]["status"]) == (400, "INVALID_ARGUMENT")


async def test_a_payload_of_just_4096_bytes_is_accepted(fcm: FcmClient) -> None:
    body_bytes = 4096 - len('{"body":""}')

    assert (await asyncio.to_thread(fcm.send, {"token": "a", "notification": {"body": "x" * body_bytes}})).status == 200


async def test_camel_case_means_the_same(simulator: Simulator, fcm: FcmClient) -> None:
    message = {"token": "a", "android": {"collapseKey": "k", "notification": {"channelId": "news", "tag": "t"}}}

    assert (await asyncio.to_thread(fcm.send, message)).status == 200
    line = simulator.record.read(simulator.record.n)
    assert line is not None
    assert line["collapse_key"] == "k"


@pytest.mark.parametrize("authorization", ["", "Bearer x", "Bearer ya29.demo.9999999999.0000", "Basic eDp5"])
async def test_a_request_without_a_valid_token_is_unauthenticated(fcm: FcmClient, authorization: str) -> None:
    answer = await asyncio.to_thread(fcm.send, {"token": "a"}, headers={"authorization": authorization})

    assert (answer.status, answer.json["error"]["status"]) == (401, "UNAUTHENTICATED")
    assert error_code_of(answer) is None


async def test_a_token_counts_for_its_own_project_only(fcm: FcmClient) -> None:
    answer = await asyncio.to_thread(fcm.send, {"token": "a"}, project="other")

    assert (answer.status, answer.json["error"]["status"]) == (403, "PERMISSION_DENIED")
    assert error_code_of(answer) is None


async def test_a_wrong_path_gets_googles_html_page(simulator: Simulator) -> None:
    answer = await asyncio.to_thread(http, "POST", f"{simulator.fcm_endpoint}/v2/x", ca_file=simulator.ca_file)

    assert (answer.status, answer.headers["content-type"]) == (404, "text/html; charset=UTF-8")


async def test_a_body_beyond_the_limit_is_refused_whatever_the_version(fcm: FcmClient) -> None:
    for version in (pycurl.CURL_HTTP_VERSION_2TLS, pycurl.CURL_HTTP_VERSION_1_1):
        answer = await asyncio.to_thread(fcm.send, None, body=b"x" * (1024 * 1024 + 1), version=version)
        assert answer.status == 413


async def test_many_messages_share_one_connection(simulator: Simulator, fcm: FcmClient) -> None:
    simulator.faults.set("fcm", latency_ms=100)
    calls = [fcm.call({"token": f"device-{number}"}) for number in range(200)]

    await asyncio.to_thread(http_many, calls)

    assert [call.answer.status if call.answer else call.error for call in calls] == [200] * 200
    assert {entry.recipient for entry in simulator.record.entries()} == {f"device-{number}" for number in range(200)}


async def test_one_lost_stream_does_not_harm_the_others(fcm: FcmClient) -> None:
    calls = [fcm.call({"token": token}) for token in ("one", "dropped", "two")]

    await asyncio.to_thread(http_many, calls)

    assert [call.answer.status if call.answer else call.error for call in calls] == [200, STREAM_RESET, 200]
