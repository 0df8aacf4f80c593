"""Claiming: which due batches a worker takes, fairly, and what it needs to know to send them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg.rows import class_row

from shared.db.session import HotConnection

# Turns: a loose index scan steps over (project, message) within the queue, starting after the last one visited and
# coming round again, and takes one batch of each message that has one due. So ten thousand ready batches of one
# campaign cost as much as one, and a second campaign or project waits one turn at most. Each step is one index probe
# on batches_claimable_idx, which holds nothing that is paused or claimed; it lands on the message's oldest batch, so
# the same probe tells whether its time has come. Messages that only wait for a retry are passed over, at most
# MOST_STEPS of them in one claim: the next one goes on behind them. SKIP LOCKED picks another batch where a neighbour
# is claiming too.
_CLAIM = """
WITH RECURSIVE walked AS (
    (
        SELECT project_seq, message_seq, due_at <= now() AS is_due, 1 AS step, (due_at <= now())::int AS turn
        FROM batches
        WHERE state = 'due' AND queue = %(queue)s
            AND (project_seq, message_seq) > (%(after_project)s, %(after_message)s)
        ORDER BY project_seq, message_seq, due_at
        LIMIT 1
    )
    UNION ALL
    SELECT next.project_seq, next.message_seq, next.is_due, walked.step + 1, walked.turn + next.is_due::int
    FROM walked
    CROSS JOIN LATERAL (
        SELECT project_seq, message_seq, due_at <= now() AS is_due
        FROM batches
        WHERE state = 'due' AND queue = %(queue)s
            AND (project_seq, message_seq) > (walked.project_seq, walked.message_seq)
        ORDER BY project_seq, message_seq, due_at
        LIMIT 1
    ) AS next
    WHERE walked.turn < %(turns)s AND walked.step < %(steps)s
), picked AS (
    SELECT pick.seq
    FROM walked
    CROSS JOIN LATERAL (
        SELECT seq
        FROM batches
        WHERE state = 'due' AND queue = %(queue)s AND due_at <= now()
            AND project_seq = walked.project_seq AND message_seq = walked.message_seq
        ORDER BY due_at, seq
        LIMIT 1
        FOR UPDATE SKIP LOCKED
    ) AS pick
    WHERE walked.is_due
), claimed AS (
    UPDATE batches
    SET state = 'claimed', token = nextval('fence_tokens'), claimed_by = %(worker)s,
        lease_until = now() + %(lease)s * interval '1 second'
    FROM picked
    WHERE batches.seq = picked.seq
    RETURNING batches.seq, run, project_seq, message_seq, queue, provider_seq, targets, attempt, resends,
        attempted_to, recorded_total, token, waiting_since, now() AS claimed_at
)
SELECT last.*, claimed.*
FROM (
    SELECT project_seq, message_seq, turn >= %(turns)s OR step >= %(steps)s
    FROM walked ORDER BY step DESC LIMIT 1
) AS last (last_project, last_message, is_stopped)
LEFT JOIN claimed ON true
ORDER BY claimed.project_seq, claimed.message_seq
"""

MOST_STEPS = 1_000
"""Messages that one claim may look at: some milliseconds."""


@dataclass(frozen=True, slots=True)
class ClaimedBatch:
    """A batch under our lease. `targets[attempted_to:]` are to be sent; what stands before is accounted for."""

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
    token: int
    waiting_since: datetime | None
    claimed_at: datetime


@dataclass(frozen=True, slots=True)
class Turn:
    """Where a claim of a queue starts: after the message visited last. Turn(): at the start of the round."""

    project_seq: int = 0
    message_seq: int = 0


@dataclass(frozen=True, slots=True)
class Claim:
    """What one claim took, in the order of (project_seq, message_seq)."""

    batches: list[ClaimedBatch]
    next: Turn  # where the following claim goes on; Turn(): this one came to the end of the round


async def claim_batches(
    connection: HotConnection, *, queue: str, after: Turn, turns: int, lease_seconds: float, worker: str
) -> Claim:
    """Take one due batch of each of the next `turns` messages that have one. Committed at once by the caller."""
    cursor = await connection.execute(
        _CLAIM,
        {
            "queue": queue,
            "after_project": after.project_seq,
            "after_message": after.message_seq,
            "turns": turns,
            "steps": MOST_STEPS,
            "lease": lease_seconds,
            "worker": worker,
        },
    )
    rows = await cursor.fetchall()
    if not rows:
        return Claim([], Turn())
    last_project, last_message, is_stopped = rows[0][:3]
    batches = [ClaimedBatch(*batch) for _, _, _, *batch in rows if batch[0] is not None]
    return Claim(batches, Turn(last_project, last_message) if is_stopped else Turn())


@dataclass(frozen=True, slots=True)
class LoadedTarget:
    seq: int
    id: str
    identifier: str
    expired: bool


async def load_targets(connection: HotConnection, seqs: Sequence[int]) -> dict[int, LoadedTarget]:
    """The addresses behind target_seqs; a deleted target is missing. Key: target_seq."""
    async with connection.cursor(row_factory=class_row(LoadedTarget)) as cursor:
        await cursor.execute("SELECT seq, id, identifier, expired FROM targets WHERE seq = ANY(%s)", [list(seqs)])
        return {target.seq: target for target in await cursor.fetchall()}


@dataclass(frozen=True, slots=True)
class LoadedMessage:
    seq: int
    id: str
    channel: str
    data: dict[str, Any]
    expires_at: datetime
    is_deleted: bool


async def load_messages(connection: HotConnection, seqs: Sequence[int]) -> dict[int, LoadedMessage]:
    """Content and fate of messages, as of now. Key: message_seq."""
    async with connection.cursor(row_factory=class_row(LoadedMessage)) as cursor:
        await cursor.execute(
            "SELECT seq, id, channel, data, expires_at, deleted_at IS NOT NULL AS is_deleted"
            " FROM messages WHERE seq = ANY(%s)",
            [list(seqs)],
        )
        return {message.seq: message for message in await cursor.fetchall()}


@dataclass(frozen=True, slots=True)
class LoadedProvider:
    seq: int
    project_seq: int
    id: str
    kind: str
    channel: str
    enabled: bool
    credentials_encrypted: str
    options: dict[str, Any]
    version: int
    has_fault: bool
    is_live: bool  # the installation's: may real addresses be reached


async def load_providers(connection: HotConnection, project_seqs: Sequence[int]) -> list[LoadedProvider]:
    """Every provider of these projects, oldest first: the first enabled one of a channel is its default."""
    async with connection.cursor(row_factory=class_row(LoadedProvider)) as cursor:
        await cursor.execute(
            "SELECT seq, project_seq, id, kind, channel, enabled, credentials_encrypted, options, version,"
            " fault_since IS NOT NULL AS has_fault, (SELECT live FROM installation) AS is_live"
            " FROM providers WHERE project_seq = ANY(%s) ORDER BY seq",
            [list(project_seqs)],
        )
        return await cursor.fetchall()


async def resolve_roles(connection: HotConnection, *, project_seq: int, target_ids: Sequence[str]) -> dict[str, int]:
    """The seqs of targets named by public id (the cc and bcc of a mail). Key: public id."""
    cursor = await connection.execute(
        "SELECT id, seq FROM targets WHERE project_seq = %s AND id = ANY(%s)", [project_seq, list(target_ids)]
    )
    return dict(await cursor.fetchall())


@dataclass(frozen=True, slots=True)
class Renewed:
    """Of the batches that were asked for; one in neither set was lost to a newer token."""

    ours: set[int]  # seqs, their leases renewed
    locked: set[int]  # seqs whose row another transaction holds just now, as one that records it does


# It waits for no lock, so it can neither be held up nor wait in a circle with who records.
_RENEW = """
WITH held AS (
    SELECT * FROM unnest(%s::bigint[], %s::bigint[]) AS held (seq, token)
), free AS (
    SELECT seq FROM batches JOIN held USING (seq, token) FOR UPDATE OF batches SKIP LOCKED
), renewed AS (
    UPDATE batches SET lease_until = now() + %s * interval '1 second'
    FROM free WHERE batches.seq = free.seq
    RETURNING batches.seq
)
SELECT batches.seq, renewed.seq IS NOT NULL
FROM batches JOIN held USING (seq, token) LEFT JOIN renewed ON renewed.seq = batches.seq
"""


async def renew_leases(connection: HotConnection, held: Sequence[tuple[int, int]], *, lease_seconds: float) -> Renewed:
    """Renew the leases of (seq, token) pairs."""
    cursor = await connection.execute(_RENEW, [[seq for seq, _ in held], [token for _, token in held], lease_seconds])
    rows = await cursor.fetchall()
    return Renewed({seq for seq, is_ours in rows if is_ours}, {seq for seq, is_ours in rows if not is_ours})
