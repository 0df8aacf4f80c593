"""The disk of Postgres is full for some seconds, and then has room again."""

import pytest

from tests.flow.faults.rig import SECONDS, Callers, Rig, bound
from tests.flow.faults.small_disk import small_disk
from tests.processes import wait_until

WORKERS = 2

pytestmark = pytest.mark.timeout(240)


def test_a_disk_that_is_full_for_a_while_costs_nobody_a_message(rig: Rig) -> None:
    system = rig.installation.system
    assert system.postgres is not None
    with small_disk(system) as disk:
        campaigns = [rig.send("email", 150), rig.send("sms", 150)]
        rig.until_at_work("worker-1")
        rig.until_at_work("worker-2")
        with Callers(rig, [rig.installation.endpoint]).calling() as callers:
            with disk.full():
                wait_until(lambda: callers.statuses[503] >= 20, seconds=SECONDS)
            system.postgres.start()  # where it could not write its log, it died
            verdict = rig.finish(*campaigns)
        ended = callers.finish()

    assert ended.keys() == {"sent"}
    # longer than a lease: a scheduler that writes first takes what the workers could not renew
    assert verdict.copies + verdict.unknown <= bound(WORKERS)
    assert callers.statuses.keys() == {201, 503}
    assert (callers.without_advice, callers.broken) == (0, [])
