"""One installation of real processes for the flow tests: two workers, a scheduler, the simulator, embedded engines,
and object storage.
"""

import json
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from shared.cli.connection import read_connection
from shared.cli.local_roles import scheduler_role, worker_role
from shared.cli.system import Plan, System
from shared.cli.verdict import Verdict, judge
from tests.directories import new_directory
from tests.factories import Factory
from tests.s3_server import Bucket, object_variables, serve_bucket

WINDOW = 16
"""W: recipients a worker process may have in flight, and so the bound of copies for each kill."""

VARIABLES = {
    "TIDINGS_LEASE_SECONDS": "3",
    "TIDINGS_WINDOW": str(WINDOW),
    "TIDINGS_BATCH_SIZE": "100",
    "TIDINGS_UNRUNG_SECONDS": "1",
    "TIDINGS_PROVIDER_TIMEOUT_SECONDS": "1.5",
    "TIDINGS_SMTP_FINAL_TIMEOUT_SECONDS": "1.5",
    "TIDINGS_RETRY_BASE_SECONDS": "0.2",
    "TIDINGS_SWEEP_INTERVAL_SECONDS": "0.5",
    "TIDINGS_STALE_DUE_SECONDS": "0.3",
    "TIDINGS_ACCOUNT_FAULT_PATIENCE_SECONDS": "20",
    "TIDINGS_ACCOUNT_FAULT_RETRY_SECONDS": "0.5",
    "TIDINGS_LOG_LEVEL": "info",
}


@dataclass(slots=True)
class Installation:
    system: System
    factory: Factory

    @property
    def record(self) -> Path:
        return self.system.directory.path / "simulator" / "record.jsonl"

    @property
    def endpoint(self) -> str:
        """Of the API: http://127.0.0.1:PORT/v1"""
        connection = read_connection(self.system.directory.path)
        assert connection is not None
        return connection.endpoint

    def set_faults(self, **profiles: dict[str, object]) -> None:
        """Replace the simulator's fault profiles, by provider."""
        self.tell_simulator("/faults", profiles)

    def tell_simulator(self, path: str, wishes: object) -> None:
        assert self.system.simulation is not None
        request = urllib.request.Request(  # noqa: S310  # our own simulator
            f"{self.system.simulation.inbox}{path}",
            method="PUT",
            data=json.dumps(wishes).encode(),
            headers={"content-type": "application/json"},
        )
        urllib.request.urlopen(request).close()  # noqa: S310

    @property
    def simulator(self) -> dict[str, Any]:
        """What the simulator says of itself."""
        described: dict[str, Any] = json.loads((self.record.parent / "simulator.json").read_text())
        return described

    def call(self, method: str, path: str, body: dict[str, object] | None = None) -> requests.Response:
        """The API, as the project's own key."""
        headers = {"X-Appwrite-Project": self.factory.project_id, "X-Appwrite-Key": self.factory.key}
        return requests.request(method, f"{self.endpoint}{path}", json=body, headers=headers, timeout=10)

    def await_finish(self, run: int, *, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        with self.factory.connect() as connection:
            while connection.execute(
                "SELECT 1 FROM message_progress WHERE run = %s AND finished_at IS NULL", [run]
            ).fetchone():
                assert time.monotonic() < deadline, f"run {run} does not finish: {self.describe(run)}"
                time.sleep(0.05)

    def describe(self, run: int) -> str:
        with self.factory.connect() as connection:
            progress = connection.execute("SELECT * FROM message_progress WHERE run = %s", [run]).fetchone()
            batches = connection.execute(
                "SELECT state, due_at - now(), lease_until - now(), cardinality(targets), attempted_to, recorded_total"
                " FROM batches WHERE run = %s LIMIT 5",
                [run],
            ).fetchall()
        return f"{progress}; open: {batches}"

    def judge(self, run: int, *, title: str | None = None) -> Verdict:
        with self.factory.connect() as connection:
            return judge(connection, self.record, run, title=title)

    def replace_worker(self, name: str) -> None:
        """Start a worker under the name of one that was killed; nothing happens while it runs."""
        if self.system.supervisor.process_id(name) is None:
            self.system.supervisor.start(worker_role(name, self.system.settings))


@pytest.fixture(scope="session")
def bucket() -> Iterator[Bucket]:
    """Object storage, where the installation puts new files."""
    with serve_bucket() as bucket:
        yield bucket


@pytest.fixture(scope="session")
def installation(bucket: Bucket) -> Iterator[Installation]:
    with running_installation({**VARIABLES, **object_variables(bucket)}) as running:
        running.system.supervisor.start(scheduler_role("scheduler-2"))
        add_providers(running)
        yield running


@contextmanager
def running_installation(variables: Mapping[str, str]) -> Iterator[Installation]:
    """Two workers, a scheduler, the API and the simulator, without a provider; gone with the block."""
    system = System(Plan(directory=new_directory(), workers=2, port=0, variables=variables), say=print)
    with system:
        yield Installation(system, Factory(system.settings, project_id="flow"))
    system.directory.remove()


def add_providers(installation: Installation) -> None:
    factory = installation.factory
    factory.provider("fcm", "fcm", credentials={"serviceAccountJSON": installation.simulator["fcm_service_account"]})
    factory.provider(
        "smtp",
        "smtp",
        credentials={"host": "mail.example.com", "port": 587, "username": "", "password": ""},
        options={
            "fromName": "",
            "fromEmail": "news@example.com",
            "replyToName": "",
            "replyToEmail": "",
            "encryption": "",
            "autoTLS": True,
            "mailer": "",
        },
    )
