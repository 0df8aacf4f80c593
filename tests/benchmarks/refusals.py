"""What a few refusals cost: a campaign by mail of which ten in a hundred are refused once, beside one without any."""

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import requests

from deploy.embedded import spawn, stop
from tests.benchmarks import accounts
from tests.benchmarks.addresses import MAIL_ADDRESS
from tests.benchmarks.figures import Figure, Goal, NotMeasured, Section
from tests.benchmarks.installation import RunningRoles, install
from tests.benchmarks.options import Options
from tests.benchmarks.servers import Servers
from tests.benchmarks.subject import Delivered
from tests.benchmarks.tidings import create_provider, deliver_message

LATENCY_MS = 50
REFUSED_SHARE = 0.1
GOAL_FACTOR = 1.3
CLEAN, REFUSED = "nobody refused", "ten in a hundred refused once"
START_SECONDS = 30.0


def measure(servers: Servers, options: Options) -> Section:
    installation = install(servers, "bench_refusals", redis_database=4)
    total = options.sizes.refused_total
    roles = {"api": (), "workers": ("--concurrency", str(options.cores)), "scheduler": ()}
    runs: dict[str, list[Delivered]] = {CLEAN: [], REFUSED: []}
    with (
        _running_simulator(servers.directory / "simulator") as simulator,
        installation.running(
            roles, variables={"TIDINGS_ENDPOINT_SMTP": simulator.smtp, "TIDINGS_CA_FILE": simulator.ca_file}
        ) as running,
    ):
        create_provider(running, "smtp", accounts.smtp(int(simulator.smtp.rpartition(":")[2])))
        _deliver(running, simulator, total // 10, refused_share=REFUSED_SHARE)  # wakes everything, and does not count
        for _ in range(options.sizes.runs):
            runs[CLEAN].append(_deliver(running, simulator, total, refused_share=0.0))
            runs[REFUSED].append(_deliver(running, simulator, total, refused_share=REFUSED_SHARE))
    return _judge(total, runs)


def _deliver(roles: RunningRoles, simulator: "_Simulator", total: int, *, refused_share: float) -> Delivered:
    simulator.misbehave(refused_share)
    return deliver_message(roles, MAIL_ADDRESS, total, accepted_total=simulator.accepted_total)


def _judge(total: int, runs: dict[str, list[Delivered]]) -> Section:
    name = f"SMTP at {LATENCY_MS} ms, {total:,} recipients"
    clean, refused = (
        Figure(name, what, "s", tuple(run.seconds for run in runs[what]), more_is_better=False) for what in runs
    )
    factor = clean.times(refused)
    return Section(
        "Refusals: from the API call to the last ledger row",
        [clean, refused],
        [Goal(f"at most {GOAL_FACTOR} x the time without refusals", f"{factor:.2f} x", factor <= GOAL_FACTOR)],
        ["Against the simulator, taking turns. The last to be refused wait up to 2 s, the first step of the backoff."],
    )


@dataclass(frozen=True, slots=True)
class _Simulator:
    http: str
    smtp: str  # host:port
    ca_file: str

    def misbehave(self, refused_share: float) -> None:
        """From now on nobody has been met before."""
        profile = {"latency_ms": LATENCY_MS, "transient_once_rate": refused_share}
        requests.put(f"{self.http}/faults", json={"smtp": profile}, timeout=5).raise_for_status()

    def accepted_total(self) -> int:
        counts = requests.get(f"{self.http}/stats", timeout=5).json()["providers"]
        return int(counts.get("smtp", {}).get("captured", 0))


@contextmanager
def _running_simulator(directory: Path) -> Iterator[_Simulator]:
    ports = [word for name in ("smtp", "smtps", "fcm", "apns", "https", "http") for word in (f"--{name}-port", "0")]
    process = spawn(
        [sys.executable, "-m", "shared.simulator", "--dir", str(directory), *ports],
        log=directory.with_suffix(".log"),
        environment=os.environ,
    )
    try:
        ready_file, deadline = directory / "simulator.json", time.monotonic() + START_SECONDS
        while not ready_file.exists():
            if process.poll() is not None or time.monotonic() > deadline:
                raise NotMeasured("the simulator does not start")
            time.sleep(0.05)
        said = json.loads(ready_file.read_text())
        yield _Simulator(said["http"], said["smtp"], said["ca_file"])
    finally:
        stop(process)
