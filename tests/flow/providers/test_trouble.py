"""Each provider with everything going wrong at once: nobody is lost, nobody is counted who was not reached, and every
copy is on file.
"""

from collections.abc import Iterator

import pytest

from shared.providers.registry import ADAPTERS
from tests.flow.conftest import Installation, running_installation
from tests.flow.providers.sending import VARIABLES, send_to, set_up

RECIPIENTS = 600
SECONDS = 150.0

TROUBLE = {
    "dead_rate": 0.05,
    "throttle_rate": 0.05,
    "server_error_rate": 0.05,
    "dropped_rate": 0.02,
    "silent_rate": 0.01,
    "slow_rate": 0.02,
    "slow_seconds": 0.5,
    "transient_once_rate": 0.05,
    "latency_ms": 5,
    "retry_after_seconds": 0,
    "receipt_copies": 0,
}

WAITED_FOR_LONG = {"apns", "fcm"}
"""After a 5xx, a quarter of an hour and ten seconds, as Apple and Google ask for: not in a test."""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def installation() -> Iterator[Installation]:
    with running_installation(
        {**VARIABLES, "TIDINGS_PROVIDER_TIMEOUT_SECONDS": "2", "TIDINGS_SMTP_FINAL_TIMEOUT_SECONDS": "2"}
    ) as running:
        yield running


@pytest.mark.parametrize("kind", sorted(ADAPTERS))
def test_the_ledger_says_nothing_that_the_record_does_not(installation: Installation, kind: str) -> None:
    set_up(installation, kind)
    trouble = {**TROUBLE, "server_error_rate": 0.0} if kind in WAITED_FOR_LONG else TROUBLE
    installation.tell_simulator("/faults", {kind: trouble})

    run = send_to(installation, kind, RECIPIENTS)
    installation.await_finish(run, seconds=SECONDS)

    verdict = installation.judge(run)
    assert verdict.violations == []
    assert verdict.planned == verdict.sent + verdict.failed + verdict.unknown == RECIPIENTS
    assert verdict.copies <= verdict.resends
    assert verdict.accepted >= verdict.sent
