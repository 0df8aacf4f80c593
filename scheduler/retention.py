"""Housekeeping in pages: ledger partitions ahead of time, subscribers of deleted topics, dead targets, old
audit entries.
"""

from datetime import UTC, datetime

import structlog

from scheduler.context import TickContext
from shared.db.queries.audit import purge_entries
from shared.db.queries.partitions import count_default_rows, create_partitions
from shared.db.queries.purge import PAGE, TARGETS_PAGE, purge_deleted_topics, purge_expired_targets
from shared.db.session import hot_transaction

log = structlog.get_logger()


async def keep_partitions_ahead(context: TickContext) -> None:
    """This month's and the next months' ledger partitions; rows in the DEFAULT one mean that this did not run."""
    async with hot_transaction(context.engine) as connection:
        blocked = await create_partitions(connection, datetime.now(UTC))
        strays = await count_default_rows(connection)
    if strays:
        log.error("ledger rows outside every partition", rows=strays, partitions_not_made=blocked)


async def purge_topics(context: TickContext) -> None:
    """Remove the subscribers of deleted topics, a page per transaction, then the topics."""
    while True:
        async with hot_transaction(context.engine) as connection:
            purged = await purge_deleted_topics(connection)
        if not purged:
            return


async def purge_audit_log(context: TickContext) -> None:
    """Forget entries that are older than the setting, a page per transaction."""
    while True:
        async with hot_transaction(context.engine) as connection:
            purged = await purge_entries(
                connection, older_than_seconds=context.settings.audit_retention_seconds, page=PAGE
            )
        if purged < PAGE:
            return


async def purge_targets(context: TickContext) -> None:
    """Remove targets whose address died some time ago, a page per transaction (contract §10)."""
    while True:
        async with hot_transaction(context.engine) as connection:
            purged = await purge_expired_targets(
                connection, after_seconds=context.settings.expired_target_retention_seconds
            )
        if purged < TARGETS_PAGE:
            return
