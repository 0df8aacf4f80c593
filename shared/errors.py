"""The one tree of errors. HTTP statuses meet it in api/errors.py, exit codes in shared/exits.py.

TidingsError
├── ConfigurationError      a setting, file or key is wrong; the operator can mend it
├── NotReachable            Postgres, the broker or a server does not answer
├── EngineError             an embedded engine cannot start or stop
├── RejectedRequest         the caller's request cannot be carried out; `type` is the wire contract's word
└── StaleClaim              a lease was lost: whoever holds the newer token goes on
"""


class TidingsError(Exception):
    """Something Tidings itself can name went wrong."""

    def __init__(self, message: str | None = None, *, hint: str | None = None) -> None:
        """`hint` says what to do about it, in one line; shown below the message."""
        self.message = message or (self.__doc__ or "").splitlines()[0]
        self.hint = hint
        super().__init__(self.message)


class ConfigurationError(TidingsError):
    """A setting is missing or wrong."""


class NotReachable(TidingsError):
    """A server that Tidings needs does not answer."""


class EngineError(TidingsError):
    """An embedded engine could not be started or stopped."""


class RejectedRequest(TidingsError):
    """The request cannot be carried out.

    `type` is one of the contract's error types (`message_not_found`, `general_argument_invalid` ...);
    api/errors.py knows the HTTP status that belongs to each.
    """

    def __init__(self, type: str, message: str, *, hint: str | None = None) -> None:  # noqa: A002  # the wire contract's own word
        self.type = type
        super().__init__(message, hint=hint)


class StaleClaim(TidingsError):
    """The lease on a batch was lost to a newer token."""
