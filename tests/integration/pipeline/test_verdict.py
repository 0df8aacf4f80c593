"""The judge himself: each way in which ledger and provider can disagree is named."""

import json
from pathlib import Path

import pytest

from shared.cli.verdict import judge
from tests.integration.pipeline.conftest import Bench


@pytest.fixture
def record(tmp_path: Path) -> Path:
    return tmp_path / "record.jsonl"


async def _delivered(bench: Bench, record: Path) -> int:
    """A campaign to three people, delivered without fault; the record agrees."""
    run = await bench.planned_campaign(3)
    await bench.finish_batch(await bench.claim_one())
    _write(record, [(address, "Hello") for (address,) in bench.ask("SELECT identifier FROM targets ORDER BY seq")])
    return run


def _write(record: Path, accepted: list[tuple[str, str]]) -> None:
    """Addresses and titles, in the simulator's form."""
    record.write_text("".join(json.dumps({"recipient": who, "title": title}) + "\n" for who, title in accepted))


def _read(record: Path) -> list[tuple[str, str]]:
    entries = [json.loads(line) for line in record.read_text().splitlines()]
    return [(entry["recipient"], entry["title"]) for entry in entries]


def _violations(bench: Bench, record: Path, run: int, *, title: str | None = None) -> list[str]:
    """By their first word."""
    with bench.factory.connect() as connection:
        verdict = judge(connection, record, run, title=title)
    return [violation.partition(":")[0] for violation in verdict.violations]


async def test_a_clean_run_has_nothing_against_it(bench: Bench, record: Path) -> None:
    run = await _delivered(bench, record)

    assert _violations(bench, record, run) == []


async def test_what_no_provider_accepted_was_not_sent(bench: Bench, record: Path) -> None:
    run = await _delivered(bench, record)
    _write(record, _read(record)[1:])

    assert _violations(bench, record, run) == ["phantom"]


async def test_a_copy_without_a_resend_is_told_from_another_message_to_the_same_people(
    bench: Bench, record: Path
) -> None:
    run = await _delivered(bench, record)
    _write(record, _read(record) + [(who, "Bye") for who, _ in _read(record)])

    assert _violations(bench, record, run) == ["unrecorded copy"] * 3
    assert _violations(bench, record, run, title="Hello") == []


@pytest.mark.parametrize(
    "settle",
    [
        "UPDATE message_progress SET sent = 0, skipped = 3",
        "UPDATE message_progress SET sent = 0, cancelled = 3",
        "UPDATE message_progress SET sent = 0, failed = 3",
        "UPDATE message_progress SET sent = 0, expired = 3",
    ],
)
async def test_whom_the_ledger_calls_untouched_no_provider_may_know(bench: Bench, record: Path, settle: str) -> None:
    run = await _delivered(bench, record)
    bench.do(settle)
    bench.do(
        "UPDATE deliveries SET state = CASE WHEN skipped > 0 THEN 'skipped' WHEN cancelled > 0 THEN 'cancelled'"
        " WHEN failed > 0 THEN 'failed' ELSE 'expired' END"
        " FROM message_progress WHERE message_progress.run = deliveries.run"
    )

    assert _violations(bench, record, run) == ["unwanted"] * 3


@pytest.mark.parametrize(
    "later",
    [
        "UPDATE deliveries SET state = 'failed', receipt = 'undelivered'",
        "UPDATE deliveries SET state = 'failed', resends = 1",
    ],
)
async def test_who_failed_after_an_acceptance_is_told_from_who_was_never_sent_to(
    bench: Bench, record: Path, later: str
) -> None:
    run = await _delivered(bench, record)
    bench.do(later)
    bench.do("UPDATE message_progress SET sent = 0, failed = 3, resends = (SELECT sum(resends) FROM deliveries)")

    assert _violations(bench, record, run) == []


async def test_nobody_else_may_get_a_message(bench: Bench, record: Path) -> None:
    run = await _delivered(bench, record)
    _write(record, [*_read(record), ("token-of-a-stranger", "Hello"), ("token-of-another", "Bye")])

    assert _violations(bench, record, run, title="Hello") == ["stranger"]


@pytest.mark.parametrize(
    ("damage", "found"),
    [
        ("DELETE FROM deliveries WHERE target_seq = (SELECT min(seq) FROM targets)", ["lost", "totals"]),
        ("UPDATE message_progress SET sent = 2, failed = 1", ["totals", "totals"]),
        ("UPDATE message_progress SET resends = 1", ["totals"]),
        ("UPDATE message_progress SET finished_at = NULL", ["not finished"]),
        ("UPDATE message_progress SET batches_left = 1", ["not finished"]),
    ],
)
async def test_the_books_must_agree_with_themselves(bench: Bench, record: Path, damage: str, found: list[str]) -> None:
    run = await _delivered(bench, record)
    bench.do(damage)

    assert _violations(bench, record, run) == found
