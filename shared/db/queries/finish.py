"""Finishing: a message whose last batch is settled gets its final status, once."""

from collections.abc import Sequence

from shared.db.session import HotConnection

MAX_ERRORS = 100
"""Errors kept on a message, as the contract's servers since 1.9.5 do (contract §13)."""

NO_RECIPIENTS = "No valid recipients found."
NO_PROVIDER = "No enabled provider found."
NOTHING_SENT = "Unknown error"

# batches_left reaches zero once, and the transaction that brings it there holds the progress row: so this runs once.
# deliveredAt stays null where no provider or no recipient was found (contract §13).
_FINISH = f"""
WITH finished AS (
    UPDATE message_progress
    SET finished_at = now(),
        errors = CASE
            WHEN errors = '{{}}' AND planned = 0 THEN ARRAY['{NO_RECIPIENTS}']
            WHEN errors = '{{}}' AND sent = 0 THEN ARRAY['{NOTHING_SENT}']
            ELSE errors
        END
    WHERE run = ANY(%s) AND batches_left = 0 AND finished_at IS NULL
    RETURNING message_seq, planned, sent > 0 AND errors = '{{}}' AS is_complete
)
UPDATE messages
SET status = CASE WHEN finished.is_complete THEN 'sent' ELSE 'failed' END,
    delivered_at = CASE WHEN finished.planned > 0 THEN now() END,
    updated_at = now()
FROM finished
WHERE messages.seq = finished.message_seq
"""  # noqa: S608  # constants of this file


async def finish_runs(connection: HotConnection, runs: Sequence[int]) -> int:
    """Finish those of the runs that have nothing open left. How many were."""
    cursor = await connection.execute(_FINISH, [list(runs)])
    return cursor.rowcount


async def fail_unplanned_runs(connection: HotConnection, runs: Sequence[int], *, error: str) -> None:
    """End messages whose planning cannot go on: what is planned already is still delivered, the rest never will be.

    Safe to repeat: only runs that are still being planned have a token to give back.
    """
    await connection.execute(
        "WITH ended AS (DELETE FROM fan_outs WHERE run = ANY(%(runs)s) RETURNING run)"
        " UPDATE message_progress SET batches_left = batches_left - 1, planned_at = now(),"
        " errors = (errors || %(errors)s::text[])[:%(most)s] FROM ended WHERE message_progress.run = ended.run",
        {"runs": list(runs), "errors": [error], "most": MAX_ERRORS},
    )
    await finish_runs(connection, runs)
