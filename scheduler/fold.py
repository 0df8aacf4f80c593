"""Receipts from their inbox into the ledger, a page per transaction."""

import structlog
from psycopg.errors import LockNotAvailable

from scheduler.context import TickContext
from shared.db.queries.receipts import fold_receipts
from shared.db.session import hot_transaction

log = structlog.get_logger()


async def fold(context: TickContext) -> None:
    """Until nothing in the inbox is due."""
    while True:
        try:
            folded = await _fold_page(context)
        except LockNotAvailable:
            log.warning("a message's rows are locked, its receipts are not folded for now")
            folded = await _fold_page(context, passes_over_locked=True)
        if not folded:
            return


async def _fold_page(context: TickContext, *, passes_over_locked: bool = False) -> int:
    async with hot_transaction(context.engine) as connection:
        return await fold_receipts(connection, passes_over_locked=passes_over_locked)
