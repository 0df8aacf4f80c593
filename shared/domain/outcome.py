"""What became of one provider call for one recipient: typed, never decided from message text above an adapter."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal


class UnknownRule(StrEnum):
    """What to do with a recipient whose outcome is unknown."""

    RESEND = "resend"  # a copy replaces or resembles the first (same Message-ID, collapse id or idempotency key)
    LEAVE = "leave"  # a copy costs or annoys: stay unknown, a receipt may settle it


@dataclass(frozen=True, slots=True)
class Accepted:
    """The provider took it."""

    provider_message_id: str = ""  # "" when the provider names none


@dataclass(frozen=True, slots=True)
class Retry:
    """Provably not accepted; worth another try."""

    reason: str
    after_seconds: float | None = None  # the provider's own delay (Retry-After); None: our backoff decides
    scope: Literal["recipient", "provider"] = "recipient"  # provider: throttled as a whole, slow down everywhere


@dataclass(frozen=True, slots=True)
class Refused:
    """Refused for good; another try would be refused again."""

    reason: str
    is_suspicious: bool = False  # where many are, it is the account that is wrong, not the addresses


@dataclass(frozen=True, slots=True)
class DeadAddress:
    """Refused for good, and the address is dead: the target expires (push) or is suppressed (e-mail, SMS)."""

    reason: str
    is_suspicious: bool = False  # as in Refused


@dataclass(frozen=True, slots=True)
class AccountFault:
    """Credentials, sender or account are wrong: the recipient is not at fault and waits."""

    reason: str


@dataclass(frozen=True, slots=True)
class Unknown:
    """May have been accepted: a timeout or reset after the request had left. The provider's rule decides."""

    reason: str


Outcome = Accepted | Retry | Refused | DeadAddress | AccountFault | Unknown
