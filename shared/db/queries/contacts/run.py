"""A whole import, from the file to the merged contacts; broken off anywhere, the same call goes on from there."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from hashlib import file_digest
from io import TextIOWrapper
from itertools import islice
from pathlib import Path
from typing import TypeVar

from psycopg import OperationalError, errors
from sqlalchemy.ext.asyncio import AsyncEngine

from shared.db.queries.contacts.merge import merge_page
from shared.db.queries.contacts.stage import (
    StoredImport,
    close_staging,
    discard_import,
    list_faults,
    open_import,
    stage_rows,
)
from shared.db.queries.contacts.write import TargetsChanged
from shared.db.queries.keys import ProjectIdentity
from shared.db.session import HotConnection, hot_transaction
from shared.domain.contacts.encodings import Encoding, detect_encoding
from shared.domain.contacts.header import Layout, UnreadableFile
from shared.domain.contacts.progress import ImportProgress, ImportState
from shared.domain.contacts.rows import LINE_LENGTH, Contact, Fault, read_contacts
from shared.errors import TidingsError

# As quick as 5,000 (100,000 rows in 13 s either way), and topics and other imports are held up for 0.1 s, not 0.6.
PAGE_ROWS = 1_000
MAX_PAGE_TRIES = 10
IMPORT_ID_LENGTH = 20

# Imports wait for each other, and for what Postgres still does for one that was killed: longer than the pool's
# connections allow.
_READERS = ThreadPoolExecutor(4, thread_name_prefix="contacts")
"""Not the event loop's own threads, which look up the database's name: reading a page may take minutes, as a file may
hold a GiB of blank lines.
"""

PATIENCE_SECONDS = 65.0
"""For a transaction: longer than one statement of it may take."""

_WAIT_FOR_OTHERS = "SELECT set_config('lock_timeout', '30s', true), set_config('statement_timeout', '60s', true)"

Read = TypeVar("Read")

Report = Callable[[ImportProgress, int], None]
"""Told after each transaction: how far it is, and how many bytes of the file were read for staging."""

# somebody else wrote the same contacts, or locked them the other way round
_RACES = (
    TargetsChanged,
    errors.UniqueViolation,
    errors.ForeignKeyViolation,
    errors.DeadlockDetected,
    errors.LockNotAvailable,
)


@dataclass(frozen=True, slots=True)
class ContactFile:
    path: Path
    name: str  # what it is called for people
    layout: Layout = field(default_factory=Layout)
    creates_topics: bool = True  # False: a row that names an unknown topic is faulty

    def fingerprint(self) -> str:
        """The import's id: the same content read the same way is the same import."""
        layout = self.layout
        options: list[object] = [layout.delimiter, sorted(layout.fields.items()), self.creates_topics]
        newer = [layout.encoding, layout.region, layout.ignores_unknown, layout.topics]
        if any(newer):  # an import that an older version began goes on
            options += newer
        with self.path.open("rb") as file:
            digest = file_digest(file, "sha256")
        digest.update(json.dumps(options).encode())
        return digest.hexdigest()[:IMPORT_ID_LENGTH]

    def encoding(self) -> Encoding:
        """Reads the file to its end where it is not told and the bytes do not tell before."""
        if self.layout.encoding:
            return self.layout.encoding
        with self.path.open("rb") as content:
            return detect_encoding(content)

    def open_as(self, encoding: Encoding) -> TextIOWrapper:
        """What is not of the encoding becomes a lone surrogate or U+FFFD, so that it spoils its row, not the file."""
        is_utf8 = encoding == "utf-8"
        codec, errors = ("utf-8-sig", "surrogateescape") if is_utf8 else (encoding, "replace")
        return self.path.open(encoding=codec, errors=errors, newline="")


def bounded_lines(text: TextIOWrapper) -> Iterator[str]:
    """Cut where they are longer than LINE_LENGTH: a file without line ends would be as large in memory."""
    return iter(partial(text.readline, LINE_LENGTH + 1), "")


async def import_contacts(
    engine: AsyncEngine,
    project: ProjectIdentity,
    file: ContactFile,
    *,
    report: Report,
    page_rows: int = PAGE_ROWS,
) -> StoredImport:
    """The finished import. Memory is a page of rows, whatever the size of the file.

    Raises UnreadableFile, with nothing merged, when the file as a whole is no contact file.
    """
    import_id = await _beside(file.fingerprint)
    async with _patient_transaction(engine) as connection:
        progress = await open_import(connection, project.seq, import_id, file_name=file.name)
    while progress.state is not ImportState.FINISHED:
        if progress.state is ImportState.STAGING:
            progress = await _stage(engine, progress, file, report=report, page_rows=page_rows)
        else:
            progress = await _merge_page(engine, project, file, import_seq=progress.seq, page_rows=page_rows)
            report(progress, file.path.stat().st_size)
    return progress


async def _beside(read: Callable[[], Read]) -> Read:
    return await asyncio.get_running_loop().run_in_executor(_READERS, read)


@asynccontextmanager
async def _patient_transaction(engine: AsyncEngine) -> AsyncIterator[HotConnection]:
    """Raises psycopg.OperationalError where the database stands still, which no limit of its own would tell."""
    try:
        async with asyncio.timeout(PATIENCE_SECONDS), hot_transaction(engine) as connection:
            await connection.execute(_WAIT_FOR_OTHERS)
            yield connection
    except TimeoutError as error:
        raise OperationalError(f"The database has not answered for {PATIENCE_SECONDS:g} seconds.") from error


async def _stage(
    engine: AsyncEngine, progress: StoredImport, file: ContactFile, *, report: Report, page_rows: int
) -> StoredImport:
    """Still `staging` where other processes with the same file have finished it meanwhile and begun again."""
    try:
        return await _stage_pages(engine, progress, file, report=report, page_rows=page_rows)
    except UnreadableFile:
        async with _patient_transaction(engine) as connection:
            await discard_import(connection, progress.seq)
        raise


async def _stage_pages(
    engine: AsyncEngine, progress: StoredImport, file: ContactFile, *, report: Report, page_rows: int
) -> StoredImport:
    with file.open_as(await _beside(file.encoding)) as text:
        rows = read_contacts(bounded_lines(text), file.layout, after_line=progress.staged_to)
        while page := await _beside(partial(_next_rows, rows, page_rows)):
            async with _patient_transaction(engine) as connection:
                progress = await stage_rows(connection, progress.seq, page, after_line=progress.staged_to)
            if progress.state is not ImportState.STAGING or progress.staged_to < page[-1].line:
                return progress  # another process with the same file was quicker
            report(progress, os.lseek(text.fileno(), 0, os.SEEK_CUR))
    async with _patient_transaction(engine) as connection:
        return await close_staging(connection, progress.seq, last_line=progress.staged_to)


def _next_rows(rows: Iterator[Contact | Fault], limit: int) -> list[Contact | Fault]:
    return list(islice(rows, limit))


async def _merge_page(
    engine: AsyncEngine, project: ProjectIdentity, file: ContactFile, *, import_seq: int, page_rows: int
) -> StoredImport:
    for _attempt in range(MAX_PAGE_TRIES):
        try:
            async with _patient_transaction(engine) as connection:
                return await merge_page(
                    connection,
                    project,
                    import_seq=import_seq,
                    page_rows=page_rows,
                    creates_topics=file.creates_topics,
                )
        except _RACES:
            continue
    raise TidingsError(
        "The contacts are being changed from elsewhere too often to merge them.",
        hint="Start the import again: it goes on where it stopped.",
    )


async def read_faults(engine: AsyncEngine, import_seq: int, *, after_line: int = 0) -> list[Fault]:
    """The next page of rows that were not merged; empty after the last."""
    async with _patient_transaction(engine) as connection:
        return await list_faults(connection, import_seq, after_line=after_line, limit=PAGE_ROWS)
