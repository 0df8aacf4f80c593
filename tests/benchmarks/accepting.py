"""Messages to one recipient each that one API process accepts in a second, and how long a caller waits."""

import psycopg

from tests.benchmarks.accounting import cpu_seconds
from tests.benchmarks.addresses import MAIL_ADDRESS
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
    installation.audience.load(MAIL_ADDRESS, 1)
    with installation.running({"api": ()}) as roles:
        burnt_before = cpu_seconds(roles.pids), cpu_seconds(servers.pids)
        runs = [_load(roles, options.sizes.load_seconds).run() for _ in range(options.sizes.runs)]
        burnt = cpu_seconds(roles.pids) - burnt_before[0], cpu_seconds(servers.pids) - burnt_before[1]
    stored = _count_stored(installation, runs)
    api_ms, engines_ms = (1000 * seconds / stored for seconds in burnt)
    rates = Figure(
        "single-recipient messages", SUBJECT_NAME, "accepted/s", tuple(run.times("201") / run.seconds for run in runs)
    )
    return Section(
        "Accepting: POST /messages/email to one target",
        [
            rates,
            Figure("answer, median", SUBJECT_NAME, "ms", tuple(run.p50_ms for run in runs), more_is_better=False),
            Figure("answer, p99", SUBJECT_NAME, "ms", tuple(run.p99_ms for run in runs), more_is_better=False),
        ],
        [Goal(f"at least {GOAL_RATE} accepted/s", f"{rates.median:,.0f}/s", rates.median >= GOAL_RATE)],
        [
            f"{CONNECTIONS} kept connections; the load generator and Postgres share the machine.",
            f"CPU of a message: {api_ms:.2f} ms in the API's process, {engines_ms:.2f} ms in Postgres and Redis.",
            "What limits it is the one core that the API's process can use.",
        ],
    )


def _load(roles: RunningRoles, seconds: float) -> Load:
    return Load(
        address=roles.address.removeprefix("http://"),
        path="/v1/messaging/messages/email",
        headers=roles.installation.headers,
        body={"messageId": "unique()", "subject": SUBJECT, "content": BODY, "targets": ["email-1"]},
        connections=CONNECTIONS,
        seconds=seconds,
    )


def _count_stored(installation: Installation, runs: list[Answered]) -> int:
    """Every 201 is a row; the warm-ups' are beyond those counted."""
    counted = sum(run.times("201") for run in runs)
    with psycopg.connect(installation.audience.database_url) as connection:
        row = connection.execute("SELECT count(*) FROM messages WHERE status = 'processing'").fetchone()
    assert row
    stored = int(row[0])
    if stored < counted:
        raise WrongResult(f"{counted} messages were answered with 201, {stored} are in the database")
    return stored
