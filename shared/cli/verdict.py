"""The verdict on a finished run: what the simulator accepted, held against what the ledger says."""

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import psycopg


@dataclass(frozen=True, slots=True)
class Verdict:
    """`violations`: sentences, none when all is well."""

    planned: int
    sent: int
    failed: int
    unknown: int
    resends: int  # sent again though the first may have arrived: possible copies, as the ledger has them
    accepted: int  # recipients the simulator accepted at least once
    copies: int  # what it accepted beyond the first
    seconds: float  # from accepted by us to finished
    violations: list[str] = field(default_factory=list)


def judge(
    connection: "psycopg.Connection[tuple[object, ...]]", record: Path, run: int, *, title: str | None = None
) -> Verdict:
    """Hold one finished run against the simulator's record; both are read from end to end.

    `title` (subject or title of the message, or its text) tells its entries from those of other messages to the same
    people. Without it nobody can say whom the message was not for.

    Checked: every planned recipient has one final state and no open batch is left; what the ledger calls sent was
    accepted, what it calls unknown may have been, and anything else was not, unless it was sent again or a receipt
    came; a second copy has a resend on file; nobody else got it; totals are the ledger's own counts; it finished.
    """
    accepted = _accepted(record, title)
    ledger = _ledger(connection, run)
    progress = _progress(connection, run)
    open_recipients = _number(
        connection, "SELECT coalesce(sum(cardinality(targets) - recorded_total), 0) FROM batches WHERE run = %s", run
    )
    violations = [
        *_judge_totals(progress, ledger, open_recipients),
        *_judge_resends(progress, ledger),
        *(violation for address, row in ledger.items() for violation in _judge_recipient(address, row, accepted)),
        *(f"stranger: {who} got it" for who in accepted.keys() - ledger.keys() if title is not None),
    ]
    return Verdict(
        planned=progress["planned"],
        sent=progress["sent"],
        failed=progress["failed"] + progress["expired"],
        unknown=progress["unknown"],
        resends=progress["resends"],
        accepted=sum(1 for address in ledger if accepted[address]),
        copies=sum(max(0, accepted[address] - 1) for address in ledger),
        seconds=progress["milliseconds"] / 1000,
        violations=violations,
    )


@dataclass(frozen=True, slots=True)
class _Row:
    state: str
    resends: int
    has_receipt: bool  # whose word may have moved the state since


def _accepted(record: Path, title: str | None) -> Counter[str]:
    """Copies by address."""
    with record.open() as lines:
        entries = (json.loads(line) for line in lines)
        return Counter(entry["recipient"] for entry in entries if title is None or entry["title"] == title)


def _ledger(connection: "psycopg.Connection[tuple[object, ...]]", run: int) -> dict[str, _Row]:
    rows = connection.execute(
        "SELECT targets.identifier, deliveries.state, deliveries.resends, receipt IS NOT NULL FROM deliveries"
        " JOIN targets ON targets.seq = deliveries.target_seq WHERE run = %s",
        [run],
    )
    return {str(address): _Row(str(state), int(str(resends)), bool(has)) for address, state, resends, has in rows}


_PROGRESS = ("planned", "batches_left", "sent", "failed", "skipped", "cancelled", "expired", "unknown", "resends")


def _progress(connection: "psycopg.Connection[tuple[object, ...]]", run: int) -> dict[str, int]:
    milliseconds = "coalesce(extract(epoch FROM finished_at - started_at) * 1000, 0)::int"
    columns = ", ".join([*_PROGRESS, "(finished_at IS NOT NULL)::int", milliseconds])
    row = connection.execute(f"SELECT {columns} FROM message_progress WHERE run = %s".encode(), [run]).fetchone()  # noqa: S608
    assert row is not None, "the run is not known"
    return dict(zip((*_PROGRESS, "finished", "milliseconds"), (int(str(value)) for value in row), strict=True))


def _judge_totals(progress: dict[str, int], ledger: dict[str, _Row], open_recipients: int) -> list[str]:
    violations = []
    if len(ledger) != progress["planned"]:
        violations.append(f"lost: {progress['planned']} planned, {len(ledger)} in the ledger, {open_recipients} open")
    if open_recipients or progress["batches_left"] or not progress["finished"]:
        violations.append(f"not finished: {progress['batches_left']} batches left, {open_recipients} recipients open")
    counts = Counter(row.state for row in ledger.values())
    return violations + [
        f"totals: {progress[state]} {state} in progress, {counts[state]} in the ledger"
        for state in ("sent", "failed", "skipped", "cancelled", "expired", "unknown")
        if counts[state] != progress[state]
    ]


def _judge_resends(progress: dict[str, int], ledger: dict[str, _Row]) -> list[str]:
    recorded = sum(row.resends for row in ledger.values())
    if recorded == progress["resends"]:
        return []
    return [f"totals: {progress['resends']} resends in progress, {recorded} in the ledger"]


def _judge_recipient(address: str, row: _Row, accepted: Counter[str]) -> list[str]:
    copies = accepted[address]
    violations = []
    if row.state == "sent" and copies == 0:
        violations.append(f"phantom: {address} is sent, no provider accepted it")
    is_surely_untouched = row.state in {"skipped", "cancelled", "failed", "expired"} and not row.resends
    if copies and is_surely_untouched and not (row.state == "failed" and row.has_receipt):
        violations.append(f"unwanted: {address} is {row.state}, a provider accepted it")
    if copies > 1 + row.resends:
        violations.append(f"unrecorded copy: {address} was accepted {copies} times after {row.resends} resends")
    return violations


def _number(connection: "psycopg.Connection[tuple[object, ...]]", statement: str, run: int) -> int:
    row = connection.execute(statement.encode(), [run]).fetchone()
    assert row is not None
    return int(str(row[0]))
