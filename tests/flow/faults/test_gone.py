"""Roles that are gone: killed at random, told to stop in turn, all at once, in the middle of planning."""

import json
import random
import time
from datetime import UTC, datetime, timedelta

import pytest

from tests.flow.faults.rig import SECONDS, Callers, Rig, bound
from tests.processes import wait_until

WORKERS = ("worker-1", "worker-2")
SCHEDULERS = ("scheduler", "scheduler-2")

pytestmark = pytest.mark.timeout(240)


def test_all_workers_killed_at_once_cost_nobody_a_message(rig: Rig) -> None:
    campaigns = [rig.send("email", 250), rig.send("sms", 150)]
    rig.until_at_work("worker-1")
    rig.until_at_work("worker-2")

    for name in WORKERS:
        rig.kill(name)
    sent_in_the_dark = rig.send("push", 60)
    time.sleep(1.0)
    rig.mend()
    verdict = rig.finish(*campaigns, sent_in_the_dark)

    assert verdict.copies + verdict.unknown <= bound(len(WORKERS))


def test_roles_replaced_in_turn_under_load_lose_and_double_nothing(rig: Rig) -> None:
    campaigns = [rig.send("email", 250), rig.send("sms", 150)]
    with Callers(rig, [rig.installation.endpoint]).calling() as callers:
        for names in (("worker-1", "scheduler"), ("worker-2", "scheduler-2")):
            rig.until_at_work(names[0])
            rig.terminate(*names)
            rig.mend(*names)
            campaigns.append(rig.send("push", 60))
        verdict = rig.finish(*campaigns)

    assert callers.finish().keys() == {"sent"}
    assert (verdict.sent, verdict.copies, verdict.resends) == (verdict.planned, 0, 0)
    assert callers.statuses.keys() == {201}
    assert callers.broken == []


def test_planning_goes_on_where_a_killed_worker_left_it(rig: Rig) -> None:
    rig.slow_down(milliseconds=20)
    campaigns = [rig.send("email", 800), rig.send("sms", 150)]
    chance = random.Random(20261130)
    backends = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'tidings-worker'"

    killed = 0
    for number in range(5):
        (fault,) = chance.choices((rig.kill, rig.kill_child, None), (1, 3, 2))
        name = WORKERS[number % 2]
        time.sleep(chance.uniform(0.1, 0.4))
        if fault is None:
            rig.do(backends)
        else:
            fault(name)
            killed += 1
            rig.start_again(name)
    verdict = rig.finish(*campaigns)

    assert verdict.copies + verdict.unknown <= bound(killed)


def test_schedulers_killed_at_random_release_every_message_once_and_none_early(rig: Rig) -> None:
    target = f"{rig.audience('push', 20)}-1"
    chance = random.Random(20261130)
    due = {}
    for number in range(12):
        title = f"Scheduled {number}"
        due[title] = datetime.now(UTC) + timedelta(seconds=chance.uniform(1.0, 4.0))
        rig.do(
            "INSERT INTO messages (project_seq, id, channel, status, lane, data, topics, users, targets, scheduled_at)"
            " VALUES (%s, %s, 'push', 'scheduled', 'transactional', %s, '{}', '{}', %s, %s)",
            rig.installation.factory.project_seq,
            title.replace(" ", "-"),
            json.dumps({"title": title}),
            [target],
            due[title],
        )
    names = [*SCHEDULERS]
    while datetime.now(UTC) < max(due.values()):
        rig.kill(names[0])
        time.sleep(chance.uniform(0.2, 0.8))
        rig.mend(names[0])
        names.reverse()

    unsent = "SELECT FROM messages WHERE id LIKE 'Scheduled-%%' AND status <> 'sent'"
    wait_until(lambda: not rig.ask(unsent), seconds=SECONDS)
    assert rig.ask("SELECT max(version) FROM messages WHERE id LIKE 'Scheduled-%%'") == [(2,)]
    with rig.installation.record.open() as lines:
        arrived = [entry for entry in map(json.loads, lines) if entry["title"] in due]
    assert sorted(entry["title"] for entry in arrived) == sorted(due)
    assert [entry for entry in arrived if entry["at"] < due[entry["title"]].timestamp() - 0.01] == []


def test_apis_replaced_in_turn_answer_everybody(rig: Rig) -> None:
    rig.slow_down(milliseconds=5)
    with rig.further_api() as other:
        with Callers(rig, [rig.installation.endpoint, other]).calling(callers=8, pause_seconds=0.02) as callers:
            for name in ("api", "api-2"):
                rig.terminate(name)
                rig.mend(name)

        assert callers.finish().keys() == {"sent"}
        assert callers.statuses.keys() == {201}
        assert callers.broken == []


def test_without_any_scheduler_messages_are_released_and_leases_recovered(rig: Rig) -> None:
    for name in SCHEDULERS:
        rig.kill(name)
    rig.do(
        "INSERT INTO messages (project_seq, id, channel, status, lane, data, topics, users, targets, scheduled_at)"
        " VALUES (%s, 'nobody-ticks', 'push', 'scheduled', 'transactional', %s, '{}', '{}', %s, now())",
        rig.installation.factory.project_seq,
        json.dumps({"title": "Nobody ticks"}),
        [f"{rig.audience('push', 20)}-1"],
    )
    campaign = rig.send("email", 250)
    rig.until_at_work("worker-1")
    rig.kill("worker-1")

    verdict = rig.finish(campaign)
    wait_until(lambda: rig.ask("SELECT status FROM messages WHERE id = 'nobody-ticks'") == [("sent",)], seconds=SECONDS)

    assert verdict.copies + verdict.unknown <= bound(1)
    assert rig.accepted("Nobody ticks").total() == 1
