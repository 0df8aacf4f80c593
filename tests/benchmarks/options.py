"""How much is measured: sizes for figures, and small ones that only show that everything runs."""

from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.neighbours import table as neighbours


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    runs: int  # per figure
    run_seconds: float  # an end-to-end run is given as many recipients as take about that long
    least_total: int  # recipients of Tidings' warm-up run, and the fewest it is ever given
    largest_total: int
    provider_runs: int  # per figure of a provider or a client library
    provider_seconds: float  # at most, of each run
    refused_total: int  # recipients of a campaign some of which are refused once
    load_seconds: float  # of one run of the load generator
    small_audience: int  # the two audiences whose memory is compared
    large_audience: int
    claims: int
    listed: int  # messages of which 25 are shown
    neighbours: neighbours.Programme


FULL = Sizes(
    runs=5,
    run_seconds=5.0,
    least_total=20_000,
    largest_total=200_000,
    provider_runs=3,
    provider_seconds=1.5,
    refused_total=40_000,
    load_seconds=5.0,
    small_audience=20_000,
    large_audience=1_000_000,
    claims=1_000,
    listed=1_000_000,
    neighbours=neighbours.FULL,
)

QUICK = Sizes(
    runs=1,
    run_seconds=0.5,
    least_total=1_000,
    largest_total=10_000,
    provider_runs=1,
    provider_seconds=0.1,
    refused_total=1_000,
    load_seconds=1.0,
    small_audience=1_000,
    large_audience=20_000,
    claims=100,
    listed=20_000,
    neighbours=neighbours.QUICK,
)


@dataclass(frozen=True, slots=True)
class Options:
    sizes: Sizes
    cores: int
    sink_sources: Path
