"""Stands between a provider's word about an address and the end of a target: many bad addresses mean the account.

The other environment of APNs or another Firebase project calls every device bad. Believed, one message would expire all
targets of an app.
"""

from dataclasses import dataclass
from typing import Final

from shared.domain.outcome import AccountFault, DeadAddress, Outcome, Refused, Retry

LIMIT: Final = 20
TRIES: Final = 3
"""How often a recipient is tried while nothing is known of the account; then it is refused, and its target kept."""


@dataclass(slots=True)
class Breaker:
    """A balance of one account in one process: each acceptance adds one to it, each suspicious answer takes one off.

    Above zero, acceptances vouch for the account and answers are believed. Below, they are doubted; at -20, which takes
    a share of more than half, they mean that account and addresses do not belong together. Whose fault that is, an
    acceptance of late tells: the account's, which waits, or the addresses', which are refused. So with a wrong account
    no target ends, and with one that turns wrong no more than twenty in each process.
    """

    balance: int = 0  # from -LIMIT to LIMIT

    def note_acceptance(self) -> None:
        if self.balance < LIMIT:
            self.balance += 1

    def judge(self, outcome: DeadAddress | Refused, *, attempt: int, is_vouched_for: bool) -> Outcome:
        """What a suspicious answer to try number `attempt` (from 1) is worth; `is_vouched_for`: of late the account has
        had something accepted.
        """
        if self.balance > -LIMIT:
            self.balance -= 1
        if self.balance >= 0:
            return outcome
        if self.balance == -LIMIT and not is_vouched_for:
            return AccountFault(
                f"most addresses are called bad, so the account seems to be of another environment, app or project: "
                f"{outcome.reason}"
            )
        return Retry(outcome.reason) if attempt < TRIES else Refused(outcome.reason)
