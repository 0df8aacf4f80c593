"""What simulated SMS providers share that take several phones in a call."""

from collections.abc import Sequence
from dataclasses import dataclass

from shared.simulator.faults import Fate
from shared.simulator.http_provider import HttpProvider

CALL_FATES = (Fate.SILENT, Fate.SERVER_ERROR, Fate.THROTTLED, Fate.TRANSIENT, Fate.ACCOUNT_FAULT)
"""Fates that one phone brings upon the call, the heaviest first: the API has no words for one among several."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """The fates of a call's phones, each asked for once."""

    phones: Sequence[str]  # with their plus
    fates: Sequence[Fate]

    def whose(self, *wanted: Fate) -> tuple[str, Fate] | None:
        """The first phone that has the first of these fates that anyone has."""
        for fate in wanted:
            if fate in self.fates:
                return self.phones[self.fates.index(fate)], fate
        return None

    def having(self, fate: Fate) -> list[str]:
        return [phone for phone, its in zip(self.phones, self.fates, strict=True) if its is fate]


def draw(provider: HttpProvider, phones: Sequence[str]) -> Drawn:
    """The limit of a profile counts calls, as these providers do."""
    fates = [provider.plan.fate_of(phone) for phone in phones]
    if provider.plan.is_over_limit():
        fates[0] = Fate.THROTTLED
    return Drawn(phones, fates)
