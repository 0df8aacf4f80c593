"""Receipts from their inbox into the ledger, a page per transaction."""

from scheduler.context import TickContext
from shared.db.queries.receipts import PAGE, fold_receipts
from shared.db.session import hot_transaction


async def fold(context: TickContext) -> None:
    """Until the inbox has less than a page that is due."""
    while True:
        async with hot_transaction(context.engine) as connection:
            folded = await fold_receipts(connection)
        if folded < PAGE:
            return
