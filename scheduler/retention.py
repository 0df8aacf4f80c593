"""Housekeeping in pages: ledger partitions ahead of time, subscribers of deleted topics."""

from datetime import UTC, datetime

import structlog

from scheduler.context import TickContext
from shared.db.queries.partitions import count_default_rows, create_partitions
from shared.db.queries.purge import purge_deleted_topics
from shared.db.session import hot_transaction

log = structlog.get_logger()


async def keep_partitions_ahead(context: TickContext) -> None:
    """This month's and the next months' ledger partitions; rows in the DEFAULT one mean that this did not run."""
    async with hot_transaction(context.engine) as connection:
        await create_partitions(connection, datetime.now(UTC))
        strays = await count_default_rows(connection)
    if strays:
        log.error("ledger rows outside every partition", rows=strays)


async def purge_topics(context: TickContext) -> None:
    """Remove the subscribers of deleted topics, a page per transaction, then the topics."""
    while True:
        async with hot_transaction(context.engine) as connection:
            purged = await purge_deleted_topics(connection)
        if not purged:
            return
