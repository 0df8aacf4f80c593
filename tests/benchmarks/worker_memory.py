"""The most memory a worker process ever holds, for a small and for a large audience: it must not grow with it."""

from shared.domain.status import Channel
from tests.benchmarks.accounting import descendants, peak_memory_bytes
from tests.benchmarks.figures import Figure, Goal, Section
from tests.benchmarks.installation import Installation
from tests.benchmarks.options import Options
from tests.benchmarks.servers import Servers
from tests.benchmarks.sinks import SinkPrograms, build_sinks, running_sinks
from tests.benchmarks.tidings import running_tidings

GOAL_FACTOR, GOAL_ALLOWANCE_MB = 1.2, 20
SUBJECT = "largest worker process"
MEGABYTE = 1_000_000


def measure(servers: Servers, options: Options, installation: Installation) -> Section:
    programs = build_sinks(options.sink_sources, servers.directory / "sinks-memory")
    sizes = options.sizes
    small, large = (
        Figure(
            f"peak memory, {total:,} recipients",
            SUBJECT,
            "MB",
            (_peak_megabytes(installation, programs, options.cores, total),),
            more_is_better=False,
        )
        for total in (sizes.small_audience, sizes.large_audience)
    )
    limit = GOAL_FACTOR * small.median + GOAL_ALLOWANCE_MB
    goal = Goal(
        f"at most {GOAL_FACTOR} x the small audience's + {GOAL_ALLOWANCE_MB} MB = {limit:.0f} MB",
        f"{large.median:.0f} MB",
        large.median <= limit,
    )
    return Section("Memory of a worker", [small, large], [goal], ["FCM at 0 ms; new processes for each audience."])


def _peak_megabytes(installation: Installation, programs: SinkPrograms, cores: int, total: int) -> float:
    with (
        running_sinks(programs, latency_ms=0) as sinks,
        running_tidings(installation, sinks, worker_processes=cores, least_total=total) as tidings,
    ):
        tidings.deliver(Channel.PUSH, total)
        workers = descendants([tidings.roles.pid("workers")])
        return max(peak_memory_bytes(pid) for pid in workers) / MEGABYTE
