"""Claims whose lease ran out: their worker is dead, or cannot reach the database."""

import time

import structlog
from psycopg.errors import LockNotAvailable

from shared import metrics
from shared.db.queries.recover import Recovered, recover_expired_batches
from shared.db.queries.sessions import end_silent_copies
from shared.db.session import STATEMENT_TIMEOUT_MS, hot_statements, hot_transaction
from shared.domain.outcome import UnknownRule
from shared.providers.registry import adapter_facts
from shared.upkeep.context import UpkeepContext

RECOVERED_AT_ONCE = 50
RINGS_PER_QUEUE = 4

log = structlog.get_logger()


def may_recover(context: UpkeepContext) -> bool:
    """Whether the database has answered for a lease, so that every living worker could renew its own, ours too."""
    return time.monotonic() - context.reachable_since >= context.settings.lease_seconds


async def recover(context: UpkeepContext) -> None:
    """Apply the unknown rule to claims whose lease ran out; what was not marked becomes due again.

    Safe to repeat and to run twice at once: rows are locked and skipped, and a token fences late writes off.
    """
    if not may_recover(context):
        return
    began = time.monotonic()
    await _end_silent_copies(context)
    if _stood_still(context, began):
        return
    while True:
        try:
            recovered = await _recover_page(context)
        except LockNotAvailable:
            log.warning("a message's rows are locked, its leases are not recovered for now")
            recovered = await _recover_page(context, passes_over_locked=True)
        if recovered is None:
            return
        if recovered.batches:
            metrics.LEASES_EXPIRED.inc(recovered.batches)
            for kind, count in recovered.kinds.items():
                metrics.RECIPIENTS_UNKNOWN.labels(kind, "crashed").inc(count)
            log.warning(
                "leases expired",
                batches=recovered.batches,
                resent=recovered.resent,
                left=recovered.left,
                exhausted=recovered.exhausted,
                poisoned=recovered.poisoned,
            )
            for queue in recovered.queues:
                context.ringer.ring(queue, RINGS_PER_QUEUE)
        if recovered.batches < RECOVERED_AT_ONCE:
            return


async def _end_silent_copies(context: UpkeepContext) -> None:
    """What they hold locked, recovery and planning pass over."""
    async with hot_statements(context.engine) as connection:
        if ended := await end_silent_copies(connection, after_seconds=STATEMENT_TIMEOUT_MS / 1000):
            log.warning("sessions ended that stood still", sessions=ended)


async def _recover_page(context: UpkeepContext, *, passes_over_locked: bool = False) -> Recovered | None:
    """None: put off, for the database was silent meanwhile."""
    began = time.monotonic()
    async with hot_transaction(context.engine) as connection:
        recovered = await recover_expired_batches(
            connection,
            lease_seconds=context.settings.lease_seconds,
            rule_of=_rule_of,
            max_resends=context.settings.max_resends,
            limit=RECOVERED_AT_ONCE,
            passes_over_locked=passes_over_locked,
        )
        if _stood_still(context, began):
            await connection.rollback()
            return None
    return recovered


def _stood_still(context: UpkeepContext, began: float) -> bool:
    """Whether the database was silent since then: what ran out in that time are the leases of the living."""
    now = time.monotonic()
    if now - began <= context.settings.lease_seconds / 2:
        return False
    context.reachable_since = now
    log.warning("recovery put off, the database was silent")
    return True


def _rule_of(kind: str) -> UnknownRule:
    return adapter_facts(kind).unknown_rule
