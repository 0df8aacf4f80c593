"""Deliveries a second and CPU per thousand of them, FCM and SMTP, at 0 and 50 ms provider latency, beside two peers."""

from collections.abc import Sequence
from contextlib import ExitStack

from shared.domain.status import Channel
from tests.benchmarks.figures import Figure, Goal, Section
from tests.benchmarks.installation import Installation, install
from tests.benchmarks.options import Options, Sizes
from tests.benchmarks.running_peers import create_ledger, peer_kinds, running_peer
from tests.benchmarks.servers import Servers
from tests.benchmarks.sinks import SinkPrograms, build_sinks, running_sinks
from tests.benchmarks.subject import CONNECTIONS_TOTAL, Delivered, Subject
from tests.benchmarks.tidings import running_tidings

LATENCIES_MS = (0, 50)
CHANNELS = {Channel.PUSH: "FCM", Channel.EMAIL: "SMTP"}
RATE, CPU = "deliveries/s", "CPU s per 1,000"
GOAL_RATE, GOAL_RATIO = 8_000, 20


def measure(servers: Servers, options: Options) -> Section:
    section = Section("End to end: from the API call to the last ledger row")
    programs = build_sinks(options.sink_sources, servers.directory / "sinks")
    installation = install(servers, "bench_delivery", redis_database=1)
    peers_database_url = servers.create_database("bench_peers")
    create_ledger(peers_database_url)
    for latency_ms in LATENCIES_MS:
        section.figures += _measure_latency(
            latency_ms,
            options=options,
            servers=servers,
            programs=programs,
            installation=installation,
            peers_database_url=peers_database_url,
        )
    section.figures.sort(key=lambda figure: (figure.unit != RATE, figure.name))  # stable: subjects keep their order
    _judge(section)
    return section


def _measure_latency(
    latency_ms: int,
    *,
    options: Options,
    servers: Servers,
    programs: SinkPrograms,
    installation: Installation,
    peers_database_url: str,
) -> list[Figure]:
    with ExitStack() as stack:
        sinks = stack.enter_context(running_sinks(programs, latency_ms=latency_ms))
        subjects: list[Subject] = [
            stack.enter_context(
                running_tidings(
                    installation, sinks, worker_processes=options.cores, least_total=options.sizes.least_total
                )
            ),
            *(
                stack.enter_context(running_peer(kind, servers, peers_database_url, sinks))
                for kind in peer_kinds(options.cores)
            ),
        ]
        runs = _run_interleaved(subjects, options.sizes)
    return [
        figure
        for (subject, channel), delivered in runs.items()
        for figure in _figures(f"{CHANNELS[channel]} at {latency_ms} ms", subject, delivered)
    ]


def _run_interleaved(subjects: Sequence[Subject], sizes: Sizes) -> dict[tuple[str, Channel], list[Delivered]]:
    """Subject after subject, channel after channel, then all again: the machine's moods meet everybody alike."""
    pairs = [(subject, channel) for channel in CHANNELS for subject in subjects]
    totals = {(subject.name, channel): _fitting_total(subject, channel, sizes) for subject, channel in pairs}
    runs: dict[tuple[str, Channel], list[Delivered]] = {key: [] for key in totals}
    for _ in range(sizes.runs):
        for subject, channel in pairs:
            key = (subject.name, channel)
            runs[key].append(subject.deliver(channel, totals[key]))
    return runs


def _fitting_total(subject: Subject, channel: Channel, sizes: Sizes) -> int:
    """Recipients for a run of the wanted length, by two runs that do not count; the first also wakes everything."""
    subject.deliver(channel, subject.least_total)
    rate = subject.deliver(channel, subject.least_total).rate
    return round(min(max(subject.least_total, rate * sizes.run_seconds), sizes.largest_total) / 100) * 100


def _figures(name: str, subject: str, runs: Sequence[Delivered]) -> list[Figure]:
    return [
        Figure(name, subject, RATE, tuple(run.rate for run in runs)),
        Figure(name, subject, CPU, tuple(run.cpu_seconds_per_thousand for run in runs), more_is_better=False),
    ]


def _judge(section: Section) -> None:
    ours = section.figure("FCM at 50 ms", "Tidings", RATE)
    ratio = ours.times(section.figure("FCM at 50 ms", "Celery, tuned", RATE))
    section.goals += [
        Goal(f"FCM at 50 ms: at least {GOAL_RATE:,}/s", f"{ours.median:,.0f}/s", ours.median >= GOAL_RATE),
        Goal(f"FCM at 50 ms: at least {GOAL_RATIO} x the tuned peer", f"{ratio:.1f} x", ratio >= GOAL_RATIO),
    ]
    section.notes.append(
        "All subjects are up for the whole time and take turns; CPU counts their processes, Postgres and Redis, not "
        "the sinks. Peers are given fewer recipients, for runs of about the same length. "
        f"Tidings and the tuned peer may each hold {CONNECTIONS_TOTAL} SMTP connections."
    )
