"""The neighbour table: `make neighbours`."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from shared.domain.queues import PROVIDER_KINDS
from tests.benchmarks.figures import Figure, Goal, Section, short
from tests.benchmarks.neighbours.installation import CIRCLE, running_neighbourhood
from tests.benchmarks.neighbours.measuring import Oracle, Traffic
from tests.benchmarks.neighbours.rounds import MOST_TIMES, SLACK_SECONDS, Rounds, Row, Windows
from tests.benchmarks.neighbours.troubles import CONTROL, HOSTILE_INPUTS, TROUBLES, HostileInput, Trouble, trouble

PEOPLE = 200
"""Of each account: so many get the campaign that meets the trouble."""


@dataclass(frozen=True, slots=True)
class Programme:
    """What is measured, and for how long."""

    kinds: Sequence[str]
    troubles: Sequence[tuple[str, Trouble]]  # kind, trouble
    inputs: Sequence[HostileInput]
    windows: Windows


FULL = Programme(
    kinds=tuple(PROVIDER_KINDS),
    troubles=[(kind, one) for kind in PROVIDER_KINDS for one in TROUBLES],
    inputs=HOSTILE_INPUTS,
    windows=Windows(troubled=2.5, quiet=0.8),
)

QUICK = Programme(
    kinds=("smtp", "sendgrid", "fcm", "twilio"),
    troubles=[
        ("smtp", CONTROL),
        ("smtp", trouble("silent")),
        ("sendgrid", trouble("dripping")),
        ("fcm", trouble("foreign")),
        ("fcm", trouble("slow")),
        ("twilio", trouble("silent")),
        ("smtp", trouble("refusing")),
        ("smtp", trouble("unreachable")),
        ("twilio", trouble("resetting")),
    ],
    inputs=HOSTILE_INPUTS[:1],
    windows=Windows(troubled=3.0, quiet=1.0),
)


def measure(programme: Programme) -> Section:
    """Rows are printed as they are found, since all of them take their time."""
    console = Console(width=150)
    rows: list[Row] = []
    with _rounds(programme) as rounds:
        rounds.warm_up()
        for kind, one in programme.troubles:
            rows += _shown(console, rounds.measure(kind, one))
        for hostile in programme.inputs:
            rows += _shown(console, rounds.measure_input(hostile))
    return Section(
        "Neighbours: from a message's call to its capture at the provider, while another account is in trouble",
        figures=[figure for row in rows for figure in _figures(row)],
        goals=[_goal(rows)],
        failures=[*sorted(set(rounds.traffic.breakdowns)), *_felt(rows)],
        notes=[
            *NOTES,
            *sorted({f"{note} ({rounds.notes.count(note)} x)" for note in rounds.notes}),
        ],
        table=_table(rows),
    )


NOTES = (
    f"Goal of a row: troubled p95 at most {MOST_TIMES} x the quiet one + {1000 * SLACK_SECONDS:.0f} ms.",
    "Quiet: the nearest windows of the same run. A doubtful miss is measured again, and the median counts.",
    f"The trouble: a campaign to {PEOPLE} people and single messages, of one account. The neighbours: single messages",
    "of the same tenant and of another to their own accounts; through the same account to people it does not concern;",
    f"bulk to {CIRCLE} people of another kind. A trouble of a port befalls its kind, but of SMTP the one account.",
    "Rows without a trouble are a control: what the same load costs by itself.",
)


@contextmanager
def _rounds(programme: Programme) -> Iterator[Rounds]:
    with running_neighbourhood(programme.kinds, people=PEOPLE, variables={}) as neighbourhood:
        oracle = Oracle(neighbourhood.records)
        with oracle.watching():
            traffic = Traffic(oracle)
            try:
                yield Rounds(neighbourhood, traffic, programme.kinds, programme.windows)
            finally:
                traffic.close()


def _goal(rows: Sequence[Row]) -> Goal:
    missed = [row for row in rows if not row.is_met]
    worst = max((row for row in rows if not row.is_control), key=lambda row: row.times)
    return Goal(
        f"nobody's p95 is above {MOST_TIMES} x its quiet value",
        f"{len(missed)} of {len(rows)} rows above; the worst {worst.times:.1f} x ({worst.kind} {worst.trouble}, "
        f"{worst.neighbours})",
        not missed,
    )


def _felt(rows: Sequence[Row]) -> list[str]:
    """A miss is no matter of taste: it fails the command."""
    missed = dict.fromkeys(f"{row.kind} {row.trouble}" for row in rows if not row.is_met)
    return [f"others feel it: {', '.join(missed)}"] if missed else []


def _figures(row: Row) -> list[Figure]:
    name = f"{row.kind}: {row.trouble}; {row.neighbours}"
    return [
        Figure(name, subject, "ms", tuple(1000 * value for value in spread.values), more_is_better=False)
        for subject, spread in (("quiet", row.quiet), ("troubled", row.troubled))
    ]


_HEADINGS = ("whose", "trouble", "neighbours", "n", "quiet p50", "p95", "troubled p50", "p95 ms", "ratio", "verdict")


def _cells(row: Row) -> tuple[str, ...]:
    times = [short(1000 * value) for spread in (row.quiet, row.troubled) for value in (spread.p50, spread.p95)]
    verdict = "control" if row.is_control else "met" if row.is_met else f"MISSED {row.worst}"
    return (row.kind, row.trouble, row.neighbours, str(len(row.troubled.values)), *times, f"{row.times:.1f} x", verdict)


def _table(rows: Sequence[Row]) -> Table:
    table = Table(box=None, pad_edge=False)
    for place, heading in enumerate(_HEADINGS):
        table.add_column(heading, justify="right" if 3 <= place <= 8 else "left", no_wrap=place != 1)
    for row in rows:
        table.add_row(*_cells(row))
    return table


def _shown(console: Console, rows: list[Row]) -> list[Row]:
    for row in rows:
        console.print(" | ".join(_cells(row)), style="dim", highlight=False)
    return rows
