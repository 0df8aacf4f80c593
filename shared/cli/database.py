"""A session for one command, and the command that brings the database up to date."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from sqlalchemy.ext.asyncio import AsyncSession

from shared.cli.connection import DEFAULT_DIRECTORY, DataDir, settings_beside
from shared.cli.output import AsJson, print_json, results
from shared.db.migrate import current_revision, upgrade
from shared.db.queries.installation import check_secret_keys, store_secret_check
from shared.db.reachable import database_errors
from shared.db.secrets import open_secret_box
from shared.db.session import create_engine, create_sessions
from shared.settings import Settings

Result = TypeVar("Result")


def run_async(coroutine: Coroutine[Any, Any, Result]) -> Result:
    return asyncio.run(coroutine)


@asynccontextmanager
async def open_session(settings: Settings) -> AsyncIterator[AsyncSession]:
    """One transaction, committed at the end. Raises NotReachable or ConfigurationError with the server's reason."""
    with database_errors(settings):
        engine = create_engine(settings, role="cli", pool_size=1)
        try:
            async with create_sessions(engine).begin() as session:
                yield session
        finally:
            await engine.dispose()


def migrate(*, data_dir: DataDir = DEFAULT_DIRECTORY, as_json: AsJson = False) -> None:
    """Bring the database to the newest migration. Safe to repeat, and while the roles are running."""
    settings = settings_beside(data_dir)
    before, after = migrate_database(settings)
    if as_json:
        print_json({"before": before, "after": after})
    elif before == after:
        results.print(f"The database is up to date ({after}).")
    else:
        results.print(f"The database is at {after} now, it was at {before or 'nothing'}.")


def migrate_database(settings: Settings) -> tuple[str | None, str | None]:
    """The revisions before and after. With secret keys at hand it also leaves the word that `doctor` checks them by."""
    url = settings.require_database_url()
    with database_errors(settings):
        before = current_revision(url)
        upgrade(url)
        after = current_revision(url)
    if settings.secret_keys or settings.secret_key_file:
        run_async(_settle_secret_check(settings))
    return before, after


async def _settle_secret_check(settings: Settings) -> None:
    async with open_session(settings) as session:
        box = open_secret_box(settings)
        if not await check_secret_keys(session, box):
            await store_secret_check(session, box)
