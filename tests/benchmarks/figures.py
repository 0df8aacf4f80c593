"""What was measured: repeated samples with their spread, goals, and notes for whoever reads them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from rich.table import Table


class NotMeasured(Exception):
    """Something this benchmark needs is missing here; the message says what, and how to get it."""


class WrongResult(Exception):
    """The runs ended, but not with what was sent: a speed would mean nothing."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One quantity of one subject, measured at least once."""

    name: str  # "FCM at 50 ms": figures of one name are compared with each other
    subject: str  # "Tidings", or a peer
    unit: str
    values: tuple[float, ...]
    more_is_better: bool = True

    @property
    def median(self) -> float:
        return median(self.values)

    def times(self, other: "Figure") -> float:
        """How many times better this is than the other: the ratio of the medians."""
        ratio = self.median / other.median
        return ratio if self.more_is_better else 1 / ratio

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "subject": self.subject,
            "unit": self.unit,
            "median": self.median,
            "min": min(self.values),
            "max": max(self.values),
            "values": list(self.values),
        }


@dataclass(frozen=True, slots=True)
class Goal:
    """A stated aim and what came out, already in words: goals are of different kinds."""

    aim: str
    measured: str
    is_met: bool


@dataclass(slots=True)
class Section:
    """What one benchmark found."""

    title: str
    figures: list[Figure] = field(default_factory=list)
    goals: list[Goal] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)  # runs that ended with something else than was sent
    table: Table | None = None  # for people, instead of the one that lists all figures

    def figure(self, name: str, subject: str, unit: str) -> Figure:
        return next(
            figure for figure in self.figures if (figure.name, figure.subject, figure.unit) == (name, subject, unit)
        )

    def as_json(self) -> dict[str, Any]:
        return {
            "title": self.title,
            "figures": [figure.as_json() for figure in self.figures],
            "goals": [{"aim": goal.aim, "measured": goal.measured, "met": goal.is_met} for goal in self.goals],
            "notes": self.notes,
            "failures": self.failures,
        }


def short(value: float) -> str:
    """Three digits that mean something."""
    if value >= 100:
        return f"{value:,.0f}"
    if value >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}" if value >= 0.1 else f"{value:.3f}"


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of the values does not exceed; `values` is not empty."""
    ordered = sorted(values)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]
