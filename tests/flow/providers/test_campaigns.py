"""5,000 recipients through each provider, one in ten dead and one in ten turned away once: the ledger says exactly
what the provider's record says.
"""

import json
from typing import Any

import pytest

from shared.providers.registry import ADAPTERS
from tests.flow.conftest import Installation
from tests.flow.providers.sending import send_to, set_up

RECIPIENTS = 5_000
SECONDS = 60.0

FAULTS = {"dead_rate": 0.1, "transient_once_rate": 0.1, "retry_after_seconds": 0, "receipt_copies": 0}


def record_of(installation: Installation, kind: str) -> list[dict[str, Any]]:
    with installation.record.open() as lines:
        return [entry for line in lines if (entry := json.loads(line))["provider"] == kind]


@pytest.mark.parametrize("kind", sorted(ADAPTERS))
def test_the_ledger_is_the_record(installation: Installation, kind: str) -> None:
    set_up(installation, kind)
    installation.tell_simulator("/faults", {kind: FAULTS})

    run = send_to(installation, kind, RECIPIENTS)
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
