"""Somebody intervenes while a campaign is under way: deletes it, disables its provider, mends its credentials, stops a
worker.
"""

import os
import signal
import time
from collections.abc import Iterator

import pytest

from tests.flow.deliver.conftest import Desk
from tests.processes import wait_until

SLOW: dict[str, object] = {"latency_ms": 300}


@pytest.fixture
def slow_desk(desk: Desk) -> Desk:
    desk.installation.set_faults(fcm=SLOW, smtp=SLOW)
    return desk


def _message_id(desk: Desk, run: int) -> str:
    ((message_id,),) = desk.ask("SELECT id FROM messages WHERE run = %s", run)
    return str(message_id)


def test_a_deleted_message_is_gone_at_once_and_stops_going_out(slow_desk: Desk) -> None:
    desk = slow_desk
    people = desk.people(400, channel="push")
    run = desk.send(people, channel="push")
    desk.until_under_way(run)
    path = f"/messaging/messages/{_message_id(desk, run)}"

    assert desk.call("DELETE", path).status_code == 204
    assert desk.call("GET", path).status_code == 404
    verdict = desk.finish(run)

    states = desk.states(run)
    assert states.keys() == {"sent", "cancelled"}
    assert states["sent"] == verdict.accepted < 400
    assert verdict.copies == 0


@pytest.fixture
def doomed(desk: Desk) -> Iterator[str]:
    """A second provider for push, which only targets that name it use; its id."""
    provider = f"doomed{time.monotonic_ns()}"
    desk.installation.factory.provider("fcm", provider, credentials={"serviceAccountJSON": {"project_id": "none"}})
    yield provider
    desk.do("DELETE FROM providers WHERE id = %s", provider)


def test_recipients_of_a_provider_that_is_disabled_go_on_with_the_default(desk: Desk, doomed: str) -> None:
    people = desk.people(10, channel="push")
    desk.do("UPDATE targets SET provider_id = %s WHERE id LIKE %s", doomed, f"{people}-%")
    run = desk.send(people, channel="push")
    # with its credentials nobody can be sent to
    desk.until("SELECT FROM attempts WHERE run = %s AND decision = 'wait' LIMIT 1", run)

    assert desk.call("PATCH", f"/messaging/providers/fcm/{doomed}", {"enabled": False}).ok
    verdict = desk.finish(run)

    assert (verdict.sent, verdict.copies) == (10, 0)
    assert desk.attempts(run)["rebound", "fail_over"] == 10
    assert desk.message(run) == ("sent", [])


@pytest.fixture
def guarded(desk: Desk) -> Iterator[str]:
    """A mail server that asks for a password, and a provider that has the wrong one; its id."""
    provider = f"guarded{time.monotonic_ns()}"
    desk.installation.factory.provider(
        "smtp",
        provider,
        credentials={"host": "mail.example.com", "port": 587, "username": "postmaster", "password": "wrong"},
        options={"fromEmail": "news@example.com", "autoTLS": True, "encryption": ""},
    )
    desk.installation.set_faults(smtp={"username": "postmaster", "password": "right"})
    yield provider
    desk.do("DELETE FROM providers WHERE id = %s", provider)


def test_recipients_wait_for_mended_credentials(desk: Desk, guarded: str) -> None:
    people = desk.people(20, channel="email")
    desk.do("UPDATE targets SET provider_id = %s WHERE id LIKE %s", guarded, f"{people}-%")
    run = desk.send(people, channel="email")

    desk.until("SELECT FROM providers WHERE id = %s AND fault_reason LIKE '%%535%%'", guarded)
    assert desk.states(run).keys() <= {"queued", "claimed"}  # claimed: a worker is about to give them back
    assert desk.call("PATCH", f"/messaging/providers/smtp/{guarded}", {"password": "right"}).ok
    verdict = desk.finish(run)

    assert (verdict.sent, verdict.copies) == (20, 0)
    assert desk.message(run) == ("sent", [])
    assert desk.ask("SELECT fault_reason FROM providers WHERE id = %s", guarded) == [(None,)]


def test_a_worker_that_is_told_to_stop_finishes_what_it_holds(slow_desk: Desk) -> None:
    desk, supervisor = slow_desk, slow_desk.installation.system.supervisor
    people = desk.people(150, channel="push")
    run = desk.send(people, channel="push")
    desk.until("SELECT FROM batches WHERE run = %s AND attempted_to > recorded_total", run)
    main = supervisor.process_id("worker-1")
    assert main is not None

    os.kill(main, signal.SIGTERM)
    wait_until(lambda: supervisor.process_id("worker-1") is None, seconds=10)
    try:
        assert (
            desk.ask("SELECT FROM batches WHERE state = 'claimed' AND split_part(claimed_by, '/', 2)::int = %s", main)
            == []
        )
        verdict = desk.finish(run)
    finally:
        desk.installation.replace_worker("worker-1")

    assert (verdict.sent, verdict.copies, verdict.unknown, verdict.resends) == (150, 0, 0, 0)
