"""Scheduled messages whose time has come become due for fan-out."""

from shared import metrics
from shared.db.queries.release import release_due_messages
from shared.db.session import hot_transaction
from shared.domain.queues import FAN_OUT_QUEUE
from shared.upkeep.context import UpkeepContext

RELEASED_AT_ONCE = 500


async def release(context: UpkeepContext) -> None:
    """Safe to repeat and to run twice at once: status and version are compared, locked rows skipped."""
    while True:
        async with hot_transaction(context.engine) as connection:
            released = await release_due_messages(
                connection,
                time_to_live_seconds=context.settings.message_time_to_live_seconds,
                limit=RELEASED_AT_ONCE,
            )
        if released.released:
            context.ringer.ring(FAN_OUT_QUEUE)
            metrics.RELEASE_LATENESS_SECONDS.observe(max(0.0, released.latest_seconds))
        if released.released < RELEASED_AT_ONCE:
            return
