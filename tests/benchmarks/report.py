"""The findings for people, as tables, and for programs, as JSON."""

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.benchmarks.figures import Figure, Section, short

QUIET_LOAD = 0.5


@dataclass(frozen=True, slots=True)
class Machine:
    """Where and when it was measured, and whether the machine was ours alone."""

    started_at: str
    cores: int
    processor: str
    python: str
    postgres: str
    load_average: float  # over the minute before; above QUIET_LOAD others were at work too

    @classmethod
    def here(cls, *, cores: int, postgres: str) -> "Machine":
        return cls(
            datetime.now(UTC).isoformat(timespec="seconds"),
            cores,
            _processor(),
            platform.python_version(),
            postgres,
            os.getloadavg()[0],
        )

    def as_json(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def print_machine(console: Console, machine: Machine) -> None:
    console.print(
        f"{machine.cores} cores, {machine.processor}; Python {machine.python}, PostgreSQL {machine.postgres}; "
        f"load {machine.load_average:.2f}"
    )
    if machine.load_average > QUIET_LOAD:
        console.print("[bold]The machine is not idle: figures are too low, and their spread too wide.[/bold]")


def print_section(console: Console, section: Section) -> None:
    """One row a figure; the first subject of a name and unit is compared with the others."""
    console.print(f"\n[bold]{section.title}[/bold]")
    if section.figures:
        console.print(section.table or _table(section.figures))
    for goal in section.goals:
        verdict = "[green]met[/green]" if goal.is_met else "[red]missed[/red]"
        console.print(f"goal {verdict}: {goal.aim}; measured {goal.measured}")
    for failure in section.failures:
        console.print(f"[red]failed[/red]: {failure}")
    for note in section.notes:
        console.print(f"[dim]{note}[/dim]")


def _table(figures: Sequence[Figure]) -> Table:
    table = Table("what", "who", "unit")
    for heading in ("median", "min-max", "first is better by"):
        table.add_column(heading, justify="right")
    first: dict[tuple[str, str], Figure] = {}
    for figure in figures:
        reference = first.setdefault((figure.name, figure.unit), figure)
        ratio = "" if reference is figure else f"{reference.times(figure):.1f} x"
        spread = f"{short(min(figure.values))}-{short(max(figure.values))}" if len(figure.values) > 1 else ""
        table.add_row(figure.name, figure.subject, figure.unit, short(figure.median), spread, ratio)
    return table


def write_json(path: Path, machine: Machine, sections: dict[str, Section]) -> None:
    found = {name: section.as_json() for name, section in sections.items()}
    path.write_text(json.dumps({"machine": machine.as_json(), "benchmarks": found}, indent=2) + "\n")
