"""Upkeep without a scheduler: a worker stands in where none has ticked for three periods."""

import time
from collections.abc import Awaitable, Callable

import structlog

from shared import metrics
from shared.db.queries.ticks import seconds_since_tick, take_tick
from shared.db.session import hot_statements
from shared.upkeep.context import UpkeepContext
from shared.upkeep.recover import may_recover, recover
from shared.upkeep.release import release

RELEASE = "release"
RECOVER = "sweep.recover"

PERIODS = 3.0
"""Without a tick, after which no scheduler is alive."""

log = structlog.get_logger()


async def run_where_nobody_ticks(context: UpkeepContext) -> list[str]:
    """Release what is due and recover expired leases, unless a scheduler or another worker did; the ticks it ran.

    For a worker to call every second or so, also while it is busy: it is by these calls that `context` knows since
    when the database answers. While a scheduler lives, a call costs two reads of a row each. Raises what the driver
    raises when the database is away.
    """
    ran = []
    settings = context.settings
    if await _run(context, RELEASE, PERIODS * settings.release_interval_seconds, release):
        ran.append(RELEASE)
    # a look at the database comes first: it tells whether there was an outage
    if may_recover(context) and await _run(context, RECOVER, PERIODS * settings.sweep_interval_seconds, recover):
        ran.append(RECOVER)
        log.warning("no scheduler ticks, a worker does its work", ticks=ran)
    return ran


async def _run(
    context: UpkeepContext, name: str, patience_seconds: float, job: Callable[[UpkeepContext], Awaitable[None]]
) -> bool:
    """Whether it was ours to run: the row is taken as schedulers take it, so that no two do the same at once."""
    began = time.monotonic()
    async with hot_statements(context.engine) as connection:
        since = await seconds_since_tick(connection, name)
        context.note_answer()
        if since is not None and since < patience_seconds:
            return False
        if not await take_tick(connection, name, unless_within_seconds=patience_seconds):
            return False
    await job(context)
    metrics.TICK_SECONDS.labels(name).observe(time.monotonic() - began)
    return True
