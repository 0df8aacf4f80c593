"""Planning: due messages, a page of their recipients, and the batches made of it."""

from collections.abc import Sequence
from dataclasses import dataclass

from psycopg.rows import class_row

from shared.db.session import HotConnection, copy_rows


@dataclass(frozen=True, slots=True)
class DueFanOut:
    """A message that is being planned, locked by the transaction that read it."""

    run: int
    project_seq: int
    message_seq: int
    channel: str
    lane: str
    cursor: int  # last target_seq planned
    bound: int | None  # None: not started
    topic_seqs: list[int]
    listed_seqs: list[int]  # ascending
    crashes: int
    is_deleted: bool


# Oldest first. Only rows of the lanes that are asked for are read and locked: a neighbour may plan the others
# meanwhile, and however many of them wait, they cost nothing.
_LOCK = """
SELECT fan_outs.run, fan_outs.project_seq, fan_outs.message_seq, messages.channel, messages.lane,
    fan_outs.cursor, fan_outs.bound, fan_outs.topic_seqs, fan_outs.listed_seqs, fan_outs.crashes,
    messages.deleted_at IS NOT NULL AS is_deleted
FROM (
    SELECT run FROM fan_outs
    WHERE due_at <= now() AND {wanted}
    ORDER BY due_at
    LIMIT %(limit)s
    FOR UPDATE SKIP LOCKED
) AS due
JOIN fan_outs USING (run)
JOIN messages ON messages.seq = fan_outs.message_seq
ORDER BY fan_outs.due_at
"""
_LOCK_DUE = _LOCK.format(wanted="is_bulk = %(is_bulk)s")
_LOCK_RUN = _LOCK.format(wanted="run = %(run)s")

# The audience is fixed here: the bound, the topics that exist now, and the listed users' and targets' own targets.
_START = """
UPDATE fan_outs
SET bound = (SELECT coalesce(max(seq), 0) FROM targets),
    topic_seqs = ARRAY(
        SELECT topics.seq FROM topics
        WHERE topics.project_seq = messages.project_seq AND topics.id = ANY(messages.topics)
            AND topics.deleted_at IS NULL
    ),
    listed_seqs = ARRAY(
        SELECT targets.seq FROM targets
        WHERE targets.project_seq = messages.project_seq AND targets.channel = messages.channel
            AND targets.id = ANY(messages.targets || ARRAY(
                SELECT jsonb_array_elements_text(coalesce(messages.data -> 'cc', '[]'))
                UNION ALL
                SELECT jsonb_array_elements_text(coalesce(messages.data -> 'bcc', '[]'))
            ))
        UNION
        SELECT targets.seq
        FROM jsonb_array_elements_text(coalesce(messages.data -> 'emails', '[]')) AS named (address)
        JOIN targets ON targets.project_seq = messages.project_seq AND targets.channel = messages.channel
            AND targets.identifier IN (named.address, lower(named.address))
        UNION
        SELECT targets.seq FROM users
        JOIN targets ON targets.user_seq = users.seq AND targets.channel = messages.channel
        WHERE users.project_seq = messages.project_seq AND users.id = ANY(messages.users)
        ORDER BY 1
    )
FROM messages
WHERE fan_outs.run = ANY(%s) AND messages.seq = fan_outs.message_seq
RETURNING fan_outs.run, fan_outs.bound, fan_outs.topic_seqs, fan_outs.listed_seqs
"""

# One keyset read per source, each bounded by the page, then distinct, ordered and cut: O(page x sources), whatever the
# size of the project. Measured plans: tests/integration/pipeline/test_plans.py. A listed target that was deleted since
# the start still counts as a row of the page, for a page that is not full is taken for the last.
_PAGE = """
SELECT page.run, page.target_seq, targets.provider_id, targets.seq IS NULL AS is_gone
FROM unnest(%(runs)s::bigint[]) AS wanted (run)
JOIN fan_outs ON fan_outs.run = wanted.run
CROSS JOIN LATERAL (
    SELECT fan_outs.run, source.target_seq
    FROM (
        SELECT walked.target_seq
        FROM unnest(fan_outs.topic_seqs) AS topic (seq)
        CROSS JOIN LATERAL (
            SELECT subscribers.target_seq
            FROM subscribers
            WHERE subscribers.topic_seq = topic.seq AND subscribers.channel = %(channel)s
                AND subscribers.target_seq > fan_outs.cursor AND subscribers.target_seq <= fan_outs.bound
            ORDER BY subscribers.target_seq
            LIMIT %(limit)s
        ) AS walked
        UNION
        SELECT listed.seq
        FROM unnest(fan_outs.listed_seqs) AS listed (seq)
        WHERE listed.seq > fan_outs.cursor AND listed.seq <= fan_outs.bound
    ) AS source
    ORDER BY source.target_seq
    LIMIT %(limit)s
) AS page
LEFT JOIN targets ON targets.seq = page.target_seq
ORDER BY page.run, page.target_seq
"""


async def lock_due_fan_outs(connection: HotConnection, *, is_bulk: bool, limit: int) -> list[DueFanOut]:
    """Due messages of the bulk lane, or of the others, that nobody else is planning.

    Locked until the transaction ends, so no lease.
    """
    return await _lock(connection, _LOCK_DUE, {"is_bulk": is_bulk, "limit": limit})


async def lock_fan_out(connection: HotConnection, run: int) -> list[DueFanOut]:
    """That one, likewise; none when it is not due any more, or somebody else plans it."""
    return await _lock(connection, _LOCK_RUN, {"run": run, "limit": 1})


async def _lock(connection: HotConnection, statement: str, parameters: dict[str, int]) -> list[DueFanOut]:
    async with connection.cursor(row_factory=class_row(DueFanOut)) as cursor:
        await cursor.execute(statement, parameters)
        return await cursor.fetchall()


@dataclass(frozen=True, slots=True)
class Audience:
    run: int
    bound: int
    topic_seqs: list[int]
    listed_seqs: list[int]


async def start_fan_outs(connection: HotConnection, runs: Sequence[int]) -> dict[int, Audience]:
    """Fix the audience of messages not started yet. Key: run."""
    async with connection.cursor(row_factory=class_row(Audience)) as cursor:
        await cursor.execute(_START, [list(runs)])
        return {audience.run: audience for audience in await cursor.fetchall()}


@dataclass(frozen=True, slots=True)
class PlannedRecipient:
    run: int
    target_seq: int
    provider_id: str | None
    is_gone: bool  # deleted since the fan-out started: not to be planned


async def read_recipient_page(
    connection: HotConnection, runs: Sequence[int], *, channel: str, limit: int
) -> list[PlannedRecipient]:
    """The next `limit` recipients of each run, ascending by run and target_seq; fewer: the run's last page."""
    async with connection.cursor(row_factory=class_row(PlannedRecipient)) as cursor:
        await cursor.execute(_PAGE, {"runs": list(runs), "channel": channel, "limit": limit})
        return await cursor.fetchall()


@dataclass(frozen=True, slots=True)
class NewBatch:
    """A batch to be written; `targets` in the order they will be marked."""

    run: int
    project_seq: int
    message_seq: int
    queue: str
    provider_seq: int
    targets: list[int]


async def insert_planned_batches(connection: HotConnection, batches: Sequence[NewBatch]) -> None:
    await copy_rows(
        connection,
        "batches",
        ("run", "project_seq", "message_seq", "queue", "provider_seq", "targets"),
        [
            (batch.run, batch.project_seq, batch.message_seq, batch.queue, batch.provider_seq, batch.targets)
            for batch in batches
        ],
    )


@dataclass(frozen=True, slots=True)
class PlannedPage:
    """What one transaction planned of a run."""

    run: int
    cursor: int
    planned: int  # recipients
    batches: int
    is_last: bool


async def move_fan_out_cursors(connection: HotConnection, pages: Sequence[PlannedPage]) -> None:
    """Move the cursors, drop finished fan-outs, and count what was planned; a last page gives the token back.

    The progress update is the transaction's last lock (lock order batch, ledger, progress).
    """
    await connection.execute(
        "UPDATE fan_outs SET cursor = moved.cursor, due_at = now()"
        " FROM unnest(%s::bigint[], %s::bigint[]) AS moved (run, cursor) WHERE fan_outs.run = moved.run",
        [[page.run for page in pages if not page.is_last], [page.cursor for page in pages if not page.is_last]],
    )
    await connection.execute("DELETE FROM fan_outs WHERE run = ANY(%s)", [[page.run for page in pages if page.is_last]])
    await connection.execute(
        "UPDATE message_progress SET planned = message_progress.planned + page.planned,"
        " batches_left = batches_left + page.batches - page.token,"
        " planned_at = CASE WHEN page.token = 1 THEN now() END"
        " FROM unnest(%s::bigint[], %s::int[], %s::int[], %s::int[]) AS page (run, planned, batches, token)"
        " WHERE message_progress.run = page.run",
        [
            [page.run for page in pages],
            [page.planned for page in pages],
            [page.batches for page in pages],
            [int(page.is_last) for page in pages],
        ],
    )


async def postpone_fan_out(connection: HotConnection, run: int, *, delay_seconds: float) -> None:
    """Count a failed page and try again later."""
    await connection.execute(
        "UPDATE fan_outs SET crashes = crashes + 1, due_at = now() + %s * interval '1 second' WHERE run = %s",
        [delay_seconds, run],
    )
