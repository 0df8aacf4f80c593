"""What all end-to-end subjects, Tidings and peers, have in common: they deliver and say what it took."""

from dataclasses import dataclass
from typing import Protocol

from shared.domain.status import Channel

CONNECTIONS_TOTAL = 100
"""Connections to the SMTP server that Tidings and the tuned peer may each hold, all their processes together."""


@dataclass(frozen=True, slots=True)
class Delivered:
    """One run: from the producer's call to the last row of the record."""

    total: int
    seconds: float
    cpu_seconds: float  # of the subject's processes and both engines

    @property
    def rate(self) -> float:
        return self.total / self.seconds

    @property
    def cpu_seconds_per_thousand(self) -> float:
        return 1000 * self.cpu_seconds / self.total


class Subject(Protocol):
    @property
    def name(self) -> str: ...

    @property
    def least_total(self) -> int:
        """The fewest recipients that tell its speed."""

    def deliver(self, channel: Channel, total: int) -> Delivered:
        """Deliver to `total` recipients. Raises WrongResult when fewer or more were recorded as sent."""
