"""The loop closes: simulated providers post signed receipts, and the ledger takes them up, whatever the post does."""

import time

import pytest

from shared.domain.queues import PROVIDER_KINDS
from shared.domain.status import Channel
from shared.providers.registry import RECEIPT_READERS
from tests.flow.conftest import Installation
from tests.flow.providers.sending import send_to, set_up

SECONDS = 30.0


def connect_receipts(installation: Installation, kind: str) -> None:
    """As an operator does: our address entered at the provider, the provider's signing key entered here."""
    setup = installation.call("GET", f"/tidings/providers/{kind}/receipts").json()
    assert setup["isSupported"]
    installation.tell_simulator("/receipts", {kind: setup["url"]})
    if secret := installation.simulator["receipts_secrets"][kind]:
        installation.call("PUT", f"/tidings/providers/{kind}/receipts", {"secret": secret}).raise_for_status()


def await_receipts(installation: Installation, run: int, *, total: int) -> dict[str, int]:
    """Recipients by their receipt, once all have a final one and the inbox is empty."""
    deadline = time.monotonic() + SECONDS
    while True:
        with installation.factory.connect() as connection:
            rows = connection.execute(
                "SELECT receipt, count(*) FROM deliveries WHERE run = %s AND receipt <> 'pending' GROUP BY 1", [run]
            ).fetchall()
            (waiting,) = connection.execute("SELECT count(*) FROM receipts WHERE folded_at IS NULL").fetchone() or (0,)
        counts = {str(receipt): int(str(count)) for receipt, count in rows}
        if sum(counts.values()) == total and not waiting:
            return counts
        assert time.monotonic() < deadline, f"waited in vain: {counts}, {waiting} in the inbox"
        time.sleep(0.05)


@pytest.mark.parametrize("kind", sorted(RECEIPT_READERS))
def test_receipts_reach_the_ledger(installation: Installation, kind: str) -> None:
    """Each of them three times, and some tell that the address is dead."""
    set_up(installation, kind)
    connect_receipts(installation, kind)
    installation.tell_simulator("/faults", {kind: {"receipt_copies": 3}})
    run = send_to(installation, kind, 120, undelivered=6)
    installation.await_finish(run, seconds=SECONDS)

    counts = await_receipts(installation, run, total=126)

    with installation.factory.connect() as connection:
        sums = connection.execute(
            "SELECT sent, failed, delivered, undelivered FROM message_progress WHERE run = %s", [run]
        ).fetchone()
        suppressed = connection.execute(
            "SELECT count(*) FROM suppressions JOIN providers ON providers.seq = provider_seq WHERE providers.id = %s",
            [kind],
        ).fetchone()
    assert sums == (126, 0, 120, 6)
    assert counts["delivered"] == 120
    if PROVIDER_KINDS[kind] is Channel.EMAIL:
        assert counts["bounced"] == 6
        assert suppressed == (6,)
    else:
        assert sum(counts.values()) - counts["delivered"] == 6
