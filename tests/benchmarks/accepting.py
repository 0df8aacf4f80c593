"""Messages to one recipient each that one API process accepts in a second, and how long a caller waits."""

import json
import subprocess
import sys
from dataclasses import asdict

import psycopg

from shared.domain.status import Channel
from tests.benchmarks.figures import Figure, Goal, Section, WrongResult
from tests.benchmarks.installation import Installation, RunningRoles, install
from tests.benchmarks.load_generator import Answered, Load
from tests.benchmarks.options import Options
from tests.benchmarks.peers.content import BODY, SUBJECT
from tests.benchmarks.servers import Servers

CONNECTIONS = 32
GOAL_RATE = 900
SUBJECT_NAME = "one API process"


def measure(servers: Servers, options: Options) -> Section:
    """The API alone on its database and broker: messages are accepted and rung for, nobody delivers them."""
    installation = install(servers, "bench_accepting", redis_database=2)
    installation.audience.load(Channel.EMAIL, 1)
    with installation.running({"api": ()}) as roles:
        runs = [_load_once(roles, options.sizes.load_seconds) for _ in range(options.sizes.runs)]
    _compare_with_database(installation, runs)
    rates = Figure(
        "single-recipient messages", SUBJECT_NAME, "accepted/s", tuple(_accepted(run) / run.seconds for run in runs)
    )
    return Section(
        "Accepting: POST /messages/email to one target",
        [
            rates,
            Figure("answer, median", SUBJECT_NAME, "ms", tuple(run.p50_ms for run in runs), more_is_better=False),
            Figure("answer, p99", SUBJECT_NAME, "ms", tuple(run.p99_ms for run in runs), more_is_better=False),
        ],
        [Goal(f"at least {GOAL_RATE} accepted/s", f"{rates.median:,.0f}/s", rates.median >= GOAL_RATE)],
        [f"{CONNECTIONS} kept connections; the load generator and Postgres share the machine."],
    )


def _load_once(roles: RunningRoles, seconds: float) -> Answered:
    load = Load(
        address=roles.address.removeprefix("http://"),
        path="/v1/messaging/messages/email",
        headers=roles.installation.headers,
        body={"messageId": "unique()", "subject": SUBJECT, "content": BODY, "targets": ["email-1"]},
        connections=CONNECTIONS,
        seconds=seconds,
    )
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.load_generator"],
        input=json.dumps(asdict(load)),
        capture_output=True,
        text=True,
        check=True,
    )
    return Answered(**json.loads(done.stdout))


def _accepted(run: Answered) -> int:
    refused = {status: times for status, times in run.statuses.items() if status != "201"}
    if refused:
        raise WrongResult(f"the API answered other than 201: {refused}")
    return run.statuses["201"]


def _compare_with_database(installation: Installation, runs: list[Answered]) -> None:
    """Every 201 is a row; the warm-ups' are beyond those counted."""
    counted = sum(_accepted(run) for run in runs)
    with psycopg.connect(installation.audience.database_url) as connection:
        row = connection.execute("SELECT count(*) FROM messages WHERE status = 'processing'").fetchone()
    assert row
    if row[0] < counted:
        raise WrongResult(f"{counted} messages were answered with 201, {row[0]} are in the database")
