"""A session for one command, and the command that brings the database up to date."""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeVar

import psycopg
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, OperationalError, ProgrammingError
from sqlalchemy.ext.asyncio import AsyncSession

from shared.cli.connection import DEFAULT_DIRECTORY, DataDir, settings_beside
from shared.cli.output import AsJson, print_json, results
from shared.db.migrate import current_revision, upgrade
from shared.db.queries.installation import check_secret_keys, store_secret_check
from shared.db.secrets import open_secret_box
from shared.db.session import create_engine, create_sessions
from shared.errors import ConfigurationError, NotReachable, TidingsError
from shared.settings import Settings

Result = TypeVar("Result")

# the server is there, but whom it waited for took too long
_GAVE_UP = (psycopg.errors.LockNotAvailable, psycopg.errors.QueryCanceled)


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


@contextmanager
def database_errors(settings: Settings) -> Iterator[None]:
    """What the driver says, in words for an operator and without the password."""
    try:
        yield
    except ArgumentError as error:
        raise ConfigurationError(
            "TIDINGS_DATABASE_URL is no database address.", hint="It looks like postgresql://user:password@host/name."
        ) from error
    except (OperationalError, psycopg.OperationalError) as error:
        url = make_url(settings.require_database_url())
        if isinstance(getattr(error, "orig", error), _GAVE_UP):
            raise TidingsError(
                f"Postgres at {url.host}:{url.port or 5432} gave up waiting: {_reason(error)}",
                hint="Another process holds what this needs; try again when that is done.",
            ) from error
        raise NotReachable(
            f"Postgres at {url.host}:{url.port or 5432} cannot be used: {_reason(error)}",
            hint="Check TIDINGS_DATABASE_URL, and that the server, or `tidings up` with its own, is running.",
        ) from error
    except (ProgrammingError, psycopg.ProgrammingError) as error:
        raise ConfigurationError(
            f"The database does not fit this version of Tidings: {_reason(error)}",
            hint="`tidings migrate` brings it up to date.",
        ) from error


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


def check_database(settings: Settings) -> None:
    """Raises NotReachable or ConfigurationError when it cannot be used."""
    with database_errors(settings):
        current_revision(settings.require_database_url())


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


def _reason(error: Exception) -> str:
    """The server's own reason, out of a text that repeats the address and adds advice on further lines."""
    origin = getattr(error, "orig", error)
    lines = str(origin).strip().splitlines() or [type(origin).__name__]
    telling = [line for line in lines if "failed: " in line]
    return (telling or lines)[-1 if telling else 0].rpartition("failed: ")[2].strip()
