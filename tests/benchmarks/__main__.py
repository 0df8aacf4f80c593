"""`make bench`: measure, print, judge. Exit status 1 when a run delivered something else than it was given."""

import argparse
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

from rich.console import Console

from shared.cli.stop_signals import StopRequested, StopSignals
from shared.errors import TidingsError
from tests.benchmarks import accepting, end_to_end, listing, questions, refusals, worker_memory
from tests.benchmarks.figures import NotMeasured, Section, WrongResult
from tests.benchmarks.installation import Installation, install
from tests.benchmarks.neighbours import table as neighbours
from tests.benchmarks.options import FULL, QUICK, Options
from tests.benchmarks.providers import measure as providers
from tests.benchmarks.report import Machine, print_machine, print_section, write_json
from tests.benchmarks.servers import Servers, running_servers

CHECKOUT = Path(__file__).parents[2]

ALL_TOGETHER = ("delivering", "providers", "refusals", "accepting", "listing", "memory", "questions")
"""What is measured where nothing is named; the neighbours' table is not about speed, and has a target of its own."""

Benchmarks = dict[str, Callable[[], Section]]


def benchmarks(servers: Servers, options: Options) -> Benchmarks:
    """By name, in the order they are run."""

    @cache
    def large_installation() -> Installation:
        """Loading a million targets takes a minute: two benchmarks share them."""
        return install(servers, "bench_large", redis_database=3)

    return {
        "delivering": lambda: end_to_end.measure(servers, options),
        "providers": lambda: providers.measure(servers, options),
        "refusals": lambda: refusals.measure(servers, options),
        "accepting": lambda: accepting.measure(servers, options),
        "listing": lambda: listing.measure(servers, options),
        "memory": lambda: worker_memory.measure(servers, options, large_installation()),
        "questions": lambda: questions.measure(options, large_installation()),
        "neighbours": lambda: neighbours.measure(options.sizes.neighbours),
    }


def run(arguments: argparse.Namespace, console: Console) -> int:
    sizes = QUICK if arguments.quick else FULL
    if arguments.runs:
        sizes = replace(sizes, runs=arguments.runs, provider_runs=arguments.runs)
    options = Options(sizes, os.cpu_count() or 1, arguments.sinks)
    sections: dict[str, Section] = {}
    status = 0
    with running_servers() as servers:
        machine = Machine.here(cores=options.cores, postgres=servers.version)
        print_machine(console, machine)
        for name, measure in benchmarks(servers, options).items():
            if name not in (arguments.only or ALL_TOGETHER):
                continue
            console.print(f"[dim]measuring {name} ...[/dim]")
            try:
                sections[name] = measure()
            except NotMeasured as missing:
                sections[name] = Section(f"{name}: not measured", notes=[str(missing)])
            except (WrongResult, TidingsError) as wrong:
                sections[name] = Section(f"{name}: failed", failures=[str(wrong)])
            status |= bool(sections[name].failures)
            print_section(console, sections[name])
    if arguments.json:
        write_json(arguments.json, machine, sections)
    return status


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description="Measure Tidings beside two peers.")
    names = (*ALL_TOGETHER, "neighbours")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: shows that everything runs, measures nothing")
    parser.add_argument("--only", action="append", choices=names, help="this benchmark only; may be repeated")
    parser.add_argument("--runs", type=int, help="runs per figure")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write everything measured to this file")
    parser.add_argument(
        "--sinks",
        type=Path,
        metavar="DIR",
        default=Path(os.environ.get("TIDINGS_SINKS", CHECKOUT.parent / "shared" / "sinks")),
        help="where httpsink.c and smtpsink.c are (TIDINGS_SINKS; default: %(default)s)",
    )
    return parser.parse_args()


def main() -> int:
    console = Console(width=None if sys.stdout.isatty() else 110)
    try:
        with StopSignals():  # so that a SIGTERM too leaves no process and no directory behind
            return run(parse_arguments(), console)
    except StopRequested:
        return 130


if __name__ == "__main__":
    sys.exit(main())
