"""Whether the database can be used, and if not why, in words for an operator."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, OperationalError, ProgrammingError

from shared.db.migrate import current_revision
from shared.errors import ConfigurationError, NotReachable, TidingsError
from shared.settings import Settings

# the server is there, but whom it waited for took too long
_GAVE_UP = (psycopg.errors.LockNotAvailable, psycopg.errors.QueryCanceled)


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


def check_database(settings: Settings) -> str | None:
    """The migration it is at; None: it was never migrated. Raises NotReachable or ConfigurationError."""
    with database_errors(settings):
        return current_revision(settings.require_database_url())


def check_tables(settings: Settings) -> None:
    """Raises the same, and ConfigurationError when it was never migrated: a role that starts says so in one line."""
    if check_database(settings) is None:
        raise ConfigurationError("The database holds no Tidings tables.", hint="Run `tidings migrate`.")


def _reason(error: Exception) -> str:
    """The server's own reason, out of a text that repeats the address and adds advice on further lines."""
    origin = getattr(error, "orig", error)
    lines = str(origin).strip().splitlines() or [type(origin).__name__]
    telling = [line for line in lines if "failed: " in line]
    return (telling or lines)[-1 if telling else 0].rpartition("failed: ")[2].strip()
