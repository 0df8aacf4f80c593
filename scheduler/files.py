"""Stored files: uploads that nobody finished, and objects that no file refers to."""

import structlog

from scheduler.context import TickContext
from shared.db.queries.files import delete_stale_uploads
from shared.db.queries.objects import find_loose_objects, forget_loose_objects
from shared.db.session import create_sessions, hot_transaction
from shared.errors import NotReachable

REMOVED_AT_ONCE = 100

log = structlog.get_logger()


async def purge_uploads(context: TickContext) -> None:
    """Delete files of which nothing has come for some time, a page per transaction."""
    sessions = create_sessions(context.engine)
    deleted = 1
    while deleted:
        async with sessions.begin() as session:
            deleted = await delete_stale_uploads(session, after_seconds=context.settings.upload_retention_seconds)


async def remove_objects(context: TickContext) -> None:
    """Remove objects whose file was deleted, or whose upload broke off before a file had them.

    First the objects, then what is known of them: removing one twice does no harm, forgetting it would.
    """
    while True:
        async with hot_transaction(context.engine) as connection:
            keys = await find_loose_objects(connection, limit=REMOVED_AT_ONCE)
        if not keys:
            return
        if context.objects is None:
            log.error("objects of deleted files remain: TIDINGS_FILES_URL is not set")
            return
        try:
            await context.objects.delete(keys)
        except NotReachable as error:
            log.warning("objects of deleted files remain for now", reason=error.message)
            return
        async with hot_transaction(context.engine) as connection:
            await forget_loose_objects(connection, keys)
