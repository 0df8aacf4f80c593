"""Pages of 25 messages out of a million, over HTTP from one API process: how long a caller waits."""

import json
from dataclasses import dataclass
from urllib.parse import urlencode

import psycopg

from tests.benchmarks.accounting import cpu_seconds
from tests.benchmarks.figures import Figure, Goal, Section
from tests.benchmarks.installation import Installation, RunningRoles, install
from tests.benchmarks.load_generator import Answered, Load
from tests.benchmarks.options import Options
from tests.benchmarks.servers import Servers

CONNECTIONS = 2
"""Few, so that what is timed is an answer and not a queue of them."""
GOAL_MS = 20
SUBJECT_NAME = "one API process"

# nineteen in twenty were sent, the others failed, wait for their time or are drafts
_MESSAGES = """
INSERT INTO messages (project_seq, id, channel, status, lane, data, topics, users, targets, run, created_at,
    delivered_at, scheduled_at)
SELECT %(project)s, 'message-' || number, CASE number %% 3 WHEN 0 THEN 'push' ELSE 'email' END, status, 'bulk',
    jsonb_build_object('subject', 'Letter ' || number, 'content', repeat('Hello there. ', 20), 'html', false,
        'cc', '[]'::jsonb, 'bcc', '[]'::jsonb, 'attachments', '[]'::jsonb),
    '{}', ARRAY['user-' || number], '{}', CASE WHEN status IN ('sent', 'failed') THEN number END,
    now() - (%(total)s - number) * interval '1 second',
    CASE WHEN status IN ('sent', 'failed') THEN now() - (%(total)s - number) * interval '1 second' END,
    CASE status WHEN 'scheduled' THEN now() + number * interval '1 second' END
FROM generate_series(1, %(total)s::int) AS number,
    LATERAL (SELECT CASE number %% 100 WHEN 1 THEN 'failed' WHEN 2 THEN 'scheduled' WHEN 3 THEN 'draft' ELSE 'sent' END)
        AS statuses (status)
"""

_PROGRESS = """
INSERT INTO message_progress (run, project_seq, message_seq, planned, batches_left, sent)
SELECT run, project_seq, seq, 1, 0, 1 FROM messages WHERE run IS NOT NULL
"""


@dataclass(frozen=True, slots=True)
class Page:
    name: str
    queries: tuple[tuple[object, ...], ...] = ()  # method, attribute, values
    search: str = ""

    @property
    def path(self) -> str:
        asked = {
            f"queries[{index}]": json.dumps({"method": method, "attribute": attribute, "values": values})
            for index, (method, attribute, *values) in enumerate(self.queries)
        }
        return f"/v1/messaging/messages?{urlencode(asked | ({'search': self.search} if self.search else {}))}"


def _pages(total: int) -> list[Page]:
    middle = ("cursorAfter", "", f"message-{total // 2}")
    newest = ("orderDesc", "$createdAt")
    return [
        Page("first page"),
        Page("newest first", (newest,)),
        Page("after a cursor in the middle", (middle,)),
        Page("newest first, after a cursor", (newest, middle)),
        Page("scheduled ones, newest first", (("equal", "status", "scheduled"), newest)),
        Page("a word's beginning, found ten times", search=f"{total // 10 - 1}"),
    ]


def measure(servers: Servers, options: Options) -> Section:
    """Every answer has 25 messages, where there are so many, and the total."""
    installation = install(servers, "bench_listing", redis_database=4)
    _load_messages(installation, options.sizes.listed)
    pages = _pages(options.sizes.listed)
    with installation.running({"api": ()}) as roles:
        burnt = cpu_seconds(roles.pids), cpu_seconds(servers.pids)
        runs = {
            page.name: [_load(roles, page, options.sizes.load_seconds).run() for _ in range(options.sizes.runs)]
            for page in pages
        }
        burnt = cpu_seconds(roles.pids) - burnt[0], cpu_seconds(servers.pids) - burnt[1]
    answers = sum(run.times("200") for of_page in runs.values() for run in of_page)
    api_ms, engines_ms = (1000 * seconds / answers for seconds in burnt)
    figures = [figure for name, of_page in runs.items() for figure in _figures(name, of_page)]
    slowest = max((figure for figure in figures if figure.unit == "ms, p99"), key=lambda figure: figure.median)
    return Section(
        f"Listing: GET /messages, 25 of {options.sizes.listed:,}",
        figures,
        [Goal(f"p99 below {GOAL_MS} ms", f"{slowest.median:.1f} ms ({slowest.name})", slowest.median < GOAL_MS)],
        [
            f"{CONNECTIONS} kept connections; the load generator and Postgres share the machine.",
            f"CPU of an answer: {api_ms:.1f} ms in the API's process, {engines_ms:.1f} ms in Postgres.",
            "What limits it is the one core that the API's process can use, then counting the total up to 5,000.",
        ],
    )


def _load_messages(installation: Installation, total: int) -> None:
    parameters = {"project": installation.audience.project_seq, "total": total}
    with psycopg.connect(installation.audience.database_url, autocommit=True) as connection:
        connection.execute(_MESSAGES, parameters)
        connection.execute(_PROGRESS)
        connection.execute("VACUUM ANALYZE messages, message_progress")


def _load(roles: RunningRoles, page: Page, seconds: float) -> Load:
    return Load(
        address=roles.address.removeprefix("http://"),
        path=page.path,
        headers=roles.installation.headers,
        body=None,
        connections=CONNECTIONS,
        seconds=seconds,
    )


def _figures(name: str, runs: list[Answered]) -> list[Figure]:
    return [
        Figure(name, SUBJECT_NAME, "lists/s", tuple(run.times("200") / run.seconds for run in runs)),
        Figure(name, SUBJECT_NAME, "ms, median", tuple(run.p50_ms for run in runs), more_is_better=False),
        Figure(name, SUBJECT_NAME, "ms, p99", tuple(run.p99_ms for run in runs), more_is_better=False),
    ]
