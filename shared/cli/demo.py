"""`tidings demo`: the main job from an empty machine to a verdict, with a worker killed on the way."""

import json
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import psycopg
import typer

from deploy.embedded import DataDirectory
from shared.cli.client import Access, Client
from shared.cli.connection import Connection
from shared.cli.contacts import import_into
from shared.cli.demo_contacts import BROKEN_ROWS, EARLY, LATE, NEWS, PEOPLE, PHONES, TEXTED, write_contacts
from shared.cli.messages import fetch_progress
from shared.cli.output import print_table, results, say
from shared.cli.stop_signals import StopRequested, StopSignals
from shared.cli.system import Plan, System
from shared.cli.verdict import Verdict, judge
from shared.cli.watch import Board, MessageProgress, watch_messages
from shared.errors import ConfigurationError, TidingsError

DIRECTORY = Path(".tidings/demo")
WORKERS = 2
WINDOW = 500
LEASE_SECONDS = 6
KILL_FROM, KILL_TO = 0.30, 0.60
"""The share of all recipients between which the worker is killed."""

VARIABLES = {
    # short, so that the killed worker's recipients are taken over while you watch
    "TIDINGS_LEASE_SECONDS": str(LEASE_SECONDS),
    "TIDINGS_PROVIDER_TIMEOUT_SECONDS": "4",
    "TIDINGS_SMTP_FINAL_TIMEOUT_SECONDS": "4",
    "TIDINGS_RETRY_BASE_SECONDS": "0.5",
    "TIDINGS_SWEEP_INTERVAL_SECONDS": "0.5",
    "TIDINGS_WINDOW": str(WINDOW),
}

FAULTS = {
    "smtp": {"latency_ms": 20},
    "twilio": {"latency_ms": 50, "receipt_delay_ms": 500},
    # three devices in a hundred are refused once, with a second to wait
    "fcm": {"latency_ms": 50, "transient_once_rate": 0.03, "retry_after_seconds": 1},
}

WORTH_A_KILL = 20
"""Recipients in flight that a worker must hold to be killed."""

LINES: dict[str, Callable[[Verdict], int]] = {
    "planned": lambda verdict: verdict.planned,
    "sent": lambda verdict: verdict.sent,
    "  accepted, says the simulator": lambda verdict: verdict.accepted,
    "failed": lambda verdict: verdict.failed,
    "unknown": lambda verdict: verdict.unknown,
    "skipped": lambda verdict: verdict.planned - verdict.sent - verdict.failed - verdict.unknown,
    "sent again (possible copies)": lambda verdict: verdict.resends,
    "  copies, says the simulator": lambda verdict: verdict.copies,
    "deliveries per second": lambda verdict: round(verdict.planned / verdict.seconds),
}
"""The report: a line each, a column per message."""

RECEIPTS_SECONDS = 15.0
"""How long the receipts of text messages are waited for."""

SCHEDULED_AHEAD_SECONDS = 8
SCHEDULED_PEOPLE = 100


@dataclass(frozen=True, slots=True)
class Campaign:
    id: str
    title: str  # subject or title; unique, so that the simulator's record can be told apart
    audience: str
    recipients: int  # expected


TEXT = Campaign("news-by-text", "The news by text", f"topic {TEXTED}", PHONES)
CAMPAIGNS = (
    Campaign("news-by-mail", "The news by mail", f"topic {NEWS}", PEOPLE),
    Campaign("news-by-push", "The news by push", f"{EARLY} + {LATE}", PEOPLE),
    TEXT,
    Campaign("a-reminder", "A reminder", f"{SCHEDULED_PEOPLE} users, scheduled", SCHEDULED_PEOPLE),
)


@dataclass(slots=True)
class Kill:
    """What became of the plan to kill a worker while it holds a batch."""

    recipients: int = 0  # marked and without an outcome when it died; 0: it was not killed, or held none
    share: float = 0.0  # of all recipients done by then
    errors: list[Exception] = field(default_factory=list)


def run_demo(
    *,
    keep: Annotated[bool, typer.Option(help="Keep the data in .tidings/demo for a look.")] = False,
) -> None:
    """Show the main job: import 20,000 people, send four messages, kill a worker, count what arrived.

    Everything runs on this machine: embedded Postgres and Redis, and a simulator in place of the providers.
    """
    began = time.monotonic()
    _remove_data()
    plan = Plan(directory=DIRECTORY, workers=WORKERS, port=0, variables=VARIABLES)
    system: System | None = None
    with StopSignals() as signals:
        try:
            system = System(plan, say=say, hurry=lambda: signals.hurry)
            connection = system.start()
            is_good = _play(system, connection, began)
        except StopRequested:
            say("Stopping ...")
            is_good = False
        finally:
            signals.only_hurry()
            if system:
                system.stop()
            if not keep:
                _remove_data()
    raise typer.Exit(0 if is_good else 1)


def _remove_data() -> None:
    with DataDirectory(DIRECTORY) as directory:
        directory.remove()


def _play(system: System, connection: Connection, began: float) -> bool:
    _import_people(system, connection)
    _set_faults(system)
    client = Client(Access(connection.endpoint, connection.project, connection.key), system.settings)
    _create_with_sdk(system, connection)
    kill = _watch(system, client)
    receipts = _await_receipts(client)
    with psycopg.connect(system.settings.require_database_url(), autocommit=True) as database:
        verdicts = {campaign.id: _judge(system, database, campaign) for campaign in CAMPAIGNS}
    return _report(verdicts, kill, receipts, seconds=time.monotonic() - began)


def _import_people(system: System, connection: Connection) -> None:
    path = system.directory.path / "contacts.csv"
    write_contacts(path)
    say(f"Importing {PEOPLE:,} people and {BROKEN_ROWS} broken rows from {path} ...")
    outcome = import_into(system.settings, connection.project, path)
    progress = outcome.progress
    say(
        f"Imported in {outcome.seconds:.1f} s: {progress.users_created:,} users, {progress.targets_created:,} targets,"
        f" {progress.subscriptions_created:,} subscriptions; {progress.bad_total} bad rows in {outcome.error_file}."
    )


def _set_faults(system: System) -> None:
    assert system.simulation is not None
    request = urllib.request.Request(  # noqa: S310  # our own simulator
        f"{system.simulation.inbox}/faults",
        method="PUT",
        data=json.dumps(FAULTS).encode(),
        headers={"content-type": "application/json"},
    )
    urllib.request.urlopen(request).close()  # noqa: S310


def _create_with_sdk(system: System, connection: Connection) -> None:
    """Providers and messages through Appwrite's own SDK, unmodified."""
    try:
        from appwrite.client import Client as AppwriteClient  # noqa: PLC0415  # needed by the demo alone
        from appwrite.services.messaging import Messaging  # noqa: PLC0415
    except ImportError as error:
        raise ConfigurationError(
            "The demo drives Tidings with Appwrite's Python SDK, which is not installed.",
            hint="Run `make demo`, or: pip install appwrite",
        ) from error
    say("Creating providers and messages with the official Appwrite Python SDK ...")
    client = AppwriteClient().set_endpoint(connection.endpoint).set_project(connection.project)
    client.set_key(connection.key)
    messaging = Messaging(client)
    messaging.create_smtp_provider("mail", "Mail", "smtp.example.com", from_email="news@example.com", enabled=True)
    simulated = _simulated(system)
    messaging.create_fcm_provider(
        "firebase", "Firebase", service_account_json=simulated["fcm_service_account"], enabled=True
    )
    twilio = simulated["credentials"]["twilio"]
    messaging.create_twilio_provider(
        "texts", "Texts", "+12065550100", twilio["accountSid"], twilio["authToken"], enabled=True
    )
    mail, push, text, reminder = CAMPAIGNS
    messaging.create_push(
        reminder.id,
        title=reminder.title,
        body="It starts in a moment.",
        users=[f"person-{number:05}" for number in range(1, SCHEDULED_PEOPLE + 1)],
        scheduled_at=(datetime.now(UTC) + timedelta(seconds=SCHEDULED_AHEAD_SECONDS)).isoformat(),
    )
    messaging.create_email(mail.id, mail.title, "<p>All the news.</p>", topics=[NEWS], html=True)
    messaging.create_push(push.id, title=push.title, body="All the news.", topics=[EARLY, LATE])
    messaging.create_sms(text.id, text.title, topics=[TEXTED])


def _simulated(system: System) -> dict[str, Any]:
    """What the simulator says of itself, accounts included."""
    described: dict[str, Any] = json.loads((system.directory.path / "simulator" / "simulator.json").read_text())
    return described


def _watch(system: System, client: Client) -> Kill:
    """Draw all messages until they are finished, while a worker is killed and replaced."""
    latest: dict[str, MessageProgress] = {}

    def fetch(message_id: str) -> MessageProgress:
        latest[message_id] = fetch_progress(client, message_id)
        return latest[message_id]

    with Board() as board, _killing(system, board, latest) as kill:
        watch_messages({campaign.id: campaign.title for campaign in CAMPAIGNS}, fetch, board=board)
    if kill.errors:
        raise kill.errors[0]
    return kill


@contextmanager
def _killing(system: System, board: Board, latest: Mapping[str, MessageProgress]) -> Iterator[Kill]:
    """In a thread: kill a worker that holds a batch, once; start again whatever exited."""
    kill, done = Kill(), threading.Event()

    def attend() -> None:
        try:
            with psycopg.connect(system.settings.require_database_url(), autocommit=True) as database:
                while not done.wait(0.01):
                    share = _share_done(latest)
                    if not kill.recipients and KILL_FROM <= share <= KILL_TO:
                        _kill_holder(system, database, board, kill, share)
                    system.watch()
        except (TidingsError, psycopg.Error) as error:
            kill.errors.append(error)

    thread = threading.Thread(target=attend, name="killer")
    thread.start()
    try:
        yield kill
    finally:
        done.set()
        thread.join()


def _share_done(latest: Mapping[str, MessageProgress]) -> float:
    return sum(progress.done for progress in latest.values()) / sum(campaign.recipients for campaign in CAMPAIGNS)


def _kill_holder(
    system: System, database: "psycopg.Connection[tuple[Any, ...]]", board: Board, kill: Kill, share: float
) -> None:
    """SIGKILL the first worker while it holds marked recipients; count those whose outcome died with it."""
    name = "worker-1"
    process_ids = system.supervisor.processes_of(name)
    if _in_flight(database, process_ids) < WORTH_A_KILL:
        return
    system.supervisor.kill(name)
    kill.recipients, kill.share = _in_flight(database, process_ids), share
    board.say(
        f"SIGKILL to {name} at {share:.0%}: it held {kill.recipients} recipients in flight (W = {WINDOW})."
        f" Its leases run out in {LEASE_SECONDS} s; then others take over, and those {kill.recipients} are sent again."
    )


def _in_flight(database: "psycopg.Connection[tuple[Any, ...]]", process_ids: list[int]) -> int:
    row = database.execute(
        "SELECT coalesce(sum(attempted_to - recorded_total), 0)::int FROM batches"
        " WHERE state = 'claimed' AND split_part(claimed_by, '/', 2)::int = ANY(%s)",
        [process_ids],
    ).fetchone()
    assert row is not None
    return int(row[0])


def _await_receipts(client: Client) -> Mapping[str, int]:
    """Progress of the text messages once their provider has told of each; Twilio posts its receipts to the API."""
    deadline = time.monotonic() + RECEIPTS_SECONDS
    while True:
        progress: dict[str, int] = client.get(f"/tidings/messages/{TEXT.id}/progress")
        told = progress["delivered"] + progress["undelivered"]
        expected = progress["sent"] + progress["unknown"]  # a receipt settles what the kill left unknown
        if told >= expected or time.monotonic() > deadline:
            return progress
        time.sleep(0.2)


def _judge(system: System, database: "psycopg.Connection[tuple[Any, ...]]", campaign: Campaign) -> Verdict:
    row = database.execute("SELECT run FROM messages WHERE id = %s", [campaign.id]).fetchone()
    assert row is not None
    record = system.directory.path / "simulator" / "record.jsonl"
    return judge(database, record, row[0], title=campaign.title)


def _report(verdicts: Mapping[str, Verdict], kill: Kill, receipts: Mapping[str, int], *, seconds: float) -> bool:
    """The table and the verdict line; True when everybody is accounted for and both records agree."""
    results.print()
    columns = [verdicts[campaign.id] for campaign in CAMPAIGNS]
    print_table(
        ["", *(campaign.title for campaign in CAMPAIGNS)],
        [
            ["audience", *(campaign.audience for campaign in CAMPAIGNS)],
            *([name, *(f"{read(verdict):,}" for verdict in columns)] for name, read in LINES.items()),
        ],
    )
    results.print(
        f"\nReceipts from Twilio, signed: {receipts['delivered']} delivered, {receipts['undelivered']} undelivered."
    )
    complaints = _complaints(verdicts, kill)
    if receipts["delivered"] + receipts["undelivered"] != verdicts[TEXT.id].accepted:
        complaints.append("some text messages have no receipt")
    for complaint in complaints:
        results.print(f"[red]✗[/] {complaint}")
    planned = sum(verdict.planned for verdict in verdicts.values())
    results.print()
    if complaints:
        results.print(f"[bold red]VERDICT: {len(complaints)} complaints[/] after {seconds:.0f} s.")
    else:
        results.print(
            f"[bold green]VERDICT: all {planned:,} recipients are accounted for[/], and the simulator's record agrees;"
            f" a worker killed at {kill.share:.0%} cost {sum(v.copies for v in verdicts.values())} copies, all on file"
            f" (bound {WINDOW}). {seconds:.0f} s in all."
        )
    return not complaints


def _complaints(verdicts: Mapping[str, Verdict], kill: Kill) -> list[str]:
    complaints = [
        f"{campaign.title}: {violation}" for campaign in CAMPAIGNS for violation in verdicts[campaign.id].violations
    ]
    for campaign in CAMPAIGNS:
        verdict = verdicts[campaign.id]
        if verdict.planned != campaign.recipients:
            complaints.append(f"{campaign.title}: {verdict.planned} planned instead of {campaign.recipients}")
        if verdict.sent != verdict.accepted:
            complaints.append(f"{campaign.title}: {verdict.sent} sent, the simulator accepted {verdict.accepted}")
    if not kill.recipients:
        complaints.append("no worker was killed while it held recipients")
    return complaints
