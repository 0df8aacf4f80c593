"""The inbox of receipts: appended as they come, folded into ledger, suppressions and sums a page at a time."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from psycopg.rows import class_row

from shared.db.queries.suppressions import Verdict, suppress
from shared.db.session import HotConnection
from shared.domain.receipt import RECEIPT_SUMS, Receipt, ReceiptKind
from shared.domain.status import DeliveryState
from shared.domain.storable import storable

PAGE = 1_000

PATIENCE = "3 days"
"""How long a receipt waits for a delivery that the ledger does not know: a resend may still be under way."""

_APPEND = """
INSERT INTO receipts
    (project_seq, provider_seq, event_id, kind, recipient, run, target_seq, provider_message_id, reason, occurred_at)
SELECT %(project_seq)s, %(provider_seq)s, * FROM unnest(
    %(event_id)s::text[], %(kind)s::text[], %(recipient)s::text[], %(run)s::bigint[], %(target_seq)s::bigint[],
    %(provider_message_id)s::text[], %(reason)s::text[], %(occurred_at)s::timestamptz[]
)
ON CONFLICT (provider_seq, event_id) DO NOTHING
"""


async def append_receipts(
    connection: HotConnection, *, project_seq: int, provider_seq: int, receipts: Sequence[Receipt]
) -> int:
    """Those that are new; an event that came before is passed over."""
    places = [_place_of(receipt.delivery_id) for receipt in receipts]
    cursor = await connection.execute(
        _APPEND,
        {
            "project_seq": project_seq,
            "provider_seq": provider_seq,
            "event_id": [storable(receipt.event_id) for receipt in receipts],
            "kind": [receipt.kind.value for receipt in receipts],
            "recipient": [storable(receipt.recipient) for receipt in receipts],
            "run": [run for run, _ in places],
            "target_seq": [target_seq for _, target_seq in places],
            "provider_message_id": [storable(receipt.provider_message_id) for receipt in receipts],
            "reason": [storable(receipt.reason) for receipt in receipts],
            "occurred_at": [_moment(receipt.occurred_at) for receipt in receipts],
        },
    )
    return cursor.rowcount


_BIGINT = re.compile("[0-9]{1,19}")  # a run has all 19


def _place_of(delivery_id: str) -> tuple[int | None, int | None]:
    """Run and target_seq of "RUN-TARGET" or "RUN"; what is not of our making names nothing."""
    run, _, target_seq = delivery_id.partition("-")
    numbers = [int(part) if _BIGINT.fullmatch(part) and int(part) < 2**63 else None for part in (run, target_seq)]
    return (numbers[0], numbers[1]) if numbers[0] is not None else (None, None)


def _moment(seconds: float) -> datetime | None:
    try:
        return datetime.fromtimestamp(seconds, UTC) if seconds > 0 else None
    except (ValueError, OverflowError, OSError):
        return None  # no clock shows that


@dataclass(frozen=True, slots=True)
class InboxReceipt:
    seq: int
    project_seq: int
    provider_seq: int
    kind: str
    recipient: str
    run: int | None
    target_seq: int | None
    provider_message_id: str
    reason: str
    is_old: bool  # has waited for its delivery long enough

    @property
    def means(self) -> ReceiptKind:
        return ReceiptKind(self.kind)


# Projects share a page, so that one with a million receipts holds up no other's. Each of them is found by one step in
# the index, and so are its own.
_DUE = f"""
WITH RECURSIVE waiting AS (
    (SELECT project_seq FROM receipts WHERE folded_at IS NULL ORDER BY project_seq LIMIT 1)
    UNION ALL
    SELECT (
        SELECT project_seq FROM receipts WHERE folded_at IS NULL AND project_seq > waiting.project_seq
        ORDER BY project_seq LIMIT 1
    ) FROM waiting WHERE project_seq IS NOT NULL
), due AS (
    SELECT due.seq
    FROM (
        SELECT project_seq, count(*) OVER () AS projects FROM waiting
        WHERE EXISTS (
            SELECT FROM receipts
            WHERE project_seq = waiting.project_seq AND folded_at IS NULL AND due_at <= now()
        )
    ) AS project
    CROSS JOIN LATERAL (
        SELECT seq FROM receipts
        WHERE project_seq = project.project_seq AND folded_at IS NULL AND due_at <= now()
        ORDER BY due_at, seq LIMIT greatest(1, {PAGE} / projects)
    ) AS due
)
SELECT seq, project_seq, provider_seq, kind, recipient, run, target_seq, provider_message_id, reason,
    received_at < now() - interval '{PATIENCE}' AS is_old
FROM receipts WHERE seq IN (SELECT seq FROM due) AND folded_at IS NULL AND due_at <= now()
ORDER BY due_at, seq LIMIT {PAGE} FOR UPDATE SKIP LOCKED
"""  # noqa: S608  # constants

# A provider that names only the address of a recipient: with or without the plus of a phone number.
_NAME = """
SELECT wanted.seq, targets.seq FROM unnest(%(seq)s::bigint[], %(project_seq)s::int[], %(recipient)s::text[])
    AS wanted (seq, project_seq, recipient)
JOIN targets ON targets.project_seq = wanted.project_seq
    AND targets.identifier IN (wanted.recipient, '+' || wanted.recipient)
"""

_LEDGER = """
SELECT deliveries.run, deliveries.target_seq, deliveries.project_seq, deliveries.provider_seq, deliveries.state,
    deliveries.receipt
FROM unnest(%(run)s::bigint[], %(target_seq)s::bigint[]) AS wanted (run, target_seq)
JOIN deliveries ON deliveries.run = wanted.run AND deliveries.target_seq = wanted.target_seq
ORDER BY deliveries.run, deliveries.target_seq FOR UPDATE OF deliveries
"""

# Of these deliveries, those that cannot be changed now: somebody holds their row, or their message's.
_HELD = """
WITH wanted AS (
    SELECT DISTINCT run, target_seq FROM unnest(%(run)s::bigint[], %(target_seq)s::bigint[]) AS wanted (run, target_seq)
), free_messages AS (
    SELECT run FROM message_progress WHERE run = ANY(%(run)s) FOR UPDATE SKIP LOCKED
), free_deliveries AS (
    SELECT deliveries.run, deliveries.target_seq FROM wanted JOIN deliveries USING (run, target_seq)
    FOR UPDATE OF deliveries SKIP LOCKED
)
SELECT run, target_seq FROM wanted JOIN message_progress USING (run)
WHERE run NOT IN (SELECT run FROM free_messages)
UNION
SELECT run, target_seq FROM wanted JOIN deliveries USING (run, target_seq)
WHERE (run, target_seq) NOT IN (SELECT run, target_seq FROM free_deliveries)
"""

_MOVE = """
UPDATE deliveries SET state = moved.state, receipt = moved.receipt, receipt_at = now(),
    reason = CASE WHEN moved.reason = '' THEN deliveries.reason ELSE moved.reason END,
    provider_message_id = coalesce(nullif(deliveries.provider_message_id, ''), moved.provider_message_id)
FROM unnest(
    %(run)s::bigint[], %(target_seq)s::bigint[], %(state)s::text[], %(receipt)s::text[], %(reason)s::text[],
    %(provider_message_id)s::text[]
) AS moved (run, target_seq, state, receipt, reason, provider_message_id)
WHERE deliveries.run = moved.run AND deliveries.target_seq = moved.target_seq
"""

_SUMS = (*(state.value for state in DeliveryState), *RECEIPT_SUMS)

_COUNT = """
UPDATE message_progress SET {sums}
FROM unnest(%(run)s::bigint[], {arrays}) AS change (run, {names})
WHERE message_progress.run = change.run
""".format(
    sums=", ".join(f"{name} = message_progress.{name} + change.{name}" for name in _SUMS),
    arrays=", ".join(f"%({name})s::int[]" for name in _SUMS),
    names=", ".join(_SUMS),
)

_LATER = """
UPDATE receipts SET due_at = now() + least(now() - received_at + interval '5 seconds', interval '10 minutes')
WHERE seq = ANY(%s)
"""


@dataclass(frozen=True, slots=True)
class _Move:
    """A delivery that goes forward."""

    state_before: DeliveryState
    state: DeliveryState
    earlier: ReceiptKind | None
    receipt: InboxReceipt


Place = tuple[int, int]
"""run, target_seq"""


@dataclass(frozen=True, slots=True)
class _Delivery:
    """As the ledger has it, before the page."""

    project_seq: int
    provider_seq: int | None  # None: no account was asked
    state: DeliveryState
    receipt: ReceiptKind | None

    def is_of_the_sender(self, receipt: InboxReceipt) -> bool:
        """An account speaks of its own deliveries only: whoever can write its receipts could end any address else."""
        return (self.project_seq, self.provider_seq) == (receipt.project_seq, receipt.provider_seq)


async def fold_receipts(connection: HotConnection, *, passes_over_locked: bool = False) -> int:
    """Fold one page; how many were looked at. The caller commits. Safe to repeat: states only move forward.

    Lock order: receipts, ledger, progress last. Raises LockNotAvailable where somebody holds a row of a delivery or a
    message for long, unless it `passes_over_locked` ones: their receipts wait.
    """
    async with connection.cursor(row_factory=class_row(InboxReceipt)) as cursor:
        await cursor.execute(_DUE)
        page = await cursor.fetchall()
    if not page:
        return 0
    places = await _places_of(connection, page)
    held = await _held_among(connection, places) if passes_over_locked else set()
    free = [receipt for receipt in page if receipt.seq not in held]
    ledger = await _ledger(connection, free, places)
    moves = _moves(free, places, ledger)
    await _move(connection, moves)
    await suppress(connection, _verdicts(free, places, ledger))
    await _count(connection, moves)
    waiting = [*held, *(receipt.seq for receipt in free if _waits(receipt, places, ledger))]
    await connection.execute(_LATER, [waiting])
    await connection.execute(
        "UPDATE receipts SET folded_at = now() WHERE seq = ANY(%s)",
        [list({receipt.seq for receipt in page}.difference(waiting))],
    )
    return len(page)


async def _places_of(connection: HotConnection, page: Iterable[InboxReceipt]) -> dict[int, Place]:
    """Key: the receipt's seq. Missing: it names no delivery."""
    named = {r.seq: (r.run, r.target_seq) for r in page if r.run is not None and r.target_seq is not None}
    unnamed = {r.seq: r for r in page if r.run is not None and r.target_seq is None and r.recipient}
    if unnamed:
        cursor = await connection.execute(
            _NAME,
            {
                "seq": list(unnamed),
                "project_seq": [receipt.project_seq for receipt in unnamed.values()],
                "recipient": [receipt.recipient for receipt in unnamed.values()],
            },
        )
        for seq, target_seq in await cursor.fetchall():
            run = unnamed[seq].run
            assert run is not None
            named[seq] = (run, target_seq)
    return named


async def _held_among(connection: HotConnection, places: Mapping[int, Place]) -> set[int]:
    """The receipts, by seq, that cannot be folded now. Locks nothing: who asks takes them in the usual order later."""
    wanted = places.values()
    async with connection.transaction(force_rollback=True):
        cursor = await connection.execute(
            _HELD, {"run": [run for run, _ in wanted], "target_seq": [target_seq for _, target_seq in wanted]}
        )
        held = set(await cursor.fetchall())
    return {seq for seq, place in places.items() if place in held}


async def _ledger(
    connection: HotConnection, page: Sequence[InboxReceipt], places: Mapping[int, Place]
) -> dict[Place, _Delivery]:
    """The deliveries that the page names and the ledger knows. Locks them."""
    wanted = sorted({places[receipt.seq] for receipt in page if receipt.seq in places})
    cursor = await connection.execute(
        _LEDGER, {"run": [run for run, _ in wanted], "target_seq": [target_seq for _, target_seq in wanted]}
    )
    return {
        (run, target_seq): _Delivery(
            project_seq, provider_seq, DeliveryState(state), ReceiptKind(receipt) if receipt else None
        )
        for run, target_seq, project_seq, provider_seq, state, receipt in await cursor.fetchall()
    }


def _moves(
    page: Iterable[InboxReceipt], places: Mapping[int, Place], ledger: Mapping[Place, _Delivery]
) -> dict[Place, _Move]:
    """What goes forward."""
    moves: dict[Place, _Move] = {}
    for receipt, place, delivery in _known(page, places, ledger):
        best = moves[place].receipt.means if place in moves else delivery.receipt
        if receipt.means.overtakes(best):
            is_unknown = delivery.state is DeliveryState.UNKNOWN
            settled = receipt.means.settles_unknown_as if is_unknown else delivery.state
            moves[place] = _Move(delivery.state, settled, delivery.receipt, receipt)
    return moves


def _known(
    page: Iterable[InboxReceipt], places: Mapping[int, Place], ledger: Mapping[Place, _Delivery]
) -> Iterator[tuple[InboxReceipt, Place, _Delivery]]:
    """Those about a delivery that is their sender's own."""
    for receipt in page:
        place = places.get(receipt.seq)
        delivery = ledger.get(place) if place else None
        if place and delivery and delivery.is_of_the_sender(receipt):
            yield receipt, place, delivery


async def _move(connection: HotConnection, moves: dict[Place, _Move]) -> None:
    await connection.execute(
        _MOVE,
        {
            "run": [run for run, _ in moves],
            "target_seq": [target_seq for _, target_seq in moves],
            "state": [move.state.value for move in moves.values()],
            "receipt": [move.receipt.kind for move in moves.values()],
            "reason": [move.receipt.reason for move in moves.values()],
            "provider_message_id": [move.receipt.provider_message_id for move in moves.values()],
        },
    )


def _verdicts(
    page: Iterable[InboxReceipt], places: Mapping[int, Place], ledger: Mapping[Place, _Delivery]
) -> list[Verdict]:
    return [
        Verdict(receipt.project_seq, receipt.provider_seq, receipt.kind, receipt.reason, target_seq, receipt.recipient)
        for receipt, (_run, target_seq), _delivery in _known(page, places, ledger)
        if receipt.means.suppresses
    ]


async def _count(connection: HotConnection, moves: dict[Place, _Move]) -> None:
    """One change to a message's sums, however much the page says about it; in the order of their keys."""
    changes: defaultdict[int, Counter[str]] = defaultdict(Counter)
    for (run, _), move in moves.items():
        change = changes[run]
        change[move.receipt.means.counted_as or ""] += 1
        change[(move.earlier and move.earlier.counted_as) or ""] -= 1
        change[move.state] += 1
        change[move.state_before] -= 1
    runs = sorted(changes)
    await connection.execute("SELECT FROM message_progress WHERE run = ANY(%s) ORDER BY run FOR UPDATE", [runs])
    parameters: dict[str, object] = {name: [changes[run][name] for run in runs] for name in _SUMS}
    await connection.execute(_COUNT, {"run": runs, **parameters})


def _waits(receipt: InboxReceipt, places: Mapping[int, Place], ledger: Mapping[Place, _Delivery]) -> bool:
    """Whether its delivery may still come into the ledger."""
    place = places.get(receipt.seq)
    return place is not None and place not in ledger and not receipt.is_old


async def is_crowded(connection: HotConnection, project_seq: int, *, most: int) -> bool:
    """Whether more than `most` receipts of a project wait."""
    cursor = await connection.execute(
        "SELECT count(*) > %(most)s FROM (SELECT FROM receipts WHERE project_seq = %(project_seq)s"
        " AND folded_at IS NULL LIMIT %(most)s + 1) AS waiting",
        {"project_seq": project_seq, "most": most},
    )
    row = await cursor.fetchone()
    assert row is not None
    return bool(row[0])


async def forget_receipts(connection: HotConnection, *, after_seconds: float, page: int) -> int:
    """Delete at most a page of those folded that long ago; how many."""
    cursor = await connection.execute(
        "DELETE FROM receipts WHERE seq IN (SELECT seq FROM receipts"
        " WHERE folded_at < now() - %s * interval '1 second' ORDER BY folded_at LIMIT %s)",
        [after_seconds, page],
    )
    return cursor.rowcount
