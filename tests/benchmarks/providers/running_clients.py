"""The processes of a client program, and one timed run of them."""

import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psycopg

from deploy.embedded.child import last_words
from tests.benchmarks.accounting import cpu_seconds
from tests.benchmarks.clients.outcomes import SENT
from tests.benchmarks.figures import NotMeasured, WrongResult
from tests.benchmarks.peers.content import content_of
from tests.benchmarks.providers.cases import Library, ProviderCase
from tests.benchmarks.providers.servers import ProviderServer
from tests.benchmarks.servers import Servers
from tests.benchmarks.subject import Delivered

CHECKOUT = Path(__file__).parents[3]
NODE_PACKAGES = CHECKOUT / ".sdk" / "clients"
"""Where the Makefile installs what clients/node/package-lock.json locks."""

PATIENCE_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class RunningClient:
    library: Library
    case: ProviderCase
    server: ProviderServer
    database_url: str
    log: Path
    processes: "list[subprocess.Popen[str]]"
    engine_pids: frozenset[int]

    @property
    def name(self) -> str:
        return self.library.name

    def deliver(self, total: int, *, is_recorded: bool) -> Delivered:
        """Raises WrongResult where the provider's side, or the record, has fewer or more."""
        run = time.time_ns() // 1_000  # JavaScript's numbers end at 2^53
        pids = self.engine_pids | {process.pid for process in self.processes}
        seen_before, burnt_before = self.server.accepted_total(self.case.counted), cpu_seconds(pids)
        reports = self._send(run, total, is_recorded=is_recorded)
        burnt = cpu_seconds(pids) - burnt_before
        failures = [failure for report in reports for failure in report["failures"]]
        seen = self.server.accepted_total(self.case.counted) - seen_before
        recorded = self._count_recorded(run) if is_recorded else total
        if failures or not seen == recorded == total:
            raise WrongResult(
                f"{self.name} sent {seen} and recorded {recorded} of {total} through {self.case.title}: {failures[:1]}"
            )
        seconds = max(report["ended_at"] for report in reports) - min(report["started_at"] for report in reports)
        return Delivered(total, seconds, burnt)

    def _send(self, run: int, total: int, *, is_recorded: bool) -> list[dict[str, Any]]:
        """Each process takes an equal share."""
        edges = [total * number // len(self.processes) for number in range(len(self.processes) + 1)]
        for process, first, end in zip(self.processes, edges, edges[1:], strict=False):
            order = {"run": run, "first": first + 1, "total": end - first, "is_recorded": is_recorded}
            assert process.stdin
            process.stdin.write(json.dumps(order) + "\n")
            process.stdin.flush()
        return [self._read(process) for process in self.processes]

    def _read(self, process: "subprocess.Popen[str]") -> dict[str, Any]:
        assert process.stdout
        is_ready, _, _ = select.select([process.stdout], [], [], PATIENCE_SECONDS)
        line = process.stdout.readline() if is_ready else ""
        if not line:
            raise WrongResult(f"{self.name} gave up sending through {self.case.title}: {last_words(self.log)}")
        report: dict[str, Any] = json.loads(line)
        return report

    def _count_recorded(self, run: int) -> int:
        with psycopg.connect(self.database_url) as connection:
            row = connection.execute(
                "SELECT count(*) FROM client_outcomes WHERE run = %s AND state = %s", [run, SENT]
            ).fetchone()
        assert row
        return int(row[0])


@contextmanager
def running_client(
    library: Library,
    case: ProviderCase,
    server: ProviderServer,
    servers: Servers,
    *,
    database_url: str,
    processes: int,
    in_flight: int,
) -> Iterator[RunningClient]:
    """Raises NotMeasured where it needs Node and there is none."""
    if library.needs_node:
        _check_node(library)
    terms = {
        "kind": case.kind,
        "origin": server.origin,
        "ca_file": str(server.ca_file),
        "database_url": database_url,
        "account": case.account(server.origin),
        "addresses": asdict(case.form),
        "content": content_of(case.form.channel),
        "in_flight": in_flight,
    }
    log = servers.directory / "logs" / f"client-{case.kind}-{library.program[-1].rpartition('/')[2]}.log"
    with log.open("a") as output:
        started = [
            subprocess.Popen(
                [*library.program, json.dumps(terms)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                text=True,
                cwd=NODE_PACKAGES if library.needs_node else CHECKOUT,
                env={name: value for name, value in os.environ.items() if not name.startswith("TIDINGS_")},
                start_new_session=True,  # a Ctrl-C is ours to answer
            )
            for _ in range(processes)
        ]
    try:
        yield RunningClient(library, case, server, database_url, log, started, servers.pids)
    finally:
        for process in started:
            process.kill()
            process.communicate()


def _check_node(library: Library) -> None:
    if not shutil.which("node"):
        raise NotMeasured(f"Node is not installed, so {library.name} was not measured.")
    if not (NODE_PACKAGES / ".installed").exists():
        raise NotMeasured(f"{NODE_PACKAGES} is missing, so {library.name} was not measured; `make bench` makes it.")
