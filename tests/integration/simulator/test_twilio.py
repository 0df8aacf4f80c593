import asyncio
import base64
import re
from typing import Any
from urllib.parse import urlencode

import pycurl
import pytest
from twilio.request_validator import RequestValidator

from shared.simulator.faults import Fate
from shared.simulator.simulator import Simulator
from shared.simulator.twilio_callbacks import status_callbacks
from shared.simulator.twilio_message import Message
from tests.integration.simulator.clients import HttpAnswer, HttpCall, http, http_many

FIELDS = {"To": "+12025550123", "From": "+15005550006", "Body": "Your code is 4711"}


@pytest.fixture
def account(simulator: Simulator) -> dict[str, Any]:
    return dict(simulator.http_providers["twilio"].credentials())


def call_of(simulator: Simulator, account: dict[str, Any], fields: dict[str, str], **wishes: Any) -> HttpCall:
    login = base64.b64encode(f"{account['accountSid']}:{account['authToken']}".encode()).decode()
    headers = {
        "authorization": f"Basic {login}",
        "content-type": "application/x-www-form-urlencoded",
        **wishes.get("headers", {}),
    }
    path = f"/2010-04-01/Accounts/{wishes.get('sid', account['accountSid'])}/Messages.json"
    method = wishes.get("method", "POST")
    body = urlencode(fields).encode()
    return HttpCall(method, simulator.https_endpoint + path, body=body, headers=headers, ca_file=simulator.ca_file)


async def send(simulator: Simulator, account: dict[str, Any], fields: dict[str, str], **wishes: Any) -> HttpAnswer:
    call = call_of(simulator, account, fields, **wishes)
    return await asyncio.to_thread(
        http, call.method, call.url, body=call.body, headers=call.headers, ca_file=call.ca_file
    )


async def test_takes_a_message(simulator: Simulator, account: dict[str, Any]) -> None:
    answer = await send(simulator, account, FIELDS)

    assert (answer.status, answer.headers["content-type"]) == (201, "application/json")
    assert re.fullmatch("RQ[0-9a-f]{32}", answer.headers["twilio-request-id"])
    assert answer.headers["twilio-concurrent-requests"] == "1"
    message = answer.json
    assert re.fullmatch("SM[0-9a-f]{32}", message["sid"])
    shown = {name: message[name] for name in ("status", "num_segments", "price", "error_code", "to", "from")}
    assert shown == {
        "status": "queued",
        "num_segments": "1",
        "price": None,
        "error_code": None,
        "to": "+12025550123",
        "from": "+15005550006",
    }
    line = simulator.record.read(simulator.record.n)
    assert line is not None
    assert (line["provider"], line["recipient"], line["message"]) == ("twilio", "+12025550123", message["sid"])
    assert (line["text"], line["sender"], line["segments"]) == ("Your code is 4711", "+15005550006", 1)


async def test_a_messaging_service_chooses_the_sender_later(simulator: Simulator, account: dict[str, Any]) -> None:
    service = "MG" + "0" * 32
    answer = await send(simulator, account, {"To": "+12025550123", "MessagingServiceSid": service, "Body": "x"})

    message = answer.json
    assert (answer.status, message["status"], message["num_segments"], message["from"]) == (201, "accepted", "0", None)
    assert message["messaging_service_sid"] == service


@pytest.mark.parametrize(
    ("wishes", "problem"),
    [
        ({"headers": {"authorization": "Basic eDp5"}}, (401, 20003)),
        ({"headers": {"authorization": ""}}, (401, 20003)),
        ({"sid": "AC" + "f" * 32}, (404, 20404)),
        ({"method": "GET"}, (405, 20004)),
        ({"headers": {"content-type": "application/json"}}, (400, 21604)),
    ],
)
async def test_who_and_how(
    simulator: Simulator, account: dict[str, Any], wishes: dict[str, Any], problem: tuple[int, int]
) -> None:
    answer = await send(simulator, account, FIELDS, **wishes)

    assert (answer.status, answer.json["code"], answer.json["status"]) == (*problem, problem[0])
    assert answer.json["more_info"] == f"https://www.twilio.com/docs/errors/{problem[1]}"
    assert list(simulator.record.entries()) == []


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"To": ""}, 21604),
        ({"To": "12025550123"}, 21211),
        ({"To": "+1202555012x"}, 21211),
        ({"From": ""}, 21603),
        ({"From": "Much Too Long A Name"}, 21212),
        ({"MessagingServiceSid": "MGx"}, 21705),
        ({"Body": ""}, 21602),
        ({"Body": "é" * 1601}, 21617),
        ({"ValidityPeriod": "0"}, 21624),
        ({"ValidityPeriod": "36001"}, 21624),
        ({"ValidityPeriod": "9" * 5000}, 21624),
        ({"StatusCallback": "https://under_score.example.com/"}, 21609),
        ({"StatusCallback": "ftp://example.com/"}, 21609),
        ({"StatusCallback": "https://[::"}, 21609),
    ],
)
async def test_checks_each_field(
    simulator: Simulator, account: dict[str, Any], fields: dict[str, str], code: int
) -> None:
    answer = await send(simulator, account, {**FIELDS, **fields})

    assert (answer.status, answer.json["code"]) == (400, code)


@pytest.mark.parametrize(
    ("ending", "refusals"),
    [
        ("0190", [(400, 21211), (400, 21211)]),
        ("0191", [(400, 21618), (400, 21618)]),
        ("0192", [(429, 20429), (201, None)]),
        ("0195", [(429, 20429), (201, None)]),
        ("0196", [(400, 21610), (400, 21610)]),
        ("0197", [(201, None), (201, None)]),
        ("0198", [(400, 21606), (400, 21606)]),
    ],
)
async def test_magic_numbers(
    simulator: Simulator, account: dict[str, Any], ending: str, refusals: list[tuple[int, int | None]]
) -> None:
    answers = [await send(simulator, account, {**FIELDS, "To": f"+1202555{ending}"}) for _ in range(2)]

    assert [(answer.status, answer.json.get("code")) for answer in answers] == refusals
    assert (answers[0].headers.get("retry-after") == "1") == (ending == "0192")


@pytest.mark.parametrize(("status", "code"), [(500, 20500), (502, None), (503, 20503)])
async def test_server_errors(simulator: Simulator, account: dict[str, Any], status: int, code: int | None) -> None:
    simulator.faults.set("twilio", server_error_statuses=[status])

    answer = await send(simulator, account, {**FIELDS, "To": "+12025550199"})

    assert answer.status == status
    assert code is None or answer.json["code"] == code
    assert (answer.headers["content-type"] == "application/json") == (code is not None)


async def test_a_dropped_reply_is_on_record(simulator: Simulator, account: dict[str, Any]) -> None:
    with pytest.raises(pycurl.error):
        await send(simulator, account, {**FIELDS, "To": "+12025550194"})

    assert [entry.recipient for entry in simulator.record.entries()] == ["+12025550194"]


async def test_bounds_requests_at_a_time_not_their_rate(simulator: Simulator, account: dict[str, Any]) -> None:
    simulator.faults.set("twilio", limit_in_flight=3, latency_ms=100)
    numbers = [f"+1202555{number:04d}" for number in range(5)]
    calls = [call_of(simulator, account, {**FIELDS, "To": number}) for number in numbers]

    await asyncio.to_thread(http_many, calls)
    later = await send(simulator, account, FIELDS)

    assert sorted(call.answer.status for call in calls if call.answer) == [201, 201, 201, 429, 429]
    assert later.status == 201


@pytest.mark.parametrize(("fate", "last"), [(Fate.ACCEPTED, "delivered"), (Fate.UNDELIVERED, "undelivered")])
def test_tells_each_step_signed(fate: Fate, last: str) -> None:
    url = "https://example.com/receipts?delivery=1-2"
    message = Message("SM1", "AC1", {**FIELDS, "StatusCallback": url}, fate)

    calls = list(status_callbacks(message, "t0ken"))

    steps = []
    for call in calls:
        fields = dict(pair.split("=") for pair in call.body.decode().split("&"))
        steps.append(fields["MessageStatus"])
        plain = {name: value.replace("%2B", "+") for name, value in fields.items()}
        assert RequestValidator("t0ken").validate(call.url, plain, dict(call.headers)["x-twilio-signature"])
    assert steps == ["queued", "sent", last]


def test_tells_nothing_where_nobody_asked() -> None:
    assert list(status_callbacks(Message("SM1", "AC1", FIELDS, Fate.ACCEPTED), "t0ken")) == []
