"""What stands still and comes back: a worker, Postgres, its connections, its rows."""

import time

import psycopg
import pytest

from tests.flow.faults.rig import LEASE_SECONDS, SECONDS, Callers, Rig, bound
from tests.processes import wait_until

pytestmark = pytest.mark.timeout(240)


def test_a_worker_that_stood_still_for_three_leases_sends_nothing_more_of_what_it_held(rig: Rig) -> None:
    rig.slow_down(milliseconds=300)
    campaigns = [rig.send("email", 250), rig.send("sms", 150)]
    rig.until_planned(*campaigns)  # standing still while it plans, it would hold up the plan for ten seconds
    rig.until_at_work("worker-1")

    with rig.frozen("worker-1"):
        rig.slow_down(milliseconds=20)
        began = time.monotonic()
        verdict = rig.finish(*campaigns)
        wait_until(lambda: time.monotonic() - began > 3 * LEASE_SECONDS)
        before = [rig.accepted(campaign.title) for campaign in campaigns]
    # both serve what comes next, so the one that stood still has come to itself
    rig.slow_down(milliseconds=200)
    later = rig.send("push", 150)
    rig.until_at_work("worker-1")
    rig.finish(later)

    assert verdict.copies + verdict.unknown <= bound(1)
    assert [rig.accepted(campaign.title) for campaign in campaigns] == before
    assert rig.finish(*campaigns) == verdict  # nor was anything written


def test_postgres_that_stands_still_for_three_leases_costs_no_copy(rig: Rig) -> None:
    campaigns = [rig.send("email", 250), rig.send("sms", 150)]
    rig.until_at_work("worker-1")
    rig.until_at_work("worker-2")

    with Callers(rig, [rig.installation.endpoint]).calling(callers=2) as callers:
        with rig.frozen_postgres():
            time.sleep(3 * LEASE_SECONDS)
        verdict = rig.finish(*campaigns)

    assert callers.finish().keys() <= {"sent"}
    assert (verdict.copies, verdict.unknown) == (0, 0)
    assert callers.statuses.keys() <= {201, 503}
    assert (callers.without_advice, callers.broken) == (0, [])


def test_connections_that_strangers_take_are_missed_for_no_longer_than_they_have_them(rig: Rig) -> None:
    campaigns = [rig.send("email", 250), rig.send("sms", 150)]
    rig.until_at_work("worker-1")
    url = rig.installation.system.settings.require_database_url()

    with Callers(rig, [rig.installation.endpoint]).calling(callers=2) as callers:
        taken = [psycopg.connect(url, autocommit=True)]
        try:
            deadline = time.monotonic() + 3.0
            while time.monotonic() < deadline:
                taken[0].execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'tidings-%'"
                )
                try:
                    taken.append(psycopg.connect(url))
                except psycopg.OperationalError:
                    time.sleep(0.02)
        finally:
            for connection in taken:
                connection.close()
        verdict = rig.finish(*campaigns)

    assert callers.finish().keys() <= {"sent"}
    # longer than a lease: a scheduler that finds a connection first takes what the workers could not renew
    assert verdict.copies + verdict.unknown <= bound(2)
    assert callers.statuses.keys() <= {201, 503}
    assert (callers.without_advice, callers.broken) == (0, [])


def test_rows_that_a_stranger_s_transaction_locks_hold_up_nobody_else(rig: Rig) -> None:
    rig.slow_down(milliseconds=20)
    locked = rig.send("email", 150)
    batches = "SELECT seq FROM batches WHERE run = %s AND state = 'due' LIMIT 2 FOR UPDATE SKIP LOCKED"
    url = rig.installation.system.settings.require_database_url()
    with psycopg.connect(url) as stranger, psycopg.connect(url) as idler:
        idler.execute("SELECT count(*) FROM batches")  # a snapshot that dead rows have to be kept for
        wait_until(lambda: bool(stranger.execute(batches, [locked.run]).fetchall()), seconds=SECONDS)

        rig.finish(rig.send("email", 60), rig.send("sms", 60), rig.send("push", 60))

        assert not rig.is_finished(locked)
        stranger.rollback()
        verdict = rig.finish(locked)

    assert (verdict.sent, verdict.copies) == (locked.recipients, 0)


def test_a_message_whose_sums_a_stranger_s_transaction_locks_holds_up_no_other_account(rig: Rig) -> None:
    """Its own may be full of outcomes that wait to be written: the window bounds them, as each may cost a copy."""
    rig.slow_down(milliseconds=20)
    locked = rig.send("email", 150)
    rig.until_planned(locked)
    with psycopg.connect(rig.installation.system.settings.require_database_url()) as stranger:
        stranger.execute("SELECT FROM message_progress WHERE run = %s FOR UPDATE", [locked.run])

        rig.finish(rig.send("sms", 60), rig.send("push", 60))

        assert not rig.is_finished(locked)
        stranger.rollback()
        verdict = rig.finish(locked)

    assert verdict.sent == locked.recipients
    assert verdict.copies <= bound(2)  # a lock is waited for as long as a lease lasts here, and that row is not renewed
