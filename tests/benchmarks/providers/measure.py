"""Deliveries a second through each provider at 0 and 50 ms, beside client libraries; then the clients alone."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial

import psycopg

from shared.providers.registry import ADAPTERS
from tests.benchmarks.accounting import cpu_seconds
from tests.benchmarks.clients import outcomes
from tests.benchmarks.figures import Figure, Goal, NotMeasured, Section, WrongResult
from tests.benchmarks.installation import Installation, RunningRoles, install
from tests.benchmarks.options import Options, Sizes
from tests.benchmarks.providers.cases import CASES, LATENCIES_MS, OURS, SMTP_CONNECTIONS, ProviderCase
from tests.benchmarks.providers.running_clients import RunningClient, running_client
from tests.benchmarks.providers.servers import ProviderServer, running_provider_servers
from tests.benchmarks.providers.table import ADAPTER, ALONE, BUSY, CPU, RATE, TIDINGS, row_name, table
from tests.benchmarks.servers import Servers
from tests.benchmarks.sinks import SinkPrograms, build_sinks
from tests.benchmarks.subject import Delivered
from tests.benchmarks.tidings import create_provider, deliver_message

LADDER = (200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000)
"""Recipients of a run: few sizes, since each makes a topic."""


@dataclass(frozen=True, slots=True)
class Bench:
    """What the rows of one latency share."""

    latency_ms: int
    sizes: Sizes
    processes: int
    servers: Servers
    database_url: str  # of the libraries' record
    roles: RunningRoles
    provider_servers: Mapping[str, ProviderServer]
    missing: set[str]  # what could not be measured, and why


def measure(servers: Servers, options: Options) -> Section:
    programs = build_sinks(options.sink_sources, servers.directory / "sinks-providers")
    installation = install(servers, "bench_providers", redis_database=4)
    database_url = servers.create_database("bench_clients")
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(outcomes.CREATE)
    section = Section("Providers: from the API call to the last ledger row, beside client libraries")
    missing = {f"{kind} has no row yet." for kind in ADAPTERS.keys() - {case.kind for case in CASES}}
    for latency_ms in LATENCIES_MS:
        with _running(programs, installation, latency_ms=latency_ms, processes=options.cores) as (sides, roles):
            bench = Bench(latency_ms, options.sizes, options.cores, servers, database_url, roles, sides, missing)
            for case in CASES:
                try:
                    section.figures += _measure_case(case, bench)
                except WrongResult as wrong:
                    section.failures.append(f"{row_name(case, latency_ms)}: {wrong}")
    section.goals = [
        _judge(section, row_name(case, latency_ms), library.name, library.goal)
        for case in CASES
        for library in case.libraries
        for latency_ms in LATENCIES_MS
        if library.goal
    ]
    section.table = table(section, CASES, LATENCIES_MS)
    section.notes += [*sorted(missing), HOW, IN_FLIGHT, LIMITS]
    return section


HOW = """\
Tidings: API, workers and scheduler, from the call that makes the message. A library: a program that has the addresses \
in memory, sends, and writes its outcomes by COPY, 500 a commit; as many processes as Tidings has workers, the same \
servers, taking turns. Ours: our adapter in such a program, with the transport, in the library's place. Alone: nothing \
is recorded. CPU: seconds for 1,000 recipients, engines included."""

LIBRARIES = "; ".join(
    f"{library.name} {library.in_flight[0]:,} and {library.in_flight[1]:,}"
    for case in CASES
    for library in case.libraries
)
IN_FLIGHT = f"""\
Recipients in flight in each process at {LATENCIES_MS[0]} and {LATENCIES_MS[1]} ms: {LIBRARIES}; our adapters as they \
declare, with as many SMTP connections as the libraries."""

LIMITS = """\
Busy: the cores that Tidings, its engines and the provider's server keep busy. Where that is near all of them, CPU is \
the limit, else what the adapter keeps in flight, over the latency. The provider's side is written in C, for Telesign \
and those that take batches in Python; it checks nothing."""


@contextmanager
def _running(
    programs: SinkPrograms, installation: Installation, *, latency_ms: int, processes: int
) -> Iterator[tuple[Mapping[str, ProviderServer], RunningRoles]]:
    with running_provider_servers(CASES, programs, latency_ms=latency_ms) as provider_servers:
        variables = {
            f"TIDINGS_ENDPOINT_{case.kind.upper()}": provider_servers[case.kind].origin.removeprefix("smtp://")
            for case in CASES
        }
        variables["TIDINGS_CA_FILE"] = str(programs.ca_file)
        variables["TIDINGS_SMTP_CONNECTIONS"] = str(SMTP_CONNECTIONS[LATENCIES_MS.index(latency_ms)])
        modules = {"api": (), "workers": ("--concurrency", str(processes)), "scheduler": ()}
        with installation.running(modules, variables=variables) as roles:
            yield provider_servers, roles


Deliver = Callable[[int], Delivered]


def _measure_case(case: ProviderCase, bench: Bench) -> list[Figure]:
    server = bench.provider_servers[case.kind]
    _enable_only(case, server, bench.roles)
    busy: list[float] = []

    def deliver_by_tidings(total: int) -> Delivered:
        burnt_before = cpu_seconds([server.pid])
        run = deliver_message(bench.roles, case.form, total, accepted_total=lambda: server.accepted_total(case.counted))
        busy.append((run.cpu_seconds + cpu_seconds([server.pid]) - burnt_before) / run.seconds)
        return run

    with ExitStack() as stack:
        subjects: dict[tuple[str, str], Deliver] = {(TIDINGS, RATE): deliver_by_tidings}
        for client in _clients(stack, case, server, bench):
            if case.libraries:
                subjects[client.name, RATE] = partial(client.deliver, is_recorded=True)
            subjects[client.name, ALONE] = partial(client.deliver, is_recorded=False)
        runs = _run_interleaved(subjects, bench.sizes)
    name = row_name(case, bench.latency_ms)
    figures = [Figure(name, TIDINGS, BUSY, tuple(busy[-bench.sizes.provider_runs :]), more_is_better=False)]
    for (subject, unit), delivered in runs.items():
        figures.append(Figure(name, subject, unit, tuple(run.rate for run in delivered)))
        if unit == RATE:
            burnt = tuple(run.cpu_seconds_per_thousand for run in delivered)
            figures.append(Figure(name, subject, CPU, burnt, more_is_better=False))
    return figures


def _clients(stack: ExitStack, case: ProviderCase, server: ProviderServer, bench: Bench) -> Iterator[RunningClient]:
    """Ours, then the libraries that can be had here."""
    for library in (OURS, *case.libraries):
        try:
            yield stack.enter_context(
                running_client(
                    library,
                    case,
                    server,
                    bench.servers,
                    database_url=bench.database_url,
                    processes=bench.processes,
                    in_flight=library.in_flight[LATENCIES_MS.index(bench.latency_ms)],
                )
            )
        except NotMeasured as missing:
            bench.missing.add(str(missing))


def _enable_only(case: ProviderCase, server: ProviderServer, roles: RunningRoles) -> None:
    """The first enabled provider of a channel is the one that is used."""
    with psycopg.connect(roles.installation.audience.database_url, autocommit=True) as connection:
        connection.execute("UPDATE providers SET enabled = false, version = version + 1 WHERE enabled")
    create_provider(roles, case.kind, case.account(server.origin))


def _run_interleaved(
    subjects: Mapping[tuple[str, str], Deliver], sizes: Sizes
) -> Mapping[tuple[str, str], Sequence[Delivered]]:
    """One after the other, then all again: the machine's moods meet everybody alike."""
    totals = {key: _fitting_total(deliver, sizes) for key, deliver in subjects.items()}
    runs: defaultdict[tuple[str, str], list[Delivered]] = defaultdict(list)
    for _ in range(sizes.provider_runs):
        for key, deliver in subjects.items():
            runs[key].append(deliver(totals[key]))
    return runs


def _fitting_total(deliver: Deliver, sizes: Sizes) -> int:
    """Recipients for a run of the wanted length, by runs that do not count; the first also wakes everything."""
    deliver(LADDER[0])
    total = LADDER[1]
    while total < LADDER[-1]:
        seconds = deliver(total).seconds
        if seconds > sizes.provider_seconds / 2:
            break
        larger = [size for size in LADDER if size > total]
        total = max([size for size in larger if size <= total * sizes.provider_seconds / seconds] or larger[:1])
    return total


def _judge(section: Section, row: str, library: str, goal: float) -> Goal:
    """By what both record in the same way; what Tidings does besides is told beside it."""
    aim = f"{row}: at least {goal:g} x {library}, both recording"
    try:
        theirs = section.figure(row, library, RATE)
    except StopIteration:
        return Goal(aim, "nothing", is_met=False)
    ratio = section.figure(row, ADAPTER, RATE).times(theirs)
    as_whole = section.figure(row, TIDINGS, RATE).times(theirs)
    return Goal(aim, f"{ratio:.1f} x; Tidings as a whole {as_whole:.1f} x", ratio >= goal)
