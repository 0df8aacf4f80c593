"""What commands print: results to stdout, as tables or as JSON; everything else to stderr."""

import json
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from shared.errors import TidingsError

results = Console(highlight=False, soft_wrap=True)
notes = Console(stderr=True, highlight=False, soft_wrap=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


def say(line: str) -> None:
    """Progress, for a person. Nobody may be there any more: a closed terminal keeps nothing from stopping in order."""
    with suppress(OSError):
        print(line, file=sys.stderr, flush=True)  # noqa: T201  # rich ends the process where a pipe is closed


def complain(error: TidingsError) -> None:
    """One line that says what is wrong, one that says what to do about it."""
    notes.print("[bold red]Error:[/]", end=" ")
    notes.print(error.message, markup=False)
    if error.hint:
        notes.print("[bold]Hint:[/]", end="  ")
        notes.print(error.hint, markup=False)


def print_json(value: object) -> None:
    results.print(json.dumps(value, indent=2, default=str, ensure_ascii=False), markup=False)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """The first column names things, so it is never cut."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for number, column in enumerate(columns):
        table.add_column(column, no_wrap=number == 0)
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    results.print(table)
