"""Due work that no ring has reached, and how much waits."""

from scheduler.context import TickContext
from shared import metrics
from shared.db.queries.due import count_due_batches, find_open_queues, oldest_due_fan_out_seconds
from shared.db.session import hot_transaction
from shared.domain.queues import DELIVERY_QUEUES, FAN_OUT_QUEUE
from shared.upkeep.recover import RINGS_PER_QUEUE


async def ring_stale_work(context: TickContext) -> None:
    """Rings are hints and may be lost; due work that has waited too long is rung again, and its age is published."""
    stale = context.settings.stale_due_seconds
    names = [queue.name for queue in DELIVERY_QUEUES]
    async with hot_transaction(context.engine) as connection:
        oldest = dict.fromkeys(names, 0.0)
        for due in await find_open_queues(connection, names):
            if not due.is_due:
                continue
            oldest[due.queue] = due.oldest_seconds
            metrics.DUE_BATCHES.labels(due.queue).set(await count_due_batches(connection, due.queue))
        oldest[FAN_OUT_QUEUE] = await oldest_due_fan_out_seconds(connection) or 0.0
    for queue, seconds in oldest.items():
        metrics.OLDEST_DUE_SECONDS.labels(queue).set(seconds)
        if seconds == 0.0:
            metrics.DUE_BATCHES.labels(queue).set(0)
        elif seconds > stale:
            context.ringer.ring(queue, RINGS_PER_QUEUE)
