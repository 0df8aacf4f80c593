"""The retry budget of one account in one process: how many tries that came to nothing a provider is burdened with.

A provider that fails gets its own traffic a second time, and the more often the longer it fails; that keeps it down. So
further tries are let through as far as they are accepted, and beyond that only in proportion to the useful work.
"""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from math import floor

PERIOD_SECONDS = 60
"""How far back tries count, in steps of a second."""

SHARE = 0.1
"""Retries in vain for each first try and each accepted retry (Google's SRE book, "Handling overload": a tenth)."""

FLOOR = 20
"""Retries in vain, or in flight, that are always allowed: single ones are never held up, and whoever comes back after
an outage is found to be back. Each that is accepted makes room for the next, so what has gathered drains at twenty for
each round trip at first, and ever faster.
"""


SHORTEST_WAIT_SECONDS = 5.0
"""What waits for the budget is claimed and given back no more often than this."""


@dataclass(slots=True)
class _Second:
    at: int
    useful: int = 0  # first tries, and retries that were accepted
    in_vain: int = 0  # retries that were not


@dataclass(slots=True)
class RetryBudget:
    """Ask `take` before retries are marked; say for each of them what came of it, with `note_retry` or `give_back`.

    Retries are what is sent with try number 2 or higher. A resend after a crash is none: no provider refused it.
    """

    clock: Callable[[], float] = time.monotonic
    _seconds: deque[_Second] = field(default_factory=deque)  # of the period, oldest first
    _useful: int = 0  # in all of them
    _in_vain: int = 0
    _in_flight: int = 0  # retries taken and not answered

    def note_first_tries(self, count: int) -> None:
        """They were handed over, whatever will come of them."""
        self._now().useful += count
        self._useful += count

    def take(self, wanted: int) -> int:
        """Retries that may be sent now, up to `wanted`; 0: none, see `wait_seconds`."""
        taken = max(0, min(wanted, self.room))
        self._in_flight += taken
        return taken

    def note_retry(self, *, is_accepted: bool) -> None:
        """One of those taken was answered, or will never be."""
        self._in_flight -= 1
        second = self._now()
        if is_accepted:
            second.useful += 1
            self._useful += 1
        else:
            second.in_vain += 1
            self._in_vain += 1

    def give_back(self, count: int) -> None:
        """So many of those taken were not sent."""
        self._in_flight -= count

    @property
    def room(self) -> int:
        """Retries that may be sent now; 0 or less: none."""
        self._now()
        return FLOOR + floor(SHARE * self._useful) - self._in_vain - self._in_flight

    @property
    def wait_seconds(self) -> float:
        """How long to wait where there is no room: until enough that came to nothing is out of the period, and at least
        SHORTEST_WAIT_SECONDS. 0: there is room, or there will be as soon as something in flight is answered.
        """
        if self.room > 0 or FLOOR + floor(SHARE * self._useful) > self._in_vain:
            return 0.0
        useful, in_vain = self._useful, self._in_vain
        for second in self._seconds:
            useful -= second.useful
            in_vain -= second.in_vain
            if FLOOR + floor(SHARE * useful) > in_vain:
                return max(SHORTEST_WAIT_SECONDS, second.at + PERIOD_SECONDS - self.clock())
        return SHORTEST_WAIT_SECONDS

    def _now(self) -> _Second:
        """The running second, after what is older than the period was dropped."""
        at = floor(self.clock())
        while self._seconds and self._seconds[0].at <= at - PERIOD_SECONDS:
            old = self._seconds.popleft()
            self._useful -= old.useful
            self._in_vain -= old.in_vain
        if not self._seconds or self._seconds[-1].at < at:
            self._seconds.append(_Second(at))
        return self._seconds[-1]
