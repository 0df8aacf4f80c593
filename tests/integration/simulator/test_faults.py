import asyncio
import json
from typing import Any

import pycurl
import pytest

from shared.errors import ConfigurationError
from shared.simulator.faults import Fate, FaultPlan, FaultProfile
from shared.simulator.simulator import Simulator
from tests.integration.simulator.clients import FcmClient, HttpAnswer, HttpCall, http_many
from tests.integration.simulator.conftest import Ask, until


async def send_all(fcm: FcmClient, tokens: list[str], **wishes: Any) -> list[HttpCall]:
    calls = [fcm.call({"token": token}, **wishes) for token in tokens]
    await asyncio.to_thread(http_many, calls)
    return calls


def status_of(call: HttpCall) -> int:
    """0 where no answer came."""
    return call.answer.status if call.answer else 0


def answer_of(call: HttpCall) -> HttpAnswer:
    assert call.answer is not None
    return call.answer


async def test_a_profile_is_switched_at_run_time(fcm: FcmClient, inbox: Ask) -> None:
    before = await asyncio.to_thread(fcm.send, {"token": "one"})

    await inbox("PUT", "/faults", json.dumps({"fcm": {"throttle_rate": 1, "retry_after_seconds": 7}}).encode())
    during = await asyncio.to_thread(fcm.send, {"token": "one"})

    await inbox("PUT", "/faults", b'{"fcm": {"throttle_rate": 1, "retry_after_seconds": null}}')
    without_delay = await asyncio.to_thread(fcm.send, {"token": "one"})

    await inbox("PUT", "/faults", b'{"fcm": {}}')
    after = await asyncio.to_thread(fcm.send, {"token": "one"})

    assert [answer.status for answer in (before, during, without_delay, after)] == [200, 429, 429, 200]
    assert during.headers["retry-after"] == "7"
    assert "retry-after" not in without_delay.headers


async def test_the_same_recipients_meet_the_same_faults_again(simulator: Simulator, fcm: FcmClient) -> None:
    tokens = [f"device-{number}" for number in range(300)]
    profile = {"throttle_rate": 0.2, "server_error_rate": 0.2, "dropped_rate": 0.2, "seed": 11}

    simulator.faults.set("fcm", **profile)
    first = [(status_of(call), call.error) for call in await send_all(fcm, tokens)]
    simulator.faults.set("fcm", **profile)
    second = [(status_of(call), call.error) for call in await send_all(fcm, tokens[::-1])]
    simulator.faults.set("fcm", **{**profile, "seed": 12})
    other = [(status_of(call), call.error) for call in await send_all(fcm, tokens)]

    assert first == second[::-1]
    assert first != other
    assert {status for status, _ in first} == {200, 429, 500, 503, 0}


async def test_rates_are_shares_of_recipients() -> None:
    plan = FaultPlan("any", FaultProfile(throttle_rate=0.3, silent_rate=0.1))

    fates = [plan.fate_of(f"recipient-{number}") for number in range(10_000)]

    assert fates.count(Fate.THROTTLED) == pytest.approx(3000, rel=0.1)
    assert fates.count(Fate.SILENT) == pytest.approx(1000, rel=0.15)
    assert set(fates) == {Fate.ACCEPTED, Fate.THROTTLED, Fate.SILENT}


async def test_a_recipient_turned_away_once_is_accepted_the_next_time(simulator: Simulator, fcm: FcmClient) -> None:
    simulator.faults.set("fcm", transient_once_rate=0.5)
    tokens = [f"device-{number}" for number in range(100)]

    first = [status_of(call) for call in await send_all(fcm, tokens)]
    second = [status_of(call) for call in await send_all(fcm, tokens)]

    assert 30 < first.count(503) < 70
    assert first.count(200) == 100 - first.count(503)
    assert second == [200] * 100


async def test_a_recipient_tried_again_draws_anew(simulator: Simulator, fcm: FcmClient) -> None:
    simulator.faults.set("fcm", server_error_rate=0.5)
    tokens = [f"device-{number}" for number in range(100)]

    tries = 0
    while tokens:
        calls = await send_all(fcm, tokens)
        tokens = [token for token, call in zip(tokens, calls, strict=True) if status_of(call) != 200]
        tries += 1

    assert 3 < tries < 20


async def test_the_dead_stay_dead(simulator: Simulator, fcm: FcmClient) -> None:
    simulator.faults.set("fcm", dead_rate=0.5)
    tokens = [f"device-{number}" for number in range(40)]

    first, second = [[status_of(call) for call in await send_all(fcm, tokens)] for _ in range(2)]

    assert first == second
    assert set(first) == {200, 404}


async def test_dropped_replies_are_on_record_and_silent_ones_are_not(simulator: Simulator, fcm: FcmClient) -> None:
    simulator.faults.set("fcm", dropped_rate=0.3, silent_rate=0.3)
    tokens = [f"device-{number}" for number in range(60)]

    calls = await send_all(fcm, tokens, timeout=1)

    timed_out = {tokens[place] for place, call in enumerate(calls) if call.error == pycurl.E_OPERATION_TIMEDOUT}
    recorded = {entry.recipient for entry in simulator.record.entries()}
    outcomes = simulator.record.tallies["fcm"].outcomes
    assert 5 < len(timed_out) < 35
    assert recorded == set(tokens) - timed_out
    assert outcomes["silent"] == len(timed_out)
    assert outcomes["dropped"] == sum(status_of(call) == 0 for call in calls) - len(timed_out)


async def test_server_errors_come_with_googles_bodies(simulator: Simulator, fcm: FcmClient) -> None:
    simulator.faults.set("fcm", server_error_rate=1, server_error_statuses=[500, 502, 503])

    answers = {status_of(call): answer_of(call) for call in await send_all(fcm, [f"d-{n}" for n in range(30)])}

    assert set(answers) == {500, 502, 503}
    assert answers[500].json["error"]["status"] == "INTERNAL"
    assert answers[502].headers["content-type"] == "text/html; charset=UTF-8"
    assert answers[503].json["error"]["status"] == "UNAVAILABLE"
    assert answers[503].headers["retry-after"] == "1"


async def test_the_limit_refuses_what_is_beyond_it(simulator: Simulator, fcm: FcmClient) -> None:
    simulator.faults.set("fcm", limit_messages=10, limit_seconds=3600)

    statuses = [status_of(call) for call in await send_all(fcm, [f"device-{n}" for n in range(30)])]

    assert statuses.count(200) == 10
    assert statuses.count(429) == 20
    assert simulator.record.tallies["fcm"].outcomes["over_limit"] == 20


async def test_latency_and_jitter_delay_the_reply_but_not_the_record(simulator: Simulator, fcm: FcmClient) -> None:
    simulator.faults.set("fcm", latency_ms=150, jitter_ms=100)
    loop = asyncio.get_running_loop()
    started = loop.time()

    sending = asyncio.create_task(asyncio.to_thread(fcm.send, {"token": "device"}))
    async with asyncio.timeout(1):
        await until(lambda: any(simulator.record.entries()))
    assert not sending.done()
    answer = await sending

    assert answer.status == 200
    assert loop.time() - started > 0.15


@pytest.mark.parametrize(
    ("wishes", "complaint"),
    [
        ({"fax": {}}, "No provider 'fax' is simulated; there are smtp, fcm, fcm-token"),
        ({"fcm": {"latency": 1}}, "latency"),
        ({"fcm": {"throttle_rate": 1.5}}, "throttle_rate"),
        ({"fcm": {"throttle_rate": 0.6, "silent_rate": 0.6}}, "add up to more than 1"),
        ({"smtp": {"starttls": "maybe"}}, "starttls"),
        ({"fcm": 7}, "map providers to profiles"),
        ([], "map providers to profiles"),
    ],
)
async def test_a_wrong_profile_is_refused_and_changes_nothing(
    simulator: Simulator, inbox: Ask, wishes: object, complaint: str
) -> None:
    simulator.faults.set("fcm", latency_ms=5)

    answer = await inbox("PUT", "/faults", json.dumps(wishes).encode())

    assert answer.status == 400
    assert complaint in answer.json["error"]["message"]
    assert simulator.faults.plans["fcm"].profile.latency_ms == 5


def test_profiles_are_changed_all_or_none(simulator: Simulator) -> None:
    with pytest.raises(ConfigurationError):
        simulator.faults.replace({"fcm": {"latency_ms": 5}, "smtp": {"latency_ms": -1}})

    assert simulator.faults.plans["fcm"].profile.latency_ms == 0
