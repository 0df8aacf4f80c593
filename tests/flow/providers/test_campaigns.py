"""5,000 recipients through each provider, one in ten dead and one in ten turned away once: the ledger says exactly
what the provider's record says.
"""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from shared.domain.queues import FAN_OUT_QUEUE, PROVIDER_KINDS
from shared.domain.status import Channel
from shared.providers.registry import ADAPTERS
from shared.queue.rings import Ringer
from tests.flow.conftest import Installation, running_installation

RECIPIENTS = 5_000
SECONDS = 60.0

VARIABLES = {
    "TIDINGS_RETRY_BASE_SECONDS": "0.2",
    "TIDINGS_STALE_DUE_SECONDS": "0.5",
    "TIDINGS_FOLD_INTERVAL_SECONDS": "0.2",
}

FAULTS = {"dead_rate": 0.1, "transient_once_rate": 0.1, "retry_after_seconds": 0}

SENDERS: dict[Channel, dict[str, object]] = {
    Channel.EMAIL: {"fromEmail": "news@example.com", "fromName": "News"},
    Channel.SMS: {"from": "+12065550100"},
    Channel.PUSH: {},
}


@pytest.fixture(scope="module")
def installation() -> Iterator[Installation]:
    with running_installation(VARIABLES) as running:
        yield running


def set_up(installation: Installation, kind: str) -> None:
    """A provider with the credentials that its simulator takes, made as a customer makes it."""
    said = installation.simulator
    credentials: dict[str, object] = {
        "fcm": {"serviceAccountJSON": said["fcm_service_account"]},
        "smtp": {"host": "mail.example.com", "port": 587, "autoTLS": True},
        **said["credentials"],
    }[kind]
    body = {"providerId": kind, "name": kind, "enabled": True, **SENDERS[PROVIDER_KINDS[kind]], **credentials}
    made = installation.call("POST", f"/messaging/providers/{kind}", body)
    assert made.ok, made.text
    assert made.json()["enabled"], made.json()


def send(installation: Installation, kind: str) -> int:
    """To people of this provider's own; the run."""
    factory, channel = installation.factory, PROVIDER_KINDS[kind]
    people = f"{kind}_"
    factory.audience(RECIPIENTS, channel=channel, prefix=people)
    factory.subscribe(factory.topic(people), prefix=people)
    with factory.connect() as connection:
        connection.execute(
            "UPDATE targets SET provider_id = %s WHERE project_seq = %s AND id LIKE %s",
            [kind, factory.project_seq, f"{kind}\\_-%"],
        )
    run = factory.message(f"to-{kind}", channel=channel, topics=[people])
    ringer = Ringer(installation.system.settings)
    ringer.start()
    ringer.ring(FAN_OUT_QUEUE)
    ringer.stop()
    return run


def record_of(installation: Installation, kind: str) -> list[dict[str, Any]]:
    with installation.record.open() as lines:
        return [entry for line in lines if (entry := json.loads(line))["provider"] == kind]


@pytest.mark.parametrize("kind", sorted(ADAPTERS))
def test_the_ledger_is_the_record(installation: Installation, kind: str) -> None:
    set_up(installation, kind)
    installation.tell_simulator("/faults", {kind: FAULTS})

    run = send(installation, kind)
    installation.await_finish(run, seconds=SECONDS)

    verdict = installation.judge(run)
    assert verdict.violations == []
    assert (verdict.unknown, verdict.copies) == (0, 0)
    assert RECIPIENTS * 0.07 < verdict.failed < RECIPIENTS * 0.13
    with installation.factory.connect() as connection:
        ledger = connection.execute(
            "SELECT targets.identifier, provider_message_id FROM deliveries"
            " JOIN targets ON targets.seq = target_seq WHERE run = %s AND state = 'sent'",
            [run],
        ).fetchall()
        rows = connection.execute(
            "SELECT outcome, count(DISTINCT target_seq) FROM attempts WHERE run = %s GROUP BY 1", [run]
        ).fetchall()
    attempts = {str(outcome): int(str(count)) for outcome, count in rows}
    record = record_of(installation, kind)
    assert sorted(str(address) for address, _ in ledger) == sorted(entry["recipient"] for entry in record)
    assert attempts["dead_address"] == verdict.failed
    assert attempts["retry"] > RECIPIENTS * 0.05
