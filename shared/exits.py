"""The exit codes of every command and role, and the edge where errors become them."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from shared.errors import ConfigurationError, NotReachable, TidingsError

DONE = 0
FAILED = 1
USAGE = 2  # wrong options or settings
PARTLY_SENT = 3
NOT_REACHABLE = 4


def exit_code(error: TidingsError) -> int:
    match error:
        case NotReachable():
            return NOT_REACHABLE
        case ConfigurationError():
            return USAGE
        case _:
            return FAILED


@contextmanager
def exit_on_error() -> Iterator[None]:
    """The edge of a role's process: one line that says what is wrong, one that says what to do about it."""
    try:
        yield
    except TidingsError as error:
        hint = f"Hint:  {error.hint}\n" if error.hint else ""
        sys.stderr.write(f"Error: {error.message}\n{hint}")
        sys.exit(exit_code(error))
