"""Claiming: which due batches a worker takes, fairly, and what it needs to know to send them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg.rows import class_row

from shared.db.session import HotConnection

_RECIPIENTS = "greatest(cardinality(targets) - attempted_to, 1)"
_IS_OPEN = "{row}provider_seq <> ALL(%(excluded)s::bigint[]) AND ({row}provider_seq = %(only)s) IS NOT FALSE"
_IS_READY = f"due_at <= now() AND {_IS_OPEN.format(row='')}"
_RECIPIENTS_IF_READY = f"CASE WHEN {_IS_READY} THEN {_RECIPIENTS} ELSE 0 END"

# where the account is closed, or has had its share, the walk goes on behind all of its messages
_MESSAGE_OR_LAST = (
    f"CASE WHEN {_IS_OPEN.format(row='walked.')} AND walked.of_account < %(of_account)s"
    f" THEN walked.message_seq ELSE {2**63 - 1} END"
)

# Turns: a loose index scan steps over (project, account, message) within the queue, starting after the one visited
# last and coming round again, and takes the oldest batch of each that has one due. So ten thousand ready batches of one
# campaign cost as much as one, and a second campaign or project waits one turn at most. Each step is one index probe
# on batches_turns_idx, which holds nothing that is paused or claimed; it lands on the oldest batch, so the same probe
# tells whether its time has come, and whether its account may be used. An account that may not is passed over in one
# step, however much is due there, and so is what is left of one that had its share of the round. What only waits is
# passed over, too, at most MOST_STEPS of it in one claim: the next one goes on behind it. The walk ends where what it
# found fills the room.
#
# Shares: what room a whole round leaves goes to everybody's second batches, then to their third ones, and so on, oldest
# first. How many of each are looked at, and locked, is told by the size of its oldest: many where that is small, one
# where it is large.
#
# SKIP LOCKED picks other batches where a neighbour is claiming, or a recorder is adding to one.
_CLAIM = f"""
WITH RECURSIVE walked AS (
    (
        SELECT project_seq, provider_seq, message_seq, recipients, 1 AS step, sign(recipients)::int AS turn,
            sign(recipients)::int AS of_account, recipients AS found
        FROM (
            SELECT project_seq, provider_seq, message_seq, {_RECIPIENTS_IF_READY} AS recipients
            FROM batches
            WHERE state = 'due' AND queue = %(queue)s
                AND (project_seq, provider_seq, message_seq)
                    > (%(after_project)s, %(after_provider)s, %(after_message)s)
            ORDER BY project_seq, provider_seq, message_seq, due_at
            LIMIT 1
        ) AS first
    )
    UNION ALL
    SELECT next.project_seq, next.provider_seq, next.message_seq, next.recipients, walked.step + 1,
        walked.turn + sign(next.recipients)::int,
        CASE WHEN next.provider_seq = walked.provider_seq THEN walked.of_account ELSE 0 END
            + sign(next.recipients)::int,
        walked.found + next.recipients
    FROM walked
    CROSS JOIN LATERAL (
        SELECT project_seq, provider_seq, message_seq, {_RECIPIENTS_IF_READY} AS recipients
        FROM batches
        WHERE state = 'due' AND queue = %(queue)s
            AND (project_seq, provider_seq, message_seq)
                > (walked.project_seq, walked.provider_seq, {_MESSAGE_OR_LAST})
        ORDER BY project_seq, provider_seq, message_seq, due_at
        LIMIT 1
    ) AS next
    WHERE walked.turn < %(turns)s AND walked.step < %(steps)s AND walked.found < %(room)s
        AND (walked.provider_seq = %(only)s) IS NOT FALSE
), picked AS (
    SELECT walked.project_seq, walked.provider_seq, walked.message_seq, pick.*
    FROM walked
    CROSS JOIN (
        SELECT max(turn) AS turns,
            %(from_start)s AND max(turn) < %(turns)s AND max(step) < %(steps)s AND max(found) < %(room)s AS is_round
        FROM walked
    ) AS used
    CROSS JOIN LATERAL (
        SELECT seq, due_at, {_RECIPIENTS} AS recipients
        FROM batches
        WHERE state = 'due' AND queue = %(queue)s AND due_at <= now() AND project_seq = walked.project_seq
            AND message_seq = walked.message_seq AND provider_seq = walked.provider_seq
        ORDER BY due_at, seq
        LIMIT CASE WHEN used.is_round
            THEN greatest(1, least(%(most)s / used.turns, %(room)s / used.turns / walked.recipients)) ELSE 1
        END
        FOR UPDATE SKIP LOCKED
    ) AS pick
    WHERE walked.recipients > 0
), placed AS (
    SELECT *, row_number() OVER (
        PARTITION BY project_seq, provider_seq, message_seq ORDER BY due_at, seq
    ) AS place
    FROM picked
), ranked AS (
    SELECT *, row_number() OVER served AS number, sum(recipients) OVER served AS filled
    FROM placed
    WINDOW served AS (ORDER BY place, project_seq, provider_seq, message_seq)
), claimed AS (
    UPDATE batches
    SET state = 'claimed', token = nextval('fence_tokens'), claimed_by = %(worker)s,
        lease_until = now() + %(lease)s * interval '1 second'
    FROM ranked
    WHERE batches.seq = ranked.seq AND (ranked.filled <= %(room)s OR ranked.number = 1)
    RETURNING number, batches.seq, run, batches.project_seq, batches.message_seq, queue, batches.provider_seq,
        targets, attempt, resends, crashes, attempted_to, recorded_total, token, waiting_since, now() AS claimed_at
)
SELECT last.*, claimed.*
FROM (
    -- the last one visited before the first that nothing was taken of, for want of room
    SELECT project_seq, provider_seq, message_seq,
        turn >= %(turns)s OR step >= %(steps)s OR found >= %(room)s OR step < (SELECT max(step) FROM walked),
        (SELECT max(of_account) FROM walked) >= %(of_account)s
    FROM walked
    WHERE NOT EXISTS (
        SELECT FROM ranked
        WHERE place = 1 AND filled > %(room)s AND number > 1
            AND (ranked.project_seq, ranked.provider_seq, ranked.message_seq)
                <= (walked.project_seq, walked.provider_seq, walked.message_seq)
    )
    ORDER BY step DESC LIMIT 1
) AS last (last_project, last_provider, last_message, is_stopped, has_passed)
LEFT JOIN claimed ON true
ORDER BY claimed.number
"""  # noqa: S608  # of constants

MOST_STEPS = 1_000
"""Messages that one claim may look at: some milliseconds."""

MOST_OF_ACCOUNT = 16
"""Messages of one account that a round looks for before it goes on to the next account: somebody's hundred thousand
messages to one recipient each must not all be sent before somebody else's one.
"""

MOST_BATCHES = 256
"""Batches that one claim takes beyond one of each message it serves: some milliseconds."""


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
    crashes: int  # leases that ran out in a row while these recipients were in flight
    attempted_to: int
    recorded_total: int
    token: int
    waiting_since: datetime | None
    claimed_at: datetime

    @property
    def unmarked(self) -> int:
        """Recipients to be sent."""
        return len(self.targets) - self.attempted_to


@dataclass(frozen=True, slots=True)
class Turn:
    """Where a claim of a queue starts: after the message, at one account, that was visited last. Turn(): at the start
    of the round.
    """

    project_seq: int = 0
    provider_seq: int = 0
    message_seq: int = 0


@dataclass(frozen=True, slots=True)
class Claim:
    """What one claim took, in the order to be sent: the oldest of each message, then what else there is room for."""

    batches: list[ClaimedBatch]
    next: Turn  # where the following claim goes on; Turn(): this one came to the end of the round
    has_passed: bool = False  # over messages of an account that had its share


async def claim_batches(
    connection: HotConnection,
    *,
    queue: str,
    after: Turn,
    turns: int,
    room: int,
    of_account: int = MOST_OF_ACCOUNT,
    lease_seconds: float,
    worker: str,
    excluded_providers: Sequence[int] = (),
    only_provider: int | None = None,
) -> Claim:
    """Take the oldest due batch of each of the next `turns` messages that have one; more of them while they fit, where
    the walk went once round all messages.

    `room`: recipients that can be sent now; a single batch is taken though it is larger. `of_account`: messages of one
    account in a row, before it is the next one's turn. `excluded_providers`: accounts
    whose batches stay where they are; `only_provider`: the one to take batches of, with `after` at it, too. Committed
    at once by the caller.
    """
    cursor = await connection.execute(
        _CLAIM,
        {
            "queue": queue,
            "after_project": after.project_seq,
            "after_message": after.message_seq,
            "after_provider": after.provider_seq,
            "from_start": after == Turn(),
            "turns": turns,
            "room": room,
            "of_account": of_account,
            "steps": MOST_STEPS,
            "most": MOST_BATCHES,
            "excluded": list(excluded_providers),
            "only": only_provider,
            "lease": lease_seconds,
            "worker": worker,
        },
    )
    rows = await cursor.fetchall()
    if not rows:
        return Claim([], Turn())
    *last, is_stopped, has_passed = rows[0][:5]
    batches = [ClaimedBatch(*batch) for _, _, _, _, _, number, *batch in rows if number is not None]
    return Claim(batches, Turn(*last) if is_stopped else Turn(), has_passed)


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


async def find_unchanged_providers(connection: HotConnection, providers: Sequence[LoadedProvider]) -> set[int]:
    """The seqs of those that are used as they were loaded: enabled, of the same version, and as live."""
    cursor = await connection.execute(
        "SELECT seq FROM providers JOIN unnest(%s::bigint[], %s::int[], %s::bool[]) AS loaded (seq, version, is_live)"
        " USING (seq, version) WHERE enabled AND is_live = (SELECT live FROM installation)",
        [
            [provider.seq for provider in providers],
            [provider.version for provider in providers],
            [provider.is_live for provider in providers],
        ],
    )
    return {seq for (seq,) in await cursor.fetchall()}


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
