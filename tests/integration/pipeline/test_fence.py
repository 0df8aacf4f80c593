"""The fence, and the judge who must notice when it is down: a worker frozen past its lease wakes and goes on."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from shared.cli.verdict import Verdict, judge
from shared.db.queries import record as record_queries
from shared.db.queries.claim import ClaimedBatch
from shared.db.queries.record import Recording
from tests.integration.pipeline.conftest import Bench, change

FENCE = "batches.token = change.token\n    AND batches.recorded_total = change.recorded_before"


@dataclass(slots=True)
class Provider:
    """Accepts whatever it is sent, and writes down for whom."""

    bench: Bench
    record: Path

    def send(self, targets: Sequence[int]) -> None:
        rows = self.bench.ask("SELECT identifier FROM targets WHERE seq = ANY(%s)", list(targets))
        with self.record.open("a") as lines:
            lines.writelines(json.dumps({"recipient": identifier, "title": ""}) + "\n" for (identifier,) in rows)

    def judge(self, run: int) -> Verdict:
        with self.bench.factory.connect() as connection:
            return judge(connection, self.record, run)


@pytest.fixture
def without_fence(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_KEEP", "_CLOSE"):
        statement = getattr(record_queries, name)
        assert FENCE in statement
        monkeypatch.setattr(record_queries, name, statement.replace(FENCE, "true"))


async def _close(bench: Bench, batch: ClaimedBatch) -> None:
    """Accepted, what was not accounted for when it was claimed."""
    recording = Recording()
    change(recording, batch, before=batch.recorded_total, sent=batch.targets[batch.attempted_to :], closes=True)
    try:
        await bench.record(recording)
    except psycopg.errors.UniqueViolation:
        """The ledger's key is the last wall; a worker gives up a batch that it cannot write."""


async def _play(bench: Bench, provider: Provider) -> int:
    """One worker freezes with two of four sent; another takes over, and while it is sending the first wakes up."""
    run = await bench.planned_campaign(4)
    frozen = await bench.claim_one()
    await bench.mark(frozen, 2)
    provider.send(frozen.targets[:2])
    bench.run_out(frozen)
    await bench.recover()
    taken = [await bench.claim_one() for _ in range(2)]
    for batch in taken:
        await bench.mark(batch, len(batch.targets))

    if not (await bench.mark(frozen, 4)).stale:
        provider.send(frozen.targets[2:])
    await _close(bench, frozen)

    for batch in taken:
        provider.send(batch.targets[batch.attempted_to :])
        await _close(bench, batch)
    return run


@pytest.fixture
def provider(bench: Bench, tmp_path: Path) -> Provider:
    return Provider(bench, tmp_path / "record.jsonl")


async def test_the_fence_keeps_a_worker_that_wakes_late_from_doing_harm(bench: Bench, provider: Provider) -> None:
    verdict = provider.judge(await _play(bench, provider))

    assert verdict.violations == []
    assert (verdict.sent, verdict.copies, verdict.resends) == (4, 2, 2)


async def test_without_the_fence_the_judge_reports_what_went_wrong(
    bench: Bench, provider: Provider, without_fence: None
) -> None:
    verdict = provider.judge(await _play(bench, provider))

    kinds = [violation.partition(":")[0] for violation in verdict.violations]
    assert kinds.count("unrecorded copy") == 4
    assert "not finished" in kinds
