"""What logs say of an outage: a line of JSON for each thing that happened, no tracebacks, nothing grave."""

import time

import pytest

from tests.flow.faults.rig import Callers, Rig

pytestmark = pytest.mark.timeout(240)

ROLES = ("api", "scheduler", "scheduler-2", "worker-1", "worker-2")


def test_an_outage_of_the_database_is_told_in_lines_without_tracebacks(rig: Rig) -> None:
    postgres = rig.installation.system.postgres
    assert postgres is not None
    read_from = {name: _size(rig, name) for name in ROLES}
    campaigns = [rig.send("email", 250), rig.send("push", 150)]

    with Callers(rig, [rig.installation.endpoint]).calling() as callers:
        for _ in range(2):
            rig.until_at_work("worker-1")
            postgres.stop(immediate=True)
            time.sleep(1.0)
            postgres.start()
            _end_all_sessions(rig)
            campaigns.append(rig.send("sms", 150))
        rig.finish(*campaigns)
    assert callers.finish().keys() <= {"sent"}
    assert callers.statuses.keys() <= {201, 503}

    for name in ROLES:
        lines = rig.log_lines(name, read_from[name])
        assert [line for line in lines if "exception" in line or line["level"] not in {"info", "warning"}] == []
    assert "tick failed" in {line["event"] for name in ROLES for line in rig.log_lines(name, read_from[name])}


def _end_all_sessions(rig: Rig) -> None:
    for _ in range(5):
        rig.do("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'tidings-%%'")
        time.sleep(0.05)


def _size(rig: Rig, name: str) -> int:
    return rig.installation.system.supervisor.log_of(name).stat().st_size
