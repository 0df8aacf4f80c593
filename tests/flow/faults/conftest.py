"""An installation for faults: two of each role but the API, short leases, small windows and pages."""

from collections.abc import Iterator

import pytest

from shared.cli.local_roles import scheduler_role
from tests.flow.conftest import VARIABLES, Installation, add_providers, running_installation
from tests.flow.faults.rig import LEASE_SECONDS, SECONDS, Rig
from tests.flow.providers.sending import set_up


@pytest.fixture(scope="session")
def installation() -> Iterator[Installation]:
    variables = {
        **VARIABLES,
        "TIDINGS_LEASE_SECONDS": str(LEASE_SECONDS),
        "TIDINGS_PROVIDER_TIMEOUT_SECONDS": "1",
        "TIDINGS_SMTP_FINAL_TIMEOUT_SECONDS": "1",
        "TIDINGS_PAGE_SIZE": "20",
        "TIDINGS_RELEASE_INTERVAL_SECONDS": "0.2",
        "TIDINGS_MAX_RESENDS": "2",
    }
    with running_installation(variables) as running:
        running.system.supervisor.start(scheduler_role("scheduler-2"))
        running.system.supervisor.await_ready("scheduler-2", timeout_seconds=SECONDS)
        add_providers(running)
        set_up(running, "twilio")
        yield running


@pytest.fixture
def rig(installation: Installation) -> Iterator[Rig]:
    """Every role runs again afterwards, and providers answer at once."""
    rig = Rig(installation)
    rig.slow_down(milliseconds=100)
    yield rig
    rig.mend()
    rig.slow_down(milliseconds=0)
