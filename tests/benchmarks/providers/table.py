"""The findings as one table: a line for each provider, latency and library."""

from collections.abc import Iterator, Sequence

from rich import box
from rich.table import Table

from tests.benchmarks.figures import Figure, Section, short
from tests.benchmarks.providers.cases import OURS, ProviderCase

TIDINGS = "Tidings"
ADAPTER = OURS.name
RATE, ALONE = "deliveries/s", "sent/s, client alone"
CPU, BUSY = "CPU s per 1,000", "cores busy"

COLUMNS = (
    "Tidings\n/s",
    "\nCPU",
    "\nbusy",
    "\nlibrary",
    "\n/s",
    "\nCPU",
    "Tidings\nx",
    "ours\nx",
    "alone:\nours /s",
    "library\n/s",
    "ours\nx",
)
Figures = dict[tuple[str, str, str], Figure]
"""By name, subject and unit."""


def row_name(case: ProviderCase, latency_ms: int) -> str:
    return f"{case.title}, {latency_ms} ms"


def table(section: Section, cases: Sequence[ProviderCase], latencies_ms: Sequence[int]) -> Table:
    """CPU in seconds for 1,000 recipients; "x": times as many as the library; "ours": the adapter in its place."""
    found = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    found.add_column("\nthrough", no_wrap=True)
    for heading in COLUMNS:
        found.add_column(heading, justify="left" if heading == "\nlibrary" else "right", no_wrap=True)
    figures = {(figure.name, figure.subject, figure.unit): figure for figure in section.figures}
    for case in cases:
        for latency_ms in latencies_ms:
            row = row_name(case, latency_ms)
            if (row, TIDINGS, RATE) in figures:
                for cells in _lines(row, case, figures):
                    found.add_row(*cells)
    return found


def _lines(row: str, case: ProviderCase, figures: Figures) -> Iterator[list[str]]:
    """What is ours stands in the first of a provider's lines."""
    ours = [_median(figures, row, TIDINGS, unit) for unit in (RATE, CPU, BUSY)]
    alone = _median(figures, row, ADAPTER, ALONE)
    measured = [library.name for library in case.libraries if (row, library.name, RATE) in figures]
    if not measured:
        yield [row, *ours, "", "", "", "", "", alone]
    for place, library in enumerate(measured):
        yield [
            *([row, *ours] if place == 0 else [""] * 4),
            library,
            _median(figures, row, library, RATE),
            _median(figures, row, library, CPU),
            _ratio(figures, row, TIDINGS, library, RATE),
            _ratio(figures, row, ADAPTER, library, RATE),
            alone if place == 0 else "",
            _median(figures, row, library, ALONE),
            _ratio(figures, row, ADAPTER, library, ALONE),
        ]


def _median(figures: Figures, row: str, subject: str, unit: str) -> str:
    return short(figures[row, subject, unit].median)


def _ratio(figures: Figures, row: str, ours: str, library: str, unit: str) -> str:
    return f"{figures[row, ours, unit].times(figures[row, library, unit]):.1f}"
