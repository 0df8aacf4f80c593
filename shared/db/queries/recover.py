"""Recovering claims whose lease ran out: what was marked and has no outcome is unknown, the rest was not sent."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from psycopg.rows import class_row

from shared.db.queries.record import BatchChange, FollowingBatch, Recording, record
from shared.db.session import HotConnection
from shared.domain.outcome import UnknownRule
from shared.domain.queues import parse_delivery_queue
from shared.domain.status import DeliveryState

POISON_CRASHES = 3
"""A recipient in flight at this many crashes in a row, with nobody else of its batch, is given up."""

FALSE_START_SECONDS = 5.0
LONGEST_FALSE_START_SECONDS = 600.0
"""A batch whose worker died before it marked anything is due again at once the first time, for it is seldom the batch's
fault. Then it waits, twice as long each time: if it is, every try costs copies of what else its worker had in flight.
"""

# Nothing expires before the database itself has been up for a lease: a restart must not take the work of workers that
# could not renew. `recovered_by` gives the rows a token of our own, so the workers' late writes are refused from here.
_EXPIRED = """
WITH expired AS (
    SELECT seq FROM batches
    WHERE state = 'claimed' AND lease_until < now()
        AND pg_postmaster_start_time() + %(lease)s * interval '1 second' < now(){among}
    ORDER BY lease_until
    LIMIT %(limit)s
    FOR UPDATE SKIP LOCKED
)
UPDATE batches
SET token = nextval('fence_tokens'),
    false_starts = CASE WHEN attempted_to = 0 THEN least(false_starts, 1000) + 1 ELSE 0 END
FROM expired
WHERE batches.seq = expired.seq
RETURNING batches.seq, run, project_seq, message_seq, queue, provider_seq, targets, attempt, resends,
    attempted_to, recorded_total, crashes, false_starts, token, waiting_since, due_at, now() AS now
"""
_ALL_EXPIRED = _EXPIRED.format(among="")

# Of messages whose rows nobody holds: all that settling will wait for is locked here, and what is not is passed over.
_FREE_EXPIRED = _EXPIRED.format(
    among="""
        AND run IN (
            SELECT message_progress.run FROM message_progress
            JOIN messages ON messages.seq = message_progress.message_seq
            WHERE message_progress.run IN (SELECT run FROM batches WHERE state = 'claimed' AND lease_until < now())
            FOR NO KEY UPDATE SKIP LOCKED
        )"""
)

_ACCOUNTED = """
SELECT target_seq FROM deliveries WHERE run = %(run)s AND target_seq = ANY(%(marked)s)
UNION
SELECT target_seq FROM attempts WHERE run = %(run)s AND batch_seq = %(batch)s
"""


@dataclass(frozen=True, slots=True)
class ExpiredBatch:
    seq: int
    run: int
    project_seq: int
    message_seq: int
    queue: str
    provider_seq: int
    targets: list[int]
    attempt: int
    resends: int
    attempted_to: int
    recorded_total: int
    crashes: int
    false_starts: int  # this one included
    token: int
    waiting_since: datetime | None
    due_at: datetime  # before it was claimed
    now: datetime


@dataclass(slots=True)
class Recovered:
    """What one sweep found."""

    batches: int = 0
    resent: int = 0  # unknown recipients that the rule sends again: possible copies
    left: int = 0  # unknown recipients that the rule leaves
    exhausted: int = 0  # unknown recipients that were sent again often enough
    poisoned: int = 0
    queues: set[str] = field(default_factory=set)  # to ring
    kinds: dict[str, int] = field(default_factory=dict)  # unknown recipients by provider kind


async def recover_expired_batches(
    connection: HotConnection,
    *,
    lease_seconds: float,
    rule_of: Callable[[str], UnknownRule],
    max_resends: int,
    limit: int = 50,
    passes_over_locked: bool = False,
) -> Recovered:
    """Apply the unknown rule to expired claims and make the rest due again; the caller commits, then rings.

    `rule_of`: provider kind to rule; `max_resends`: of one recipient, those after unknown outcomes counted as well.
    Safe to repeat and to run on several schedulers: rows are locked and skipped. Raises LockNotAvailable where somebody
    holds a message's rows for long, unless it `passes_over_locked` messages.
    """
    async with connection.cursor(row_factory=class_row(ExpiredBatch)) as cursor:
        await cursor.execute(
            _FREE_EXPIRED if passes_over_locked else _ALL_EXPIRED, {"lease": lease_seconds, "limit": limit}
        )
        expired = await cursor.fetchall()
    recovered = Recovered(batches=len(expired))
    recording = Recording()
    for batch in expired:
        unknown = await _find_unknown(connection, batch)
        rule = rule_of(parse_delivery_queue(batch.queue).kind)
        _decide(recording, recovered, batch, unknown, rule=rule, max_resends=max_resends)
        _return_rest(recording, batch)
        recovered.queues.add(batch.queue)
    if expired:
        await record(connection, recording, lease_seconds=lease_seconds)
    return recovered


async def _find_unknown(connection: HotConnection, batch: ExpiredBatch) -> list[int]:
    """Marked recipients without an outcome, in the order of the batch."""
    marked = batch.targets[: batch.attempted_to]
    if len(marked) == batch.recorded_total:
        return []
    cursor = await connection.execute(_ACCOUNTED, {"run": batch.run, "batch": batch.seq, "marked": marked})
    accounted = {target_seq for (target_seq,) in await cursor.fetchall()}
    return [target_seq for target_seq in marked if target_seq not in accounted]


def _decide(
    recording: Recording,
    recovered: Recovered,
    batch: ExpiredBatch,
    unknown: list[int],
    *,
    rule: UnknownRule,
    max_resends: int,
) -> None:
    if not unknown:
        return
    kind = parse_delivery_queue(batch.queue).kind
    recovered.kinds[kind] = recovered.kinds.get(kind, 0) + len(unknown)
    crashes = batch.crashes + 1
    if rule is UnknownRule.LEAVE:
        recovered.left += len(unknown)
        _end(recording, batch, unknown, DeliveryState.UNKNOWN, "the worker died before it could record the outcome")
    elif crashes >= POISON_CRASHES and len(unknown) == len(batch.targets) == 1:
        recovered.poisoned += 1
        _end(recording, batch, unknown, DeliveryState.FAILED, f"poison: in flight at {crashes} crashes in a row")
    elif batch.resends >= max_resends:
        recovered.exhausted += len(unknown)
        times = f"{batch.resends} times" if batch.resends != 1 else "once"
        reason = f"the worker died before it could record the outcome; sent again {times} before, which is the most"
        _end(recording, batch, unknown, DeliveryState.UNKNOWN, reason)
    else:
        recovered.resent += len(unknown)
        _resend(recording, batch, unknown, crashes)


def _end(recording: Recording, batch: ExpiredBatch, unknown: list[int], state: DeliveryState, reason: str) -> None:
    for target_seq in unknown:
        recording.ledger[batch.seq].append(
            (
                batch.run,
                target_seq,
                batch.project_seq,
                state.value,
                batch.provider_seq,
                "",
                batch.attempt,
                batch.resends,
                reason,
            )
        )
        _write_attempt(recording, batch, target_seq, decision="final", due_at=None)


def _resend(recording: Recording, batch: ExpiredBatch, unknown: list[int], crashes: int) -> None:
    """A new batch of those that may have been sent. Suspects are sent one at a time (`goes_one_by_one`), so whoever is
    alone here among others that were not tried is cornered, and gets its own count: crashes with nobody else to blame.
    """
    is_cornered = len(unknown) == 1 < len(batch.targets)
    recording.following[batch.seq].append(
        FollowingBatch(
            run=batch.run,
            project_seq=batch.project_seq,
            message_seq=batch.message_seq,
            queue=batch.queue,
            provider_seq=batch.provider_seq,
            targets=unknown,
            due_at=batch.now,
            attempt=batch.attempt + 1,
            resends=batch.resends + 1,
            crashes=1 if is_cornered else crashes,
            waiting_since=batch.waiting_since,
        )
    )
    recording.resends[batch.seq] += len(unknown)
    for target_seq in unknown:
        _write_attempt(recording, batch, target_seq, decision="resend", due_at=batch.now)


def _write_attempt(
    recording: Recording, batch: ExpiredBatch, target_seq: int, *, decision: str, due_at: datetime | None
) -> None:
    recording.attempts[batch.seq].append(
        (
            batch.run,
            batch.seq,
            target_seq,
            batch.provider_seq,
            batch.attempt,
            "crashed",
            decision,
            "the lease ran out between mark and outcome",
            due_at,
        )
    )


def _return_rest(recording: Recording, batch: ExpiredBatch) -> None:
    """Everything marked is accounted for now; what was not marked is due again, or the batch is done.

    It keeps its place in line, before those that were in flight: if the crash was somebody's fault, it was not theirs.
    """
    ended = recording.ledger.get(batch.seq, [])
    sums: dict[DeliveryState, int] = {}
    errors: list[str] = []
    for row in ended:
        state = DeliveryState(row[3])
        sums[state] = sums.get(state, 0) + 1
        errors.append(f"Failed sending to targets with error: {row[8]}")
    is_closed = batch.attempted_to == len(batch.targets)
    recording.changes.append(
        BatchChange(
            seq=batch.seq,
            token=batch.token,
            run=batch.run,
            recorded_before=batch.recorded_total,
            attempted_to=batch.attempted_to,
            recorded_total=batch.attempted_to,
            sums=sums,
            errors=errors[:1],
            is_closed=is_closed,
            release_at=None if is_closed else _due_again_at(batch),
            waiting_since=batch.waiting_since,
        )
    )


def _due_again_at(batch: ExpiredBatch) -> datetime:
    if batch.false_starts < 2:
        return batch.due_at
    doublings = min(batch.false_starts - 2, 16)
    seconds = min(FALSE_START_SECONDS * 2**doublings, LONGEST_FALSE_START_SECONDS)
    return batch.now + timedelta(seconds=seconds)
