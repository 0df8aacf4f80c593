"""A worker that dies over and over on the same recipients: no endless copies, and the others get theirs."""

import contextlib
import os
import signal
import time

import pytest

from tests.flow.faults.rig import Campaign, Rig

MAX_RESENDS = 2
"""As conftest.py has it."""

MOST_BESIDE_IT = 3
"""In flight with it at the last crash that the setting allows: nobody can tell which of them is to blame."""

MOST_KILLS = 15

pytestmark = pytest.mark.timeout(240)


def test_nobody_gets_more_copies_than_the_setting_allows(rig: Rig) -> None:
    rig.slow_down(milliseconds=300)
    campaign = rig.send("email", 10)

    killed: set[int] = set()
    while len(killed) < MOST_KILLS and not rig.is_finished(campaign):
        _kill_whoever_holds(rig, campaign, killed)
    verdict = rig.finish(campaign)

    assert verdict.sent + verdict.unknown + verdict.failed == campaign.recipients
    assert max(rig.accepted(campaign.title).values()) <= 1 + MAX_RESENDS


def test_a_recipient_that_kills_its_worker_is_given_up_and_the_others_get_theirs(rig: Rig) -> None:
    rig.slow_down(milliseconds=300)
    campaign = rig.send("email", 100)
    rig.until_planned(campaign)
    ((poison, address),) = rig.ask(
        "SELECT seq, identifier FROM targets WHERE id = %s", f"{rig.audience('email', 100)}-50"
    )

    killed: set[int] = set()
    while len(killed) < MOST_KILLS and not rig.is_finished(campaign):
        _kill_whoever_holds(rig, campaign, killed, recipient=int(poison))
    rig.finish(campaign)

    unsent = dict(rig.ask("SELECT target_seq, state FROM deliveries WHERE run = %s AND state <> 'sent'", campaign.run))
    assert unsent.pop(poison) in {"failed", "unknown"}
    assert len(unsent) <= MOST_BESIDE_IT
    copies = rig.accepted(campaign.title)
    copies.pop(address, None)
    assert max(copies.values()) <= 1 + MAX_RESENDS


def _kill_whoever_holds(rig: Rig, campaign: Campaign, killed: set[int], recipient: int | None = None) -> None:
    """The processes that have recipients of it in flight, or this one, other than those that were `killed`."""
    time.sleep(0.01)
    holders = rig.ask(
        "SELECT DISTINCT split_part(claimed_by, '/', 2)::int FROM batches"
        " WHERE run = %(run)s AND state = 'claimed' AND attempted_to > recorded_total"
        " AND (%(recipient)s::bigint IS NULL OR (%(recipient)s = ANY(targets[:attempted_to])"
        " AND NOT EXISTS (SELECT FROM deliveries WHERE run = %(run)s AND target_seq = %(recipient)s)))",
        {"run": campaign.run, "recipient": recipient},
    )
    processes = {int(process) for (process,) in holders} - killed
    time.sleep(0.05 if processes else 0.0)  # what was marked is on its way
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
    killed |= processes
