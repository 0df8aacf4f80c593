"""Recording: marks before sending, outcomes after, and the settling of closed batches, all in one transaction."""

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import datetime

from shared.db.queries.finish import MAX_ERRORS, finish_runs
from shared.db.queries.suppressions import Verdict, suppress
from shared.db.session import HotConnection, copy_rows
from shared.domain.status import DeliveryState

SUM_COLUMNS = tuple(state.value for state in DeliveryState)
"""The sums of a batch and of a message's progress: one column per final state, in this order."""


@dataclass(slots=True)
class BatchChange:
    """What one transaction writes about one claimed batch. Compare-and-set on its token and `recorded_before`."""

    seq: int
    token: int
    run: int
    recorded_before: int
    attempted_to: int
    recorded_total: int
    sums: dict[DeliveryState, int] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    is_closed: bool = False  # every recipient is accounted for: the row goes, its sums are settled
    release_at: datetime | None = None  # given back unfinished, due then
    waiting_since: datetime | None = None  # with release_at: its account is at fault since then


LedgerRow = tuple[int, int, int, str, int | None, str, int, int, str]
"""run, target_seq, project_seq, state, provider_seq, provider_message_id, attempts, resends, reason"""

_LEDGER_COLUMNS = (
    "run",
    "target_seq",
    "project_seq",
    "state",
    "provider_seq",
    "provider_message_id",
    "attempts",
    "resends",
    "reason",
)

AttemptRow = tuple[int, int, int, int, int, str, str, str, datetime | None]
"""run, batch_seq, target_seq, provider_seq, number, outcome, decision, reason, due_at"""

_ATTEMPT_COLUMNS = (
    "run",
    "batch_seq",
    "target_seq",
    "provider_seq",
    "number",
    "outcome",
    "decision",
    "reason",
    "due_at",
)


MOST_GATHERED = 200
"""Recipients of a batch that others may join: so many ids still lie in the row itself. Postgres would keep longer lists
apart from it, and write them anew each time that one is added.
"""


@dataclass(frozen=True, slots=True)
class FollowingBatch:
    """Recipients of an open batch that move to another one: a retry, a resend or a rebinding."""

    run: int
    project_seq: int
    message_seq: int
    queue: str
    provider_seq: int
    targets: list[int]
    due_at: datetime
    attempt: int
    resends: int
    crashes: int = 0
    waiting_since: datetime | None = None

    @property
    def common(self) -> tuple[object, ...]:
        """What recipients must have in common to travel in one batch."""
        return tuple(getattr(self, column.name) for column in fields(self) if column.name != "targets")


@dataclass(slots=True)
class Recording:
    """Everything one transaction records, of any number of batches."""

    changes: list[BatchChange] = field(default_factory=list)
    ledger: dict[int, list[LedgerRow]] = field(default_factory=lambda: defaultdict(list))  # key: batch seq
    attempts: dict[int, list[AttemptRow]] = field(default_factory=lambda: defaultdict(list))
    following: dict[int, list[FollowingBatch]] = field(default_factory=lambda: defaultdict(list))
    resends: dict[int, int] = field(default_factory=lambda: defaultdict(int))  # decided now; key: batch seq
    dead_targets: dict[int, str] = field(default_factory=dict)  # push targets that expire -> the address that is dead
    suppressions: list[Verdict] = field(default_factory=list)  # addresses that must not be used again
    faults: dict[int, str | None] = field(default_factory=dict)  # provider_seq: why it is at fault; None: mended

    def apart(self) -> "list[Recording]":
        """The same as one recording for each batch, and one for what is said of addresses and accounts."""
        return self._in_parts([[change] for change in self.changes])

    def by_run(self) -> "list[Recording]":
        """The same as one recording for each message, and one for what is said of addresses and accounts."""
        changes: defaultdict[int, list[BatchChange]] = defaultdict(list)
        for change in self.changes:
            changes[change.run].append(change)
        return self._in_parts(changes.values())

    def _in_parts(self, groups: Iterable[list[BatchChange]]) -> "list[Recording]":
        parts = []
        if self.dead_targets or self.suppressions or self.faults:
            parts.append(Recording(dead_targets=self.dead_targets, suppressions=self.suppressions, faults=self.faults))
        for changes in groups:
            part = Recording(changes=changes)
            for change in changes:
                part.ledger[change.seq] = self.ledger.get(change.seq, [])
                part.attempts[change.seq] = self.attempts.get(change.seq, [])
                part.following[change.seq] = self.following.get(change.seq, [])
                part.resends[change.seq] = self.resends.get(change.seq, 0)
            parts.append(part)
        return parts


_KEEP = """
UPDATE batches
SET attempted_to = change.attempted_to,
    recorded_total = change.recorded_total,
    {sums},
    errors = (batches.errors || ARRAY(SELECT jsonb_array_elements_text(change.errors)))[:{max_errors}],
    lease_until = CASE WHEN change.release_at IS NULL THEN now() + %(lease)s * interval '1 second' END,
    state = CASE WHEN change.release_at IS NULL THEN 'claimed' ELSE 'due' END,
    token = CASE WHEN change.release_at IS NULL THEN batches.token END,
    due_at = coalesce(change.release_at, batches.due_at),
    waiting_since = CASE WHEN change.release_at IS NULL THEN batches.waiting_since ELSE change.waiting_since END
FROM unnest(
    %(seq)s::bigint[], %(token)s::bigint[], %(recorded_before)s::int[], %(attempted_to)s::int[],
    %(recorded_total)s::int[], %(errors)s::jsonb[], %(release_at)s::timestamptz[], %(waiting_since)s::timestamptz[],
    {sum_arrays}
) AS change (
    seq, token, recorded_before, attempted_to, recorded_total, errors, release_at, waiting_since, {sum_names}
)
WHERE batches.seq = change.seq AND batches.token = change.token
    AND batches.recorded_total = change.recorded_before
RETURNING batches.seq
""".format(
    sums=", ".join(f"{name} = batches.{name} + change.{name}" for name in SUM_COLUMNS),
    sum_arrays=", ".join(f"%({name})s::int[]" for name in SUM_COLUMNS),
    sum_names=", ".join(SUM_COLUMNS),
    max_errors=MAX_ERRORS,
)

# Whoever is due at the same moment for the same try at the same account travels in one batch, over all commits and
# processes; else a campaign of which one in ten is refused would become a batch for every one or two of them. A row
# that a claim or another recorder holds is not waited for: then these recipients get a row of their own.
_JOIN = """
WITH chosen AS (
    SELECT joining.number, joining.targets, batch.seq
    FROM unnest(
        %(number)s::int[], %(run)s::bigint[], %(project_seq)s::int[], %(message_seq)s::bigint[], %(queue)s::text[],
        %(provider_seq)s::bigint[], %(due_at)s::timestamptz[], %(attempt)s::smallint[], %(resends)s::smallint[],
        %(waiting_since)s::timestamptz[], %(targets)s::text[], %(size)s::int[]
    ) AS joining (
        number, run, project_seq, message_seq, queue, provider_seq, due_at, attempt, resends, waiting_since, targets,
        size
    )
    CROSS JOIN LATERAL (
        SELECT seq FROM batches
        WHERE state = 'due' AND queue = joining.queue AND project_seq = joining.project_seq
            AND message_seq = joining.message_seq AND provider_seq = joining.provider_seq
            AND due_at = joining.due_at AND run = joining.run AND attempt = joining.attempt
            AND resends = joining.resends AND waiting_since IS NOT DISTINCT FROM joining.waiting_since
            -- nobody in it was tried under it, and nobody is suspected of anything
            AND attempted_to = 0 AND crashes = 0 AND false_starts = 0
            AND cardinality(targets) + joining.size <= %(most)s
        ORDER BY seq
        LIMIT 1
        FOR UPDATE SKIP LOCKED
    ) AS batch
)
UPDATE batches SET targets = batches.targets || chosen.targets::bigint[]
FROM chosen WHERE batches.seq = chosen.seq
RETURNING chosen.number
"""

_CLOSE = """
DELETE FROM batches
USING unnest(%(seq)s::bigint[], %(token)s::bigint[], %(recorded_before)s::int[])
    AS change (seq, token, recorded_before)
WHERE batches.seq = change.seq AND batches.token = change.token
    AND batches.recorded_total = change.recorded_before
RETURNING batches.seq, batches.errors, {sums}
""".format(sums=", ".join(f"batches.{name}" for name in SUM_COLUMNS))

_SETTLE = """
UPDATE message_progress
SET batches_left = batches_left + settled.batches, resends = message_progress.resends + settled.resends,
    errors = (message_progress.errors || ARRAY(SELECT jsonb_array_elements_text(settled.errors)))[:{max_errors}],
    {sums}
FROM unnest(%(run)s::bigint[], %(batches)s::int[], %(resends)s::int[], %(errors)s::jsonb[], {sum_arrays})
    AS settled (run, batches, resends, errors, {sum_names})
WHERE message_progress.run = settled.run
RETURNING message_progress.run, batches_left
""".format(
    sums=", ".join(f"{name} = message_progress.{name} + settled.{name}" for name in SUM_COLUMNS),
    sum_arrays=", ".join(f"%({name})s::int[]" for name in SUM_COLUMNS),
    sum_names=", ".join(SUM_COLUMNS),
    max_errors=MAX_ERRORS,
)


@dataclass(slots=True)
class _Settlement:
    """What one transaction adds to one message's progress."""

    batches: int = 0
    resends: int = 0
    errors: list[str] = field(default_factory=list)
    sums: dict[str, int] = field(default_factory=lambda: dict.fromkeys(SUM_COLUMNS, 0))


@dataclass(frozen=True, slots=True)
class Recorded:
    stale: set[int]  # batches whose token was lost: nothing of theirs was written
    finished: int  # messages that got their final status


async def record(connection: HotConnection, recording: Recording, *, lease_seconds: float) -> Recorded:
    """Write marks, outcomes and settlements of many batches; the caller commits.

    Lock order: batches, ledger, targets and providers, progress last; batches that retries join are locked only where
    nobody holds them. Repeating a recording that was committed changes nothing and reports its batches as stale; see
    `was_recorded`.
    """
    kept = await _keep(connection, recording.changes, lease_seconds=lease_seconds)
    settlements, closed = await _close(connection, recording.changes)
    valid = kept | closed
    await _write_rows(connection, recording, valid)
    following = [batch for seq, batches in recording.following.items() if seq in valid for batch in batches]
    for batch in await _write_following(connection, following):
        settlements[batch.run].batches += 1
    await _write_verdicts(connection, recording)
    for change in recording.changes:
        if change.seq in valid:
            settlements[change.run].resends += recording.resends.get(change.seq, 0)
    finished = await _settle(connection, settlements)
    return Recorded({change.seq for change in recording.changes} - valid, finished)


async def _keep(connection: HotConnection, changes: Iterable[BatchChange], *, lease_seconds: float) -> set[int]:
    kept = [change for change in changes if not change.is_closed]
    if not kept:
        return set()
    parameters: dict[str, object] = {
        "lease": lease_seconds,
        "seq": [change.seq for change in kept],
        "token": [change.token for change in kept],
        "recorded_before": [change.recorded_before for change in kept],
        "attempted_to": [change.attempted_to for change in kept],
        "recorded_total": [change.recorded_total for change in kept],
        "errors": [json.dumps(change.errors) for change in kept],
        "release_at": [change.release_at for change in kept],
        "waiting_since": [change.waiting_since for change in kept],
    }
    for state in DeliveryState:
        parameters[state.value] = [change.sums.get(state, 0) for change in kept]
    cursor = await connection.execute(_KEEP, parameters)
    return {seq for (seq,) in await cursor.fetchall()}


async def _close(
    connection: HotConnection, changes: Iterable[BatchChange]
) -> tuple[defaultdict[int, _Settlement], set[int]]:
    """Delete closed batches; their sums by run."""
    settlements: defaultdict[int, _Settlement] = defaultdict(_Settlement)
    closing = {change.seq: change for change in changes if change.is_closed}
    if not closing:
        return settlements, set()
    cursor = await connection.execute(
        _CLOSE,
        {
            "seq": list(closing),
            "token": [change.token for change in closing.values()],
            "recorded_before": [change.recorded_before for change in closing.values()],
        },
    )
    closed = set()
    for seq, errors, *sums in await cursor.fetchall():
        change = closing[seq]
        settlement = settlements[change.run]
        settlement.batches -= 1
        settlement.errors += [*errors, *change.errors]
        for state, earlier in zip(DeliveryState, sums, strict=True):
            settlement.sums[state.value] += earlier + change.sums.get(state, 0)
        closed.add(seq)
    return settlements, closed


async def _write_rows(connection: HotConnection, recording: Recording, valid: set[int]) -> None:
    ledger = [row for seq, rows in recording.ledger.items() if seq in valid for row in rows]
    if ledger:
        await copy_rows(connection, "deliveries", _LEDGER_COLUMNS, ledger)
    attempts = [row for seq, rows in recording.attempts.items() if seq in valid for row in rows]
    if attempts:
        await copy_rows(connection, "attempts", _ATTEMPT_COLUMNS, attempts)


async def _write_following(connection: HotConnection, following: Sequence[FollowingBatch]) -> list[FollowingBatch]:
    """Move recipients on, into batches that wait already where they fit; the batches that had to be made."""
    if not following:
        return []
    made = []
    last = []
    for group in _gather(following):
        made += group[:-1]
        last.append(group[-1])
    joining = [batch for batch in last if _may_be_joined(batch)]
    joined = await _join(connection, joining)
    made += [batch for batch in last if not _may_be_joined(batch)]
    made += [batch for number, batch in enumerate(joining) if number not in joined]
    columns = [column.name for column in fields(FollowingBatch)]
    await copy_rows(connection, "batches", columns, [[getattr(batch, column) for column in columns] for batch in made])
    return made


def _gather(following: Iterable[FollowingBatch]) -> Iterable[list[FollowingBatch]]:
    """The same recipients in fewer batches: for each kind of them the ones that are full, and one that is not."""
    gathered: defaultdict[tuple[object, ...], list[FollowingBatch]] = defaultdict(list)
    for batch in following:
        group = gathered[batch.common]
        targets = [*group[-1].targets, *batch.targets] if group else []
        if group and _may_be_joined(batch) and len(targets) <= MOST_GATHERED:
            group[-1] = replace(batch, targets=targets)
        else:
            group.append(batch)
    return gathered.values()


def _may_be_joined(batch: FollowingBatch) -> bool:
    """Suspects stay among themselves: their next crash must say something about them."""
    return not batch.crashes and len(batch.targets) < MOST_GATHERED


async def _join(connection: HotConnection, joining: Sequence[FollowingBatch]) -> set[int]:
    """Add these to batches that wait for the same; the positions in `joining` of those that found one."""
    if not joining:
        return set()
    parameters: dict[str, object] = {
        column.name: [getattr(batch, column.name) for batch in joining] for column in fields(FollowingBatch)
    }
    parameters |= {
        "number": list(range(len(joining))),
        "size": [len(batch.targets) for batch in joining],
        "targets": [f"{{{','.join(map(str, batch.targets))}}}" for batch in joining],
        "most": MOST_GATHERED,
    }
    cursor = await connection.execute(_JOIN, parameters)
    return {number for (number,) in await cursor.fetchall()}


async def _write_verdicts(connection: HotConnection, recording: Recording) -> None:
    """What the provider said of addresses and accounts; in the order of their keys, as every writer does."""
    if recording.dead_targets:
        await connection.execute(
            # a device that registered anew meanwhile has another address
            "UPDATE targets SET expired = true, updated_at = now() WHERE seq IN"
            " (SELECT seq FROM targets JOIN unnest(%s::bigint[], %s::text[]) AS dead (seq, identifier)"
            " USING (seq, identifier) WHERE NOT expired ORDER BY seq FOR UPDATE OF targets)",
            [list(recording.dead_targets), list(recording.dead_targets.values())],
        )
    await suppress(connection, recording.suppressions)
    for provider_seq, reason in sorted(recording.faults.items()):
        await connection.execute(
            "UPDATE providers SET fault_reason = %(reason)s::text,"
            " fault_since = CASE WHEN %(reason)s::text IS NOT NULL THEN coalesce(fault_since, now()) END"
            " WHERE seq = %(seq)s AND fault_reason IS DISTINCT FROM %(reason)s::text",
            {"reason": reason, "seq": provider_seq},
        )


async def _settle(connection: HotConnection, settlements: dict[int, _Settlement]) -> int:
    """Add to the messages' progress, locked in the order of their runs; finish what has nothing open left."""
    changed = {
        run: settlement
        for run, settlement in sorted(settlements.items())
        if settlement.batches or settlement.resends or any(settlement.sums.values())
    }
    if not changed:
        return 0
    if len(changed) > 1:
        await connection.execute(
            "SELECT FROM message_progress WHERE run = ANY(%s) ORDER BY run FOR NO KEY UPDATE", [list(changed)]
        )
    parameters: dict[str, object] = {
        "run": list(changed),
        "batches": [settlement.batches for settlement in changed.values()],
        "resends": [settlement.resends for settlement in changed.values()],
        "errors": [json.dumps(settlement.errors[:MAX_ERRORS]) for settlement in changed.values()],
    }
    for name in SUM_COLUMNS:
        parameters[name] = [settlement.sums[name] for settlement in changed.values()]
    cursor = await connection.execute(_SETTLE, parameters)
    finished = [run for run, batches_left in await cursor.fetchall() if batches_left == 0]
    return await finish_runs(connection, finished) if finished else 0


async def was_recorded(connection: HotConnection, recording: Recording) -> bool:
    """After a lost connection: did that commit happen? All of a recording is written or nothing is.

    The rows are locked, for the lost connection's transaction may be committing still. A batch under our token tells:
    closing or releasing it would have ended the token, and every other change moves one of its counts. A batch that is
    gone or under another token tells nothing: we may have closed it ourselves, or somebody took it over. Where none
    tells, no batch is ours any more and nothing is left to repeat.
    """
    changes = {change.seq: change for change in recording.changes}
    cursor = await connection.execute(
        "SELECT seq, token, attempted_to, recorded_total FROM batches WHERE seq = ANY(%s) ORDER BY seq FOR UPDATE",
        [list(changes)],
    )
    for seq, token, *counts in await cursor.fetchall():
        change = changes[seq]
        if token == change.token:
            is_kept = not change.is_closed and change.release_at is None
            return is_kept and counts == [change.attempted_to, change.recorded_total]
    return True
