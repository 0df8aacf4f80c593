"""A peer's processes, and one timed run of them."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
from sqlalchemy import create_engine

from deploy.embedded import spawn, stop
from deploy.embedded.child import last_words
from shared.domain.status import Channel
from tests.benchmarks.accounting import cpu_seconds
from tests.benchmarks.figures import WrongResult
from tests.benchmarks.peers.ledger import Base
from tests.benchmarks.servers import Servers
from tests.benchmarks.sinks import Sinks
from tests.benchmarks.subject import CONNECTIONS_TOTAL, Delivered

PATIENCE_SECONDS = 120.0
QUIET = ("--loglevel", "warning")
LEAN = ("--without-gossip", "--without-mingle", "--without-heartbeat")


@dataclass(frozen=True, slots=True)
class PeerKind:
    name: str
    module: str
    redis_database: int  # of its own: no queue is shared with anybody
    worker_processes: int
    worker_options: tuple[str, ...]


def peer_kinds(cores: int) -> tuple[PeerKind, PeerKind]:
    """The usual way, and its best tuning."""
    threads = max(1, CONNECTIONS_TOTAL // cores)
    return (
        PeerKind("Celery, usual", "usual", 8, 1, ("--pool", "prefork", "--concurrency", str(cores))),
        # one interpreter has one lock: 100 threads over as many processes as there are cores beat 100 in one
        PeerKind("Celery, tuned", "tuned", 9, cores, ("--pool", "threads", "--concurrency", str(threads), *LEAN)),
    )


@dataclass(frozen=True, slots=True)
class RunningPeer:
    name: str
    database_url: str
    log: Path  # of its workers
    publisher: "subprocess.Popen[str]"
    pids: frozenset[int]  # its processes and both engines
    least_total: int = 100

    def deliver(self, channel: Channel, total: int) -> Delivered:
        run = f"{channel}-{time.time_ns()}"
        burnt_before = cpu_seconds(self.pids)
        started_at = self._publish(channel, run, total)
        finished_at = self._await_rows(run, total)
        return Delivered(total, finished_at - started_at, cpu_seconds(self.pids) - burnt_before)

    def _publish(self, channel: Channel, run: str, total: int) -> float:
        assert self.publisher.stdin
        assert self.publisher.stdout
        self.publisher.stdin.write(f"{channel} {run} {total}\n")
        self.publisher.stdin.flush()
        return float(self.publisher.stdout.readline())

    def _await_rows(self, run: str, total: int) -> float:
        """The Unix second of the last row. One machine, one clock: the database's is ours."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        with psycopg.connect(self.database_url, autocommit=True) as connection:
            while time.monotonic() < deadline:
                row = connection.execute(
                    "SELECT count(*), count(*) FILTER (WHERE state = 'sent'),"
                    " extract(epoch FROM max(recorded_at))::float8 FROM peer_deliveries WHERE run = %s",
                    [run],
                ).fetchone()
                assert row
                recorded, sent, last_at = row
                if recorded == total:
                    break
                time.sleep(0.05)
        if sent != total:
            raise WrongResult(f"{self.name}: {sent} of {total} sent, {recorded} recorded: {last_words(self.log)}")
        return float(last_at)


@contextmanager
def running_peer(kind: PeerKind, servers: Servers, database_url: str, sinks: Sinks) -> Iterator[RunningPeer]:
    """Its workers and its publisher until the block ends. They are ready when their first run is over."""
    environment = {
        **os.environ,
        "PEER_BROKER_URL": servers.redis.url_of(kind.redis_database),
        "PEER_DATABASE_URL": database_url,
        "PEER_FCM_URL": f"{sinks.fcm_url}/v1/projects/bench/messages:send",
        "PEER_SMTP_PORT": str(sinks.smtp_port),
        "PEER_CA_FILE": str(sinks.ca_file),
    }
    workers = [_start_worker(kind, number, servers, environment) for number in range(kind.worker_processes)]
    publisher = subprocess.Popen(
        [sys.executable, "-m", "tests.benchmarks.peers.publish", kind.module],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,  # a Ctrl-C is ours to answer
    )
    pids = servers.pids | {worker.pid for worker in workers} | {publisher.pid}
    try:
        yield RunningPeer(kind.name, database_url, _log(kind, servers), publisher, pids)
    finally:
        publisher.communicate()  # closes its input, which ends it
        for worker in workers:
            stop(worker)


def _start_worker(
    kind: PeerKind, number: int, servers: Servers, environment: Mapping[str, str]
) -> "subprocess.Popen[bytes]":
    program = [sys.executable, "-m", "celery", "-A", f"tests.benchmarks.peers.{kind.module}", "worker"]
    return spawn(
        [*program, "--hostname", f"{kind.module}{number}@bench", *QUIET, *kind.worker_options],
        log=_log(kind, servers),
        environment=environment,
    )


def _log(kind: PeerKind, servers: Servers) -> Path:
    return servers.directory / "logs" / f"peer-{kind.module}.log"


def create_ledger(database_url: str) -> None:
    engine = create_engine(database_url)
    Base.metadata.create_all(engine)
    engine.dispose()
