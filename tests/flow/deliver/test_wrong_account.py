"""An account of the wrong environment calls every device bad: nobody loses a device over it, and nobody is missed."""

import time
from collections.abc import Iterator

import pytest

from tests.flow.deliver.conftest import Desk


@pytest.fixture
def apns(desk: Desk) -> Iterator[str]:
    """A provider that only targets use that name it; its id."""
    installation, provider = desk.installation, f"apns{time.monotonic_ns()}"
    installation.factory.provider("apns", provider, credentials=installation.simulator["credentials"]["apns"])
    yield provider
    installation.set_faults(apns={})
    desk.do("DELETE FROM providers WHERE id = %s", provider)


def test_the_wrong_environment_expires_no_device_and_its_recipients_wait(desk: Desk, apns: str) -> None:
    people = desk.people(150, channel="push")
    desk.installation.factory.use_apple_devices(people)
    desk.do("UPDATE targets SET provider_id = %s WHERE id LIKE %s", apns, f"{people}-%")
    desk.installation.set_faults(apns={"invalid_rate": 1.0})

    run = desk.send(people, channel="push")
    desk.until("SELECT FROM providers WHERE id = %s AND fault_reason LIKE '%%environment%%'", apns)
    assert desk.states(run).keys() <= {"queued", "claimed"}

    desk.installation.set_faults(apns={})  # now it is the environment of these devices
    assert desk.call("PATCH", f"/messaging/providers/apns/{apns}", {"sandbox": True}).ok
    verdict = desk.finish(run)

    assert (verdict.sent, verdict.failed, verdict.copies) == (150, 0, 0)
    assert desk.ask("SELECT DISTINCT expired FROM targets WHERE id LIKE %s", f"{people}-%") == [(False,)]
    assert desk.ask("SELECT fault_reason FROM providers WHERE id = %s", apns) == [(None,)]
