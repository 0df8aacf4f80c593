"""Machines whose clocks are wrong by hours, in both directions: what is due and what has run out the database says."""

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import requests

from tests.flow.faults.rig import SECONDS, Rig, bound
from tests.processes import wait_until

AHEAD = {"PYTHONPATH": str(Path(__file__).parent / "other_clock"), "SECONDS_AHEAD": "7200"}
BEHIND = {**AHEAD, "SECONDS_AHEAD": "-2400"}

pytestmark = pytest.mark.timeout(240)


@pytest.fixture
def wrong_rig(rig: Rig) -> Iterator[Rig]:
    """Of each role one is ahead and one behind; but for the API, which is right."""
    clocks: dict[str, Mapping[str, str]] = {
        "worker-1": AHEAD,
        "worker-2": BEHIND,
        "scheduler": BEHIND,
        "scheduler-2": AHEAD,
    }
    with rig.replaced(clocks):
        yield rig


def test_roles_with_wrong_clocks_send_in_time_and_take_nobody_s_work(wrong_rig: Rig) -> None:
    rig = wrong_rig
    due = datetime.now(UTC) + timedelta(seconds=3)
    target = f"{rig.audience('email', 150)}-1"
    body: dict[str, object] = {
        "messageId": "in-time",
        "subject": "In time",
        "content": "Hello.",
        "targets": [target],
        "scheduledAt": due.isoformat(),
    }
    assert rig.installation.call("POST", "/messaging/messages/email", body).status_code == 201
    campaigns = [rig.send("email", 150), rig.send("sms", 150)]
    rig.until_at_work("worker-2")
    rig.kill_child("worker-2")
    verdict = rig.finish(*campaigns)

    assert verdict.copies + verdict.unknown <= bound(1)
    wait_until(lambda: rig.ask("SELECT status FROM messages WHERE id = 'in-time'") == [("sent",)], seconds=SECONDS)
    with rig.installation.record.open() as lines:
        (arrived,) = [entry for entry in map(json.loads, lines) if entry["title"] == "In time"]
    assert arrived["at"] >= due.timestamp() - 0.01


def test_an_api_whose_clock_is_ahead_knows_what_lies_in_the_future(rig: Rig) -> None:
    factory = rig.installation.factory
    headers = {"X-Appwrite-Project": factory.project_id, "X-Appwrite-Key": factory.key}
    with rig.further_api(AHEAD) as endpoint:
        statuses = [
            requests.post(
                f"{endpoint}/messaging/messages/push",
                json={
                    "messageId": "unique()",
                    "title": "Later",
                    "body": "Hello.",
                    "targets": [f"{rig.audience('push', 20)}-1"],
                    "scheduledAt": (datetime.now(UTC) + timedelta(minutes=minutes)).isoformat(),
                },
                headers=headers,
                timeout=10,
            ).status_code
            for minutes in (30, -30)
        ]

    assert statuses == [201, 400]
