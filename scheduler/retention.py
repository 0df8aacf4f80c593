"""Housekeeping in pages: ledger partitions ahead of time, what deleted topics and users left, sessions that are over,
dead targets, old audit entries.

Each page is a transaction of its own, so a tick that is killed goes on where it stopped when it runs again.
"""

from collections.abc import Awaitable, Callable

import structlog

from scheduler.context import TickContext
from shared.db.queries.audit import purge_entries
from shared.db.queries.contacts.stage import forget_imports
from shared.db.queries.partitions import count_default_rows, create_partitions
from shared.db.queries.purge import (
    PAGE,
    purge_deleted_topics,
    purge_expired_sessions,
    purge_expired_targets,
    purge_half_deleted_user,
)
from shared.db.queries.receipts import forget_receipts
from shared.db.session import HotConnection, hot_transaction

log = structlog.get_logger()

IMPORTS_PAGE = 1
"""Imports of a transaction: one has up to 10,000 faults."""


async def keep_partitions_ahead(context: TickContext) -> None:
    """This month's and the next months' ledger partitions; rows in the DEFAULT one mean that this did not run."""
    async with hot_transaction(context.engine) as connection:
        cursor = await connection.execute(
            "SELECT now()"
        )  # as the runs that go into them: this host's clock may be wrong
        ((now,),) = await cursor.fetchall()
        blocked = await create_partitions(connection, now)
        strays = await count_default_rows(connection)
    if strays:
        log.error("ledger rows outside every partition", rows=strays, partitions_not_made=blocked)


async def purge_topics(context: TickContext) -> None:
    """Remove the subscribers of deleted topics, then the topics."""
    await _in_pages(context, purge_deleted_topics)


async def purge_users(context: TickContext) -> None:
    """Go on with deletions of users that were broken off."""
    await _in_pages(context, purge_half_deleted_user)


async def purge_sessions(context: TickContext) -> None:
    """Remove sessions that are over, and the devices that they registered (contract §15)."""
    await _in_pages(context, purge_expired_sessions)


async def purge_targets(context: TickContext) -> None:
    """Remove targets whose address died some time ago (contract §10)."""
    after_seconds = context.settings.expired_target_retention_seconds
    await _in_pages(context, lambda connection: purge_expired_targets(connection, after_seconds=after_seconds))


async def purge_receipts(context: TickContext) -> None:
    """Forget receipts that the ledger took up some time ago."""
    seconds = context.settings.receipt_retention_seconds
    await _in_pages(context, lambda connection: forget_receipts(connection, after_seconds=seconds, page=PAGE))


async def purge_imports(context: TickContext) -> None:
    """Forget contact imports that were finished some time ago, and their faults."""
    seconds = context.settings.import_retention_seconds
    await _in_pages(context, lambda connection: forget_imports(connection, after_seconds=seconds, page=IMPORTS_PAGE))


async def purge_audit_log(context: TickContext) -> None:
    """Forget entries that are older than the setting."""
    seconds = context.settings.audit_retention_seconds
    await _in_pages(context, lambda connection: purge_entries(connection, older_than_seconds=seconds, page=PAGE))


async def _in_pages(context: TickContext, purge: Callable[[HotConnection], Awaitable[int]]) -> None:
    """A transaction for each page, until one is empty."""
    purged = 1
    while purged:
        async with hot_transaction(context.engine) as connection:
            purged = await purge(connection)
