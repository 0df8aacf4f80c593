"""Checks everything an installation stands on and says, for each thing that is wrong, what to do about it."""

import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Annotated, Literal

import typer
from sqlalchemy import text

from shared.cli.connection import DEFAULT_DIRECTORY, DataDir, settings_beside
from shared.cli.database import open_session, run_async
from shared.cli.output import AsJson, print_json, results
from shared.db.migrate import newest_revision
from shared.db.pools import CONNECTIONS_PER_PROCESS
from shared.db.queries.installation import check_secret_keys, is_live
from shared.db.queries.rotation import check_stored_secrets
from shared.db.reachable import check_database
from shared.db.secrets import open_secret_box
from shared.errors import NotReachable, TidingsError
from shared.exits import FAILED, NOT_REACHABLE
from shared.files.objects import open_object_store
from shared.queue.probe import probe_broker
from shared.settings import Settings

OLDEST_POSTGRES = 15
"""Older ones are untried."""

CLOCK_TOLERANCE_SECONDS = 2.0

SMALLEST_PREFIX = 8
"""Bits that a trusted network has at least: what is larger is no network of proxies but the Internet."""

State = Literal["ok", "warning", "wrong", "unreachable"]
Processes = Mapping[str, int]
"""How many shall run, by role."""

MARKS: dict[State, str] = {"ok": "[green]ok[/]", "warning": "[yellow]!![/]"}


@dataclass(frozen=True, slots=True)
class Finding:
    check: str
    state: State
    detail: str
    hint: str | None = None


def examine(
    *,
    api: Annotated[int, typer.Option(min=0, help="API processes that you plan to run.")] = 1,
    workers: Annotated[
        int | None, typer.Option(min=0, help="Worker processes, of all machines; none: our cores.")
    ] = None,
    schedulers: Annotated[int, typer.Option(min=0, help="Schedulers that you plan to run.")] = 2,
    data_dir: DataDir = DEFAULT_DIRECTORY,
    as_json: AsJson = False,
) -> None:
    """Check settings, database, migrations, broker, file storage, clock, connections, secrets and proxies.

    Exits with 0 when nothing is wrong, 4 when a server cannot be reached, 1 when something else is wrong.
    """
    settings = settings_beside(data_dir)
    processes = {"api": api, "worker": workers or os.cpu_count() or 1, "scheduler": schedulers}
    findings = list(_examine(settings, processes))
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        for finding in findings:
            _print(finding)
    states = {finding.state for finding in findings}
    if "unreachable" in states:
        raise typer.Exit(NOT_REACHABLE)
    if "wrong" in states:
        raise typer.Exit(FAILED)


def _examine(settings: Settings, processes: Processes) -> Iterator[Finding]:
    database = _found("database", lambda: _database(settings))
    yield database
    if database.state == "ok":
        yield _found("migrations", lambda: _migrations(settings))
        yield _found("clock", lambda: _clock(settings))
        yield _found("connections", lambda: _connections(settings, processes))
        yield _found("secrets", lambda: _secrets(settings))
        yield _found("live", lambda: _live(settings))
    yield _found("broker", lambda: _broker(settings))
    yield _found("files", lambda: _files(settings))
    yield _proxies(settings)


def _found(check: str, look: Callable[[], Finding]) -> Finding:
    try:
        return look()
    except NotReachable as error:
        return Finding(check, "unreachable", error.message, error.hint)
    except TidingsError as error:
        return Finding(check, "wrong", error.message, error.hint)


def _database(settings: Settings) -> Finding:
    version = int(_ask(settings, "SELECT current_setting('server_version_num')::int")) // 10_000
    if version < OLDEST_POSTGRES:
        hint = f"Use Postgres {OLDEST_POSTGRES} or newer."
        return Finding("database", "wrong", f"Postgres {version} is too old.", hint)
    return Finding("database", "ok", f"Postgres {version} answers.")


def _migrations(settings: Settings) -> Finding:
    current = check_database(settings)
    newest = newest_revision()
    if current == newest:
        return Finding("migrations", "ok", f"The database is at the newest migration ({newest}).")
    return Finding(
        "migrations",
        "wrong",
        f"The database is at {current or 'nothing'}, the newest is {newest}.",
        "Run `tidings migrate`.",
    )


def _clock(settings: Settings) -> Finding:
    before = time.time()
    database_time = _ask(settings, "SELECT extract(epoch FROM clock_timestamp())::float8")
    after = time.time()
    # the database looked at its clock somewhere between our two looks
    skew_seconds = max(before - database_time, database_time - after, 0.0)
    if skew_seconds <= CLOCK_TOLERANCE_SECONDS:
        return Finding("clock", "ok", f"This host and the database agree within {CLOCK_TOLERANCE_SECONDS:g} s.")
    return Finding(
        "clock",
        "warning",
        f"This host's clock is {skew_seconds:.1f} s off the database's.",
        "Leases and schedules go by the database's clock and are safe; tokens for providers are not: run NTP on both.",
    )


def _connections(settings: Settings, processes: Processes) -> Finding:
    limit = int(
        _ask(
            settings,
            """
            SELECT current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
                - (SELECT count(*) FROM pg_stat_activity
                   WHERE backend_type = 'client backend' AND application_name NOT LIKE 'tidings-%')
            """,
        )
    )
    parts = [f"{count} {role} x {CONNECTIONS_PER_PROCESS[role]}" for role, count in processes.items()]
    needed = sum(count * CONNECTIONS_PER_PROCESS[role] for role, count in processes.items())
    detail = f"{' + '.join(parts)} = {needed} connections of {limit} that are free for Tidings."
    if needed <= limit:
        return Finding("connections", "ok", detail)
    return Finding("connections", "wrong", detail, "Raise max_connections in Postgres, or run fewer processes.")


def _secrets(settings: Settings) -> Finding:
    box = open_secret_box(settings)

    async def check() -> bool:
        async with open_session(settings) as session:
            await check_stored_secrets(session, box)
            return await check_secret_keys(session, box)

    if run_async(check()):
        return Finding("secrets", "ok", "Stored credentials can be decrypted.")
    return Finding(
        "secrets",
        "warning",
        "Nothing is stored yet by which the secret keys could be checked.",
        "`tidings migrate` stores it, with the keys at hand.",
    )


def _live(settings: Settings) -> Finding:
    async def look() -> bool:
        async with open_session(settings) as session:
            return await is_live(session)

    sends_for_real = settings.live if settings.live is not None else run_async(look())
    if sends_for_real:
        return Finding("live", "ok", "This installation sends to real people.")
    return Finding("live", "ok", "This installation reaches no real provider; it is not live.")


def _broker(settings: Settings) -> Finding:
    facts = probe_broker(settings)
    name = f"{facts.kind} {facts.version}".strip()
    if facts.eviction_policy in {None, "noeviction"}:
        return Finding("broker", "ok", f"The broker answers ({name}).")
    return Finding(
        "broker",
        "warning",
        f"The broker ({name}) drops keys when it is full ({facts.eviction_policy}).",
        "CONFIG SET maxmemory-policy noeviction. No message is lost without it, but rings are.",
    )


def _files(settings: Settings) -> Finding:
    store = open_object_store(settings)
    if store is None:
        return Finding("files", "ok", "Files are kept in Postgres.")
    run_async(store.probe())
    return Finding("files", "ok", f"Files can be written, read and deleted in {settings.files_url}.")


def _proxies(settings: Settings) -> Finding:
    networks = settings.proxy_networks()
    if any(network.prefixlen < SMALLEST_PREFIX for network in networks):
        return Finding(
            "proxies",
            "warning",
            f"Whoever connects from {', '.join(map(str, networks))} is believed, and may call itself any client.",
            "Name your proxies alone in TIDINGS_TRUSTED_PROXIES.",
        )
    if networks:
        named = ", ".join(map(str, networks))
        return Finding("proxies", "ok", f"X-Forwarded-For and X-Forwarded-Proto are believed from {named} alone.")
    detail = "No proxy is trusted: whoever connects is the client, whatever X-Forwarded-For says."
    if settings.public_url and settings.public_url.lower().startswith("https:"):
        return Finding(
            "proxies",
            "warning",
            detail,
            "TIDINGS_PUBLIC_URL is https, so a proxy stands before the API: name it in TIDINGS_TRUSTED_PROXIES. Till"
            " then all clients share its limits, and cookies lack Secure.",
        )
    return Finding("proxies", "ok", detail)


def _ask(settings: Settings, question: str) -> float:
    """The one number that answers it."""

    async def ask() -> float:
        async with open_session(settings) as session:
            answer: float = (await session.execute(text(question))).scalar_one()
            return answer

    return run_async(ask())


def _print(finding: Finding) -> None:
    mark = MARKS.get(finding.state, "[bold red]no[/]")
    results.print(mark, finding.check.ljust(12), end=" ")
    results.print(finding.detail, markup=False)
    if finding.hint:
        results.print(" " * 16 + finding.hint, markup=False)
