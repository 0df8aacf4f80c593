"""From a provider's words to our outcomes: what adapters' tables are made of, and what holds where none has a line."""

from dataclasses import dataclass
from typing import Literal

from shared.domain.outcome import AccountFault, DeadAddress, Outcome, Refused, Retry, Unknown
from shared.providers.transport import Failure


@dataclass(frozen=True, slots=True)
class Meaning:
    """One line of an adapter's table, without the provider's words."""

    outcome: type[Retry | Refused | DeadAddress | AccountFault | Unknown]
    after_seconds: float | None = None  # of a Retry, where the reply names no delay itself
    scope: Literal["recipient", "provider"] = "recipient"  # of a Retry
    is_suspicious: bool = False  # of a DeadAddress or Refused: many of them mean the account

    def of(self, reason: str, retry_after_seconds: float | None = None) -> Outcome:
        """The outcome with this reason; `retry_after_seconds` is what the reply said."""
        if self.outcome is DeadAddress or self.outcome is Refused:
            return self.outcome(reason, is_suspicious=self.is_suspicious)
        if self.outcome is not Retry:
            return self.outcome(reason)
        after_seconds = self.after_seconds if retry_after_seconds is None else retry_after_seconds
        return Retry(reason, after_seconds, self.scope)


DEAD = Meaning(DeadAddress)
REFUSED = Meaning(Refused)
FAULT = Meaning(AccountFault)
UNKNOWN = Meaning(Unknown)
TROUBLE = Meaning(Retry)  # this recipient, for now
THROTTLED = Meaning(Retry, scope="provider")


def meaning_of_status(status: int) -> Meaning:
    """For HTTP statuses that a provider's table has no line for."""
    if status in {429, 503}:
        return THROTTLED
    if 200 <= status < 300:
        return UNKNOWN  # a success in words that nobody told us
    if status < 400 or status in {401, 402, 403, 404, 405}:
        return FAULT  # not the provider's API that answered, or not to us
    return REFUSED if status < 500 else UNKNOWN


def outcome_of_failure(failure: Failure) -> Retry | Unknown:
    return Retry(failure.reason, scope="provider") if failure.never_left else Unknown(failure.reason)
