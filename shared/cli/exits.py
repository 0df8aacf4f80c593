"""The exit codes of every command, and the edge where errors become them."""

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
