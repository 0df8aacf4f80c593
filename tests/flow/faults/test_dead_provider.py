"""A provider that cannot be reached is asked now and then, costs nobody else anything, and gets its mails later."""

import time
from collections.abc import Iterator

import pytest

from tests.flow.faults.door import Door
from tests.flow.faults.rig import SECONDS, Rig
from tests.processes import wait_until

PROCESSES = 2

pytestmark = pytest.mark.timeout(240)


@pytest.fixture
def door(rig: Rig) -> Iterator[Door]:
    """Through which workers reach the mail server."""
    with Door(rig.installation.simulator["smtp"]).standing() as door:
        environment = {"TIDINGS_ENDPOINT_SMTP": f"127.0.0.1:{door.port}"}
        with rig.replaced(dict.fromkeys(("worker-1", "worker-2"), environment)):
            yield door


def test_a_dead_provider_is_left_alone(rig: Rig, door: Door) -> None:
    rig.slow_down(milliseconds=20)
    door.is_open = False
    mails = rig.send("email", 150)
    wait_until(lambda: len(door.refused_at) >= 5, seconds=SECONDS)
    time.sleep(2.0)  # until it is known to be dead

    began, before = time.monotonic(), _attempts(rig, mails.run)
    rig.finish(rig.send("sms", 60), rig.send("push", 60))
    time.sleep(max(0.0, began + 3.0 - time.monotonic()))
    seconds, after = time.monotonic() - began, _attempts(rig, mails.run)

    assert door.refusals_since(began) <= PROCESSES * (seconds + 1)
    assert after - before <= PROCESSES * (seconds + 1)
    assert not rig.is_finished(mails)
    door.is_open = True
    verdict = rig.finish(mails)
    assert (verdict.sent, verdict.copies) == (mails.recipients, 0)


def _attempts(rig: Rig, run: int) -> int:
    ((count,),) = rig.ask("SELECT count(*) FROM attempts WHERE run = %s", run)
    return int(str(count))
