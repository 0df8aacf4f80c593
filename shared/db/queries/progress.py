"""How far a message is, and what became of each recipient."""

from dataclasses import dataclass
from datetime import datetime

from psycopg.rows import class_row

from shared.db.session import HotConnection
from shared.domain.receipt import RECEIPT_SUMS
from shared.domain.segments import Segments, count_segments
from shared.domain.status import DeliveryState
from shared.ids import ProjectSeq

# One statement, so one snapshot: the sums of closed batches stand in message_progress, those of open ones still in
# their rows, and a batch moves from one to the other in one commit. So the states always add up to `planned`.
# Cost: the open batches of one message, a row per some hundred recipients.
_PROGRESS = """
SELECT messages.id AS message_id, messages.status, coalesce(progress.planned, 0) AS planned,
    coalesce(open.waiting - open.claimed, 0)::int AS queued, coalesce(open.claimed, 0)::int AS claimed,
    {sums},
    coalesce(progress.resends, 0) AS resends,
    {receipt_sums},
    (coalesce(progress.errors, '{{}}') || coalesce(open.errors, '{{}}'))[:100] AS errors,
    progress.started_at, progress.planned_at, progress.finished_at,
    CASE WHEN messages.channel = 'sms' THEN messages.data ->> 'content' END AS text
FROM messages
LEFT JOIN message_progress AS progress ON progress.run = messages.run
LEFT JOIN LATERAL (
    SELECT sum(cardinality(targets) - recorded_total) AS waiting,
        coalesce(sum(attempted_to - recorded_total) FILTER (WHERE state = 'claimed'), 0) AS claimed,
        {open_sums},
        (
            SELECT array_agg(error) FROM batches AS faulty CROSS JOIN unnest(faulty.errors) AS error
            WHERE faulty.run = messages.run
        ) AS errors
    FROM batches WHERE batches.run = messages.run
) AS open ON true
WHERE messages.project_seq = %(project_seq)s AND messages.id = %(id)s AND messages.deleted_at IS NULL
""".format(  # noqa: S608  # states are constants
    sums=",\n    ".join(
        f"(coalesce(progress.{state}, 0) + coalesce(open.{state}, 0))::int AS {state}" for state in DeliveryState
    ),
    open_sums=",\n        ".join(f"sum({state}) AS {state}" for state in DeliveryState),
    receipt_sums=",\n    ".join(f"coalesce(progress.{name}, 0) AS {name}" for name in RECEIPT_SUMS),
)


@dataclass(frozen=True, slots=True)
class Progress:
    """Recipients by state at one moment; `queued` to `unknown` add up to `planned`, which grows during fan-out."""

    message_id: str
    status: str
    planned: int
    queued: int  # in a batch, not handed to the provider
    claimed: int  # handed to the provider, no outcome recorded yet
    sent: int
    failed: int
    skipped: int
    cancelled: int
    expired: int
    unknown: int
    resends: int  # sent again though the first may have arrived
    delivered: int  # by the last word of receipts, where the provider sends any
    undelivered: int
    complained: int
    unsubscribed: int
    errors: list[str]  # at most 100
    started_at: datetime | None  # accepted or released; None: neither yet
    planned_at: datetime | None  # everybody is planned
    finished_at: datetime | None
    text: str | None  # of a text message

    @property
    def segments(self) -> Segments | None:
        """What each recipient's copy is cut into."""
        return None if self.text is None else count_segments(self.text)


async def read_progress(connection: HotConnection, project_seq: ProjectSeq, message_id: str) -> Progress | None:
    async with connection.cursor(row_factory=class_row(Progress)) as cursor:
        await cursor.execute(_PROGRESS, {"project_seq": project_seq, "id": message_id})
        return await cursor.fetchone()


OPEN_STATES = ("queued", "claimed")

# Recipients with an outcome: a range of the ledger's key.
_LEDGER = """
    SELECT target_seq, state, provider_seq, attempts, resends, reason, recorded_at, receipt, receipt_at
    FROM deliveries
    WHERE run = %(run)s AND target_seq > %(after)s {filter}
    ORDER BY target_seq LIMIT %(limit)s
"""

# Recipients in open batches. One who was tried in a batch and moved on to a later one has an attempt there and is
# only shown in the later. Cost: every open recipient of the message is looked at for each page.
_OPEN = """
    SELECT open.target_seq, open.state, open.provider_seq, open.attempts, open.resends, '', NULL::timestamptz,
        NULL::text, NULL::timestamptz
    FROM (
        SELECT target.seq AS target_seq, batch.provider_seq, batch.attempt - 1 AS attempts, batch.resends,
            CASE WHEN batch.state = 'claimed' AND target.position <= batch.attempted_to
                THEN 'claimed' ELSE 'queued' END AS state
        FROM batches AS batch
        CROSS JOIN LATERAL unnest(batch.targets) WITH ORDINALITY AS target (seq, position)
        WHERE batch.run = %(run)s AND target.seq > %(after)s AND (
            batch.recorded_total = 0 OR NOT EXISTS (
                SELECT FROM deliveries WHERE deliveries.run = batch.run AND deliveries.target_seq = target.seq
                UNION ALL
                SELECT FROM attempts WHERE attempts.run = batch.run AND attempts.batch_seq = batch.seq
                    AND attempts.target_seq = target.seq
            )
        )
    ) AS open
    {filter}
    ORDER BY open.target_seq LIMIT %(limit)s
"""

_SHOW = """
SELECT page.target_seq, targets.id AS target_id, users.id AS user_id, providers.id AS provider_id,
    page.state, page.attempts, page.resends, page.reason, page.recorded_at, page.receipt, page.receipt_at
FROM ({source}) AS page (
    target_seq, state, provider_seq, attempts, resends, reason, recorded_at, receipt, receipt_at
)
LEFT JOIN targets ON targets.seq = page.target_seq
LEFT JOIN users ON users.seq = targets.user_seq
LEFT JOIN providers ON providers.seq = page.provider_seq
ORDER BY page.target_seq LIMIT %(limit)s
"""

_SOURCES: dict[str | None, str] = {
    None: f"({_LEDGER.format(filter='')}) UNION ALL ({_OPEN.format(filter='')})",
    **dict.fromkeys(OPEN_STATES, _OPEN.format(filter="WHERE open.state = %(state)s")),
    DeliveryState.SENT: _LEDGER.format(filter="AND state = 'sent'"),
    # says what the partial index of those not sent needs to hear
    **dict.fromkeys(
        (state for state in DeliveryState if state is not DeliveryState.SENT),
        _LEDGER.format(filter="AND state = %(state)s AND state <> 'sent'"),
    ),
}


@dataclass(frozen=True, slots=True)
class ShownRecipient:
    """`target_id` and `user_id` are None when they were deleted since, `provider_id` also when none was chosen."""

    target_seq: int
    target_id: str | None
    user_id: str | None
    provider_id: str | None
    state: str
    attempts: int  # provider calls with an outcome
    resends: int
    reason: str
    recorded_at: datetime | None
    receipt: str | None  # what the provider said afterwards
    receipt_at: datetime | None


async def list_recipients(
    connection: HotConnection, run: int, *, state: str | None, after: int, limit: int
) -> list[ShownRecipient]:
    """A page ordered by target_seq, beginning behind `after`; `state`: an open or final one; None: any."""
    async with connection.cursor(row_factory=class_row(ShownRecipient)) as cursor:
        await cursor.execute(
            _SHOW.format(source=_SOURCES[state]), {"run": run, "after": after, "limit": limit, "state": state}
        )
        return await cursor.fetchall()


async def find_run(connection: HotConnection, project_seq: ProjectSeq, message_id: str) -> tuple[int | None] | None:
    """The message's run; (None,): it has none yet; None: there is no such message."""
    cursor = await connection.execute(
        "SELECT run FROM messages WHERE project_seq = %s AND id = %s AND deleted_at IS NULL", [project_seq, message_id]
    )
    return await cursor.fetchone()
