"""`tidings import`: a contact file into the database, directly or through an API."""

import asyncio
import csv
import os
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from secrets import token_hex
from typing import Annotated

import typer

from shared.cli.client import Client, Endpoint, Key, Project, find_access
from shared.cli.connection import DEFAULT_DIRECTORY, DataDir, settings_beside
from shared.cli.contact_check import Check, read_reading
from shared.cli.contacts_over_http import fetch_faults, import_over_http
from shared.cli.database import run_async
from shared.cli.import_progress import ImportBar
from shared.cli.output import AsJson, print_json, results, say
from shared.cli.projects import in_project
from shared.db.queries.contacts.run import ContactFile, import_contacts, read_faults
from shared.db.queries.keys import ProjectIdentity
from shared.db.reachable import database_errors
from shared.db.session import create_engine
from shared.domain.contacts.encodings import Encoding
from shared.domain.contacts.fields import FIELDS, Field
from shared.domain.contacts.header import Layout, UnreadableFile
from shared.domain.contacts.plan import identifiers_of
from shared.domain.contacts.progress import ImportProgress
from shared.domain.contacts.rows import Fault
from shared.errors import ConfigurationError, TidingsError
from shared.exits import PARTLY_SENT
from shared.ids import ProjectSeq
from shared.settings import Settings

FAULTS_A_PAGE = 1_000

ReadFaults = Callable[[int], Awaitable[list[Fault]]]
"""The next page of faults after a line; empty after the last."""


@dataclass(frozen=True, slots=True)
class Outcome:
    progress: ImportProgress
    seconds: float
    error_file: Path | None  # None: no row was bad


def import_file(
    *,
    path: Annotated[Path, typer.Argument(metavar="FILE", help="CSV whose first line names the columns.")],
    mapping: Annotated[
        list[str] | None,
        typer.Option("--map", metavar="COLUMN=FIELD", help=f"For columns of other names; fields: {', '.join(FIELDS)}."),
    ] = None,
    delimiter: Annotated[str | None, typer.Option(help="Between cells; none: the likeliest of , ; | tab.")] = None,
    encoding: Annotated[
        Encoding | None,
        typer.Option(
            help="Of the file; none: UTF-16 or UTF-8 where it is that, else windows-1252.", show_choices=False
        ),
    ] = None,
    default_region: Annotated[
        str | None,
        typer.Option(metavar="REGION", help="Where phone numbers without + are dialled: two letters, as DE."),
    ] = None,
    ignore_unknown: Annotated[bool, typer.Option("--ignore-unknown", help="Pass over columns of other names.")] = False,
    topic: Annotated[
        list[str] | None, typer.Option(metavar="ID", help="Subscribe every row to it too; may be given several times.")
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Only read the file: say how it is understood, and which rows are bad.")
    ] = False,
    create_topics: Annotated[bool, typer.Option(help="Create topics that do not exist, or refuse their rows.")] = True,
    error_file: Annotated[
        Path | None, typer.Option(metavar="PATH", help="Where bad rows are listed; none: FILE with .errors.csv.")
    ] = None,
    endpoint: Endpoint = None,
    project: Project = None,
    key: Key = None,
    data_dir: DataDir = DEFAULT_DIRECTORY,
    as_json: AsJson = False,
) -> None:
    """Import contacts from a CSV file: users, their targets and their subscriptions to topics.

    Columns: user_id, name (or given_name and family_name), email, phone, push_token (push_token_2 ...), topics (ids
    between semicolons), opted_out (with anything in it the row is left out).

    Exports of Google Contacts, Mailchimp and Outlook are known by their header; of several addresses in a cell the
    first is taken.

    What exists is kept. Bad rows are listed in the error file and leave nothing behind; the exit code is 3 then.

    Stopped at any moment, the same command goes on where it was.

    It works on the database of TIDINGS_DATABASE_URL or of `tidings up`; with --endpoint through an API.
    """
    try:
        layout = Layout(
            delimiter and delimiter.replace("\\t", "\t"),
            _read_mapping(mapping or []),
            encoding,
            default_region and default_region.upper(),
            ignore_unknown,
            tuple(dict.fromkeys(topic or [])),
        )
    except UnreadableFile as error:
        raise ConfigurationError(error.message) from error
    file = ContactFile(path, path.name, layout, creates_topics=create_topics)
    if not path.is_file():
        raise ConfigurationError(f"There is no file {path}.", hint="Give the path of a CSV file.")
    error_path = error_file or path.with_suffix(".errors.csv")
    _require_writable(error_path, path)
    with _file_errors(path):
        read_as = file.encoding()
        say(str(read_reading(file, read_as)))
        if check:
            checked = asyncio.run(_check(file, read_as, error_path))
            _print_check(checked, error_path, as_json=as_json)
            if checked.bad_total:
                raise typer.Exit(PARTLY_SENT)
            return
    settings = settings_beside(data_dir)
    access = find_access(endpoint=endpoint, project=project, key=key, directory=data_dir)
    try:
        with _file_errors(path):
            if access and (endpoint or not settings.database_url):
                outcome = run_async(_through_api(Client(access, settings), file, error_path))
            else:
                outcome = run_async(_into_database(settings, project, file, error_path))
    except KeyboardInterrupt:
        say("Stopped. The same command goes on from here.")
        raise
    _print(outcome, as_json=as_json)
    if outcome.progress.bad_total:
        raise typer.Exit(PARTLY_SENT)


@contextmanager
def _file_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except UnreadableFile as error:
        raise ConfigurationError(f"{path}: {error.message}", hint="Nothing of it was imported.") from error
    except OSError as error:
        raise ConfigurationError(f"{error.filename or path}: {error.strerror}.") from error


async def _check(file: ContactFile, encoding: Encoding, error_path: Path) -> Check:
    check = Check()
    faults = check.faults_in(file, encoding)
    if first := next(faults, None):
        remaining = chain([first], faults)

        async def read_page(_after_line: int) -> list[Fault]:
            return list(islice(remaining, FAULTS_A_PAGE))

        await write_error_file(error_path, read_page)
    return check


def _print_check(check: Check, error_path: Path, *, as_json: bool) -> None:
    error_file = error_path if check.bad_total else None
    counts = {str(channel): total for channel, total in check.addresses.items()}
    if as_json:
        print_json(
            {
                "rows": check.rows_total,
                "bad_rows": check.bad_total,
                "addresses": counts,
                "error_file": error_file and str(error_file),
            }
        )
        return
    for contact in check.first:
        addresses = ", ".join(identifier for _channel, identifier in identifiers_of(contact))
        told = [f"Line {contact.line}:", contact.name, addresses, *(f"→ {topic}" for topic in contact.topics)]
        results.print(" ".join(filter(None, told)), markup=False)
    results.print(
        f"Read {check.rows_total:,} rows: {check.rows_total - check.bad_total:,} good, with {counts['email']:,} e-mail "
        f"addresses, {counts['sms']:,} phone numbers and {counts['push']:,} devices. Nothing was written; whether an "
        "address is somebody else's already is seen when it is imported."
    )
    if error_file:
        results.print(f"{check.bad_total:,} rows are bad and would be left out; see {error_file}", markup=False)


def _require_writable(error_path: Path, path: Path) -> None:
    """Asked before the import: afterwards it would be too late to say which rows were bad."""
    if error_path.resolve() == path.resolve():
        fault = "is the file to be imported"
    elif error_path.is_dir():
        fault = "is a directory"
    elif not error_path.parent.is_dir():
        fault = "lies in no directory"
    elif not os.access(error_path.parent, os.W_OK):
        fault = "lies in a directory that cannot be written"
    else:
        return
    raise ConfigurationError(
        f"Bad rows cannot be listed in {error_path}: it {fault}.", hint="Give another path with --error-file."
    )


def _read_mapping(entries: Sequence[str]) -> dict[str, Field]:
    mapping: dict[str, Field] = {}
    for entry in entries:
        column, separator, name = entry.rpartition("=")
        if not separator or name not in FIELDS:
            raise ConfigurationError(
                f"--map {entry!r} is not COLUMN=FIELD.", hint=f"Fields are {', '.join(FIELDS)}: --map 'E-Mail=email'."
            )
        mapping[column] = name
    return mapping


def import_into(settings: Settings, project_id: str, path: Path) -> Outcome:
    """Import a file of the standard layout; topics are created, bad rows listed beside the file."""
    file = ContactFile(path, path.name, Layout(), creates_topics=True)
    return run_async(_into_database(settings, project_id, file, path.with_suffix(".errors.csv")))


async def _into_database(settings: Settings, project_id: str | None, file: ContactFile, error_path: Path) -> Outcome:
    async with in_project(settings, project_id or settings.api_project) as (_session, row):
        project = ProjectIdentity(ProjectSeq(row.seq), row.id, row.mask_credentials)
    started = time.perf_counter()
    with database_errors(settings):
        engine = create_engine(settings, role="import", pool_size=1)
        try:
            with ImportBar(file.path.stat().st_size) as bar:
                stored = await import_contacts(engine, project, file, report=bar.show)

            async def read_page(after_line: int) -> list[Fault]:
                return await read_faults(engine, stored.seq, after_line=after_line)

            return await _concluded(stored, started, error_path, read_page)
        finally:
            await engine.dispose()


async def _through_api(client: Client, file: ContactFile, error_path: Path) -> Outcome:
    started = time.perf_counter()
    with ImportBar(file.path.stat().st_size) as bar:
        progress = await import_over_http(client, file, report=bar.show)

    async def read_page(after_line: int) -> list[Fault]:
        return await asyncio.to_thread(fetch_faults, client, progress.id, after_line)

    return await _concluded(progress, started, error_path, read_page)


async def _concluded(progress: ImportProgress, started: float, error_path: Path, read_page: ReadFaults) -> Outcome:
    if progress.bad_total:
        await write_error_file(error_path, read_page)
    return Outcome(progress, time.perf_counter() - started, error_path if progress.bad_total else None)


async def write_error_file(path: Path, read_page: ReadFaults) -> None:
    """All of it or nothing, though another import of the same file may write it too."""
    unfinished = path.with_name(f"{path.name}.{token_hex(4)}.new")
    try:
        with unfinished.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["line", "reason"])
            after_line = 0
            while faults := await read_page(after_line):
                writer.writerows([fault.line, fault.reason] for fault in faults)
                after_line = faults[-1].line
        unfinished.replace(path)
    except OSError as error:
        raise TidingsError(
            f"The good rows are imported, but {path} cannot be written: {error.strerror or error}.",
            hint="The same command with another --error-file lists the bad ones.",
        ) from error
    finally:
        unfinished.unlink(missing_ok=True)


def _print(outcome: Outcome, *, as_json: bool) -> None:
    progress = outcome.progress
    if as_json:
        print_json(
            {
                "id": progress.id,
                "rows": progress.rows_total,
                "users_created": progress.users_created,
                "users_updated": progress.users_updated,
                "topics_created": progress.topics_created,
                "targets_created": progress.targets_created,
                "subscriptions_created": progress.subscriptions_created,
                "bad_rows": progress.bad_total,
                "faults_not_kept": max(0, progress.bad_total - progress.faults_kept),
                "imported_before": progress.is_repeated,
                "seconds": round(outcome.seconds, 3),
                "error_file": outcome.error_file and str(outcome.error_file),
            }
        )
        return
    results.print(
        f"Read {progress.rows_total:,} rows in {outcome.seconds:.1f} s. Created {progress.users_created:,} users, "
        f"{progress.targets_created:,} targets, {progress.subscriptions_created:,} subscriptions and "
        f"{progress.topics_created:,} topics; updated {progress.users_updated:,} users."
    )
    if progress.is_repeated:
        results.print("This file was imported before: only what was missing since has been created.")
    if outcome.error_file:
        unkept = progress.bad_total - progress.faults_kept
        more = f" (and {unkept:,} more than it lists)" if unkept > 0 else ""
        results.print(
            f"{progress.bad_total:,} rows were bad and left out; see {outcome.error_file}{more}", markup=False
        )
