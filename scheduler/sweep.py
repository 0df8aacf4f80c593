"""What nobody looks after any more: expired leases, and due work that no ring has reached."""

import time

import structlog

from scheduler.context import TickContext
from shared import metrics
from shared.db.queries.due import count_due_batches, find_due_queues, oldest_due_fan_out_seconds
from shared.db.queries.recover import recover_expired_batches
from shared.db.session import hot_transaction
from shared.domain.outcome import UnknownRule
from shared.domain.queues import DELIVERY_QUEUES, FAN_OUT_QUEUE
from shared.providers.registry import adapter_facts

RECOVERED_AT_ONCE = 50
RINGS_PER_QUEUE = 4

log = structlog.get_logger()


async def recover(context: TickContext) -> None:
    """Apply the unknown rule to claims whose lease ran out; what was not marked becomes due again."""
    if time.monotonic() - context.reachable_since < context.settings.lease_seconds:
        return
    while True:
        async with hot_transaction(context.engine) as connection:
            recovered = await recover_expired_batches(
                connection,
                lease_seconds=context.settings.lease_seconds,
                rule_of=_rule_of,
                limit=RECOVERED_AT_ONCE,
            )
        if recovered.batches:
            metrics.LEASES_EXPIRED.inc(recovered.batches)
            for kind, count in recovered.kinds.items():
                metrics.RECIPIENTS_UNKNOWN.labels(kind, "crashed").inc(count)
            log.warning(
                "leases expired",
                batches=recovered.batches,
                resent=recovered.resent,
                left=recovered.left,
                poisoned=recovered.poisoned,
            )
            for queue in recovered.queues:
                context.ringer.ring(queue, RINGS_PER_QUEUE)
        if recovered.batches < RECOVERED_AT_ONCE:
            return


def _rule_of(kind: str) -> UnknownRule:
    return adapter_facts(kind).unknown_rule


async def ring_stale_work(context: TickContext) -> None:
    """Rings are hints and may be lost; due work that has waited too long is rung again, and its age is published."""
    stale = context.settings.stale_due_seconds
    names = [queue.name for queue in DELIVERY_QUEUES]
    async with hot_transaction(context.engine) as connection:
        oldest = dict.fromkeys(names, 0.0)
        for due in await find_due_queues(connection, names):
            oldest[due.queue] = due.oldest_seconds
            metrics.DUE_BATCHES.labels(due.queue).set(await count_due_batches(connection, due.queue))
        oldest[FAN_OUT_QUEUE] = await oldest_due_fan_out_seconds(connection) or 0.0
    for queue, seconds in oldest.items():
        metrics.OLDEST_DUE_SECONDS.labels(queue).set(seconds)
        if seconds == 0.0:
            metrics.DUE_BATCHES.labels(queue).set(0)
        elif seconds > stale:
            context.ringer.ring(queue, RINGS_PER_QUEUE)
