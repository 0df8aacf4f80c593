import asyncio
import base64
import hashlib
import hmac
import json
import re
import time
from email.utils import formatdate
from typing import Any
from urllib.parse import urlencode

import pycurl
import pytest

from shared.simulator.faults import Fate
from shared.simulator.simulator import Simulator
from shared.simulator.telesign_message import Message
from shared.simulator.telesign_reports import delivery_reports
from tests.integration.simulator.clients import HttpAnswer, http

SINGLE, BULK = "/v1/messaging", "/v1/verify/bulk_sms"
FIELDS = {
    "phone_number": "12025550123",
    "message": "Your code is 4711",
    "message_type": "OTP",
    "sender_id": "ACME",
    "external_id": "1-7",
}
BULK_FIELDS = {"recipients": "12025550123:1-7,12025550124:1-8", "template": "Hello there", "sender_id": "ACME"}


@pytest.fixture
def account(simulator: Simulator) -> dict[str, Any]:
    return dict(simulator.http_providers["telesign"].credentials())


async def send(
    simulator: Simulator, account: dict[str, Any], fields: dict[str, str], *, headers: dict[str, str] | None = None
) -> HttpAnswer:
    path = BULK if "recipients" in fields else SINGLE
    return await asyncio.to_thread(
        http,
        "POST",
        simulator.https_endpoint + path,
        body=urlencode(fields).encode(),
        headers=basic(account) if headers is None else headers,
        ca_file=simulator.ca_file,
    )


def basic(account: dict[str, Any]) -> dict[str, str]:
    login = base64.b64encode(f"{account['customerId']}:{account['apiKey']}".encode()).decode()
    return {"authorization": f"Basic {login}", "content-type": "application/x-www-form-urlencoded"}


def digest(account: dict[str, Any], fields: dict[str, str], *, nonce: str, at: float) -> dict[str, str]:
    """As Telesign's packages sign by default."""
    date, kind = formatdate(at, usegmt=True), "application/x-www-form-urlencoded"
    method = "x-ts-auth-method:HMAC-SHA256"
    text = "\n".join(["POST", kind, date, method, f"x-ts-nonce:{nonce}", urlencode(fields), SINGLE])
    mac = hmac.new(base64.b64decode(account["apiKey"]), text.encode(), hashlib.sha256).digest()
    return {
        "authorization": f"TSA {account['customerId']}:{base64.b64encode(mac).decode()}",
        "date": date,
        "content-type": kind,
        "x-ts-auth-method": "HMAC-SHA256",
        "x-ts-nonce": nonce,
    }


def code_of(answer: HttpAnswer) -> tuple[int, int]:
    """HTTP's status, and the code: of the first error where there is one."""
    assert re.fullmatch("[0-9A-F]{32}", answer.json["reference_id"])
    errors = answer.json.get("errors") or [answer.json["status"]]
    return answer.status, errors[0]["code"]


async def test_takes_a_message(simulator: Simulator, account: dict[str, Any]) -> None:
    answer = await send(simulator, account, FIELDS)

    assert code_of(answer) == (200, 290)
    assert answer.json["external_id"] == "1-7"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", answer.json["status"]["updated_on"])
    line = simulator.record.read(simulator.record.n)
    assert line is not None
    assert (line["provider"], line["recipient"]) == ("telesign", "+12025550123")
    assert (line["message"], line["delivery"]) == (answer.json["reference_id"], "1-7")
    assert (line["text"], line["sender"]) == ("Your code is 4711", "ACME")


async def test_takes_a_bulk_as_a_whole(simulator: Simulator, account: dict[str, Any]) -> None:
    answer = await send(simulator, account, BULK_FIELDS)

    assert code_of(answer) == (200, 293)
    assert answer.json["errors"] == []
    lines = [simulator.record.read(entry.n) for entry in simulator.record.entries()]
    assert [(line["recipient"], line["delivery"], line["message"]) for line in lines if line] == [
        ("+12025550124", "1-8", answer.json["reference_id"]),
        ("+12025550123", "1-7", answer.json["reference_id"]),
    ]


async def test_a_digest_lets_in_once(simulator: Simulator, account: dict[str, Any]) -> None:
    good = digest(account, FIELDS, nonce="one", at=time.time())
    tries = [
        good,
        good,
        digest(account, FIELDS, nonce="two", at=time.time() - 900),
        digest(account, {**FIELDS, "message": "Another"}, nonce="three", at=time.time()),
        {**digest(account, FIELDS, nonce="four", at=time.time()), "x-ts-auth-method": "HMAC-MD5"},
    ]

    answers = [await send(simulator, account, FIELDS, headers=headers) for headers in tries]

    assert [code_of(answer) for answer in answers] == [
        (200, 290),
        (401, 10002),
        (401, 10004),
        (401, 10008),
        (401, 10006),
    ]


@pytest.mark.parametrize(
    ("authorization", "code"), [("", 10009), ("Bearer x", 10028), ("Basic eDp5", 10022), ("TSA x:y", 10006)]
)
async def test_strangers_stay_outside(
    simulator: Simulator, account: dict[str, Any], authorization: str, code: int
) -> None:
    headers = {"authorization": authorization} if authorization else {}

    assert code_of(await send(simulator, account, FIELDS, headers=headers)) == (401, code)
    assert code_of(await send(simulator, account, BULK_FIELDS, headers=headers)) == (401, -30006)
    assert list(simulator.record.entries()) == []


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({**FIELDS, "phone_number": ""}, 12000),
        ({**FIELDS, "message": ""}, 12009),
        ({**FIELDS, "message_type": ""}, 12017),
        ({**FIELDS, "phone_number": "+12025550123"}, 11000),
        ({**FIELDS, "message": "x" * 1601}, 11009),
        ({**FIELDS, "message_type": "ADS"}, 11017),
        ({**FIELDS, "sender_id": "x" * 21}, 11013),
        ({**FIELDS, "callback_url": "example.com"}, 11004),
        ({**BULK_FIELDS, "template": ""}, -10001),
        ({**BULK_FIELDS, "recipients": ","}, -10002),
        ({**BULK_FIELDS, "recipients": ",".join(["12025550123"] * 1001)}, -10003),
        ({**BULK_FIELDS, "recipients": "12025550123,+12025550124"}, -40006),
        ({**BULK_FIELDS, "recipients": f"12025550123:{'x' * 65}"}, -40006),
        ({**BULK_FIELDS, "template": "x" * 1601}, -40006),
    ],
)
async def test_checks_each_field(
    simulator: Simulator, account: dict[str, Any], fields: dict[str, str], code: int
) -> None:
    assert code_of(await send(simulator, account, fields)) == (400, code)
    assert list(simulator.record.entries()) == []


@pytest.mark.parametrize(
    ("ending", "alone", "in_bulk"),
    [
        ("0190", [(400, 11000)] * 2, [(200, 293)] * 2),
        ("0191", [(400, 11009)] * 2, [(200, 293)] * 2),
        ("0192", [(429, 10019), (200, 290)], [(429, -40007), (200, 293)]),
        ("0195", [(429, 10019), (200, 290)], [(429, -40007), (200, 293)]),
        ("0196", [(200, 290)] * 2, [(200, 293)] * 2),
        ("0197", [(200, 290)] * 2, [(200, 293)] * 2),
        ("0198", [(401, 10011)] * 2, [(401, -20002)] * 2),
    ],
)
async def test_magic_numbers(
    simulator: Simulator, account: dict[str, Any], ending: str, alone: Any, in_bulk: Any
) -> None:
    single = [await send(simulator, account, {**FIELDS, "phone_number": f"1202555{ending}"}) for _ in range(2)]
    recipients = f"12025550100:1-1,1206555{ending}:1-2"
    bulks = [await send(simulator, account, {**BULK_FIELDS, "recipients": recipients}) for _ in range(2)]

    assert [code_of(answer) for answer in single] == alone
    assert [code_of(answer) for answer in bulks] == in_bulk
    assert {answers[0].headers.get("retry-after") for answers in (single, bulks)} == {"1" if ending == "0192" else None}


@pytest.mark.parametrize("status", [500, 503])
async def test_server_errors(simulator: Simulator, account: dict[str, Any], status: int) -> None:
    simulator.faults.set("telesign", server_error_statuses=[status])

    alone = await send(simulator, account, {**FIELDS, "phone_number": "12025550199"})
    bulk = await send(simulator, account, {**BULK_FIELDS, "recipients": "12025550100,12025550199"})

    assert (code_of(alone), code_of(bulk)) == ((status, 10000), (status, -90001))
    assert list(simulator.record.entries()) == []


async def test_a_bad_number_sinks_a_bulk_where_the_profile_says_so(
    simulator: Simulator, account: dict[str, Any]
) -> None:
    simulator.faults.set("telesign", bad_numbers_sink_bulks=True)

    answer = await send(simulator, account, {**BULK_FIELDS, "recipients": "12025550100:1,12025550190:2"})

    assert code_of(answer) == (400, -40006)
    assert list(simulator.record.entries()) == []


@pytest.mark.parametrize(
    "fields", [{**FIELDS, "phone_number": "12025550194"}, {"recipients": "12025550194:1", "template": "x"}]
)
async def test_a_dropped_reply_is_on_record(
    simulator: Simulator, account: dict[str, Any], fields: dict[str, str]
) -> None:
    with pytest.raises(pycurl.error):
        await send(simulator, account, fields)

    assert [entry.recipient for entry in simulator.record.entries()] == ["+12025550194"]


@pytest.mark.parametrize(
    ("fate", "code"),
    [(Fate.ACCEPTED, 200), (Fate.UNDELIVERED, 207), (Fate.OPTED_OUT, 510), (Fate.DEAD_ADDRESS, 507)],
)
@pytest.mark.parametrize("is_bulk", [False, True])
def test_tells_each_step_signed(fate: Fate, code: int, *, is_bulk: bool) -> None:
    key = base64.b64encode(b"secret").decode()
    message = Message("A" * 32, "+12025550123", "1-7", "Hello", "ACME", fate)

    calls = [
        report.call("https://example.com/r", "CUSTOMER", key) for report in delivery_reports(message, is_bulk=is_bulk)
    ]

    documents = [json.loads(call.body) for call in calls]
    assert [document["status"]["code"] for document in documents] == [203, code]
    assert {document["session_id" if is_bulk else "external_id"] for document in documents} == {"1-7"}
    for call in calls:
        mac = base64.b64encode(hmac.new(b"secret", call.body, hashlib.sha256).digest()).decode()
        headers = dict(call.headers)
        assert headers["authorization"] == headers["x-ts-authorization"] == f"TSA CUSTOMER:{mac}"
