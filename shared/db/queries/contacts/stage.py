"""Opening an import and staging its rows: nothing of the file is merged before all of it could be read."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from psycopg import AsyncCursor
from psycopg.rows import kwargs_row

from shared.db.session import HotConnection, copy_rows
from shared.domain.contacts.progress import ImportProgress, ImportState
from shared.domain.contacts.rows import Contact, Fault
from shared.errors import TidingsError
from shared.ids import ProjectSeq

_FIND = "SELECT * FROM contact_imports WHERE project_seq = %(project)s AND id = %(id)s"
_LOCK = "SELECT * FROM contact_imports WHERE seq = %(seq)s FOR UPDATE"

_OPEN = """
INSERT INTO contact_imports (project_seq, id, file_name) VALUES (%(project)s, %(id)s, %(file_name)s)
ON CONFLICT (project_seq, id) DO NOTHING
"""

_START_OVER = """
UPDATE contact_imports
SET state = 'staging', staged_to = 0, merged_to = 0, rows_total = 0, bad_total = 0, faults_kept = 0, fault_bytes = 0,
    users_created = 0,
    users_updated = 0, topics_created = 0, targets_created = 0, subscriptions_created = 0,
    file_name = %(file_name)s, finished_at = NULL, updated_at = now()
WHERE seq = %(seq)s
RETURNING *
"""

_MOVE_STAGED = """
UPDATE contact_imports
SET staged_to = %(line)s, rows_total = rows_total + %(rows)s, bad_total = bad_total + %(bad)s, updated_at = now()
WHERE seq = %(seq)s
RETURNING *
"""

_CLOSE_STAGING = """
UPDATE contact_imports SET state = 'merging', updated_at = now()
WHERE seq = %(seq)s AND state = 'staging' AND staged_to = %(last_line)s
"""

# an import that was broken off and never repeated would keep its staged rows for ever
_PURGE_ABANDONED = """
WITH abandoned AS (
    DELETE FROM contact_imports
    WHERE project_seq = %(project)s AND state <> 'finished' AND updated_at < now() - interval '7 days'
    RETURNING seq
), purged_rows AS (
    DELETE FROM contact_import_rows USING abandoned WHERE import_seq = abandoned.seq
)
DELETE FROM contact_import_faults USING abandoned WHERE import_seq = abandoned.seq
"""

_DISCARD = (
    "DELETE FROM contact_imports WHERE seq = %(seq)s",
    "DELETE FROM contact_import_rows WHERE import_seq = %(seq)s",
    "DELETE FROM contact_import_faults WHERE import_seq = %(seq)s",
)

_FORGET = """
DELETE FROM contact_imports WHERE seq IN (
    SELECT seq FROM contact_imports
    WHERE state = 'finished' AND finished_at < now() - %(after_seconds)s * interval '1 second'
    ORDER BY seq LIMIT %(limit)s FOR UPDATE SKIP LOCKED
)
RETURNING seq
"""

_LIST_FAULTS = """
SELECT line, reason FROM contact_import_faults
WHERE import_seq = %(seq)s AND line > %(after_line)s ORDER BY line LIMIT %(limit)s
"""

_COUNT_FAULTS = """
UPDATE contact_imports SET faults_kept = faults_kept + %(count)s, fault_bytes = fault_bytes + %(bytes)s
WHERE seq = %(seq)s
"""

MAX_FAULTS = 10_000
"""Kept of one import: more than people read. A bad row of 2 bytes makes one of 108."""
MAX_FAULT_BYTES = 1024**2
"""Of their reasons, which quote what is in the file."""

_ROW_COLUMNS = ("import_seq", "line", "user_id", "name", "email", "phone", "push_tokens", "topics")
_FAULT_COLUMNS = ("import_seq", "line", "reason")


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredImport(ImportProgress):
    seq: int
    fault_bytes: int


_COUNTERS = tuple(field.name for field in fields(StoredImport) if field.name not in {"state", "is_repeated"})


def _stored_import(*, state: str, passes: int, **columns: Any) -> StoredImport:
    is_finished = state == ImportState.FINISHED
    return StoredImport(
        state=ImportState(state),
        is_repeated=passes > int(is_finished),
        **{name: columns[name] for name in _COUNTERS},
    )


def import_cursor(connection: HotConnection) -> AsyncCursor[StoredImport]:
    """A cursor for statements that answer with a row of contact_imports."""
    return connection.cursor(row_factory=kwargs_row(_stored_import))


async def find_import(connection: HotConnection, project: ProjectSeq, import_id: str) -> StoredImport | None:
    return await (await import_cursor(connection).execute(_FIND, {"project": project, "id": import_id})).fetchone()


async def lock_import(connection: HotConnection, seq: int) -> StoredImport:
    """The import as it is now; nobody else moves it before this transaction ends.

    This lock and the cursors in the row are all that two processes with the same file need: whoever comes second
    sees how far the first one is and goes on from there.
    """
    progress = await (await import_cursor(connection).execute(_LOCK, {"seq": seq})).fetchone()
    if progress is None:
        raise TidingsError("The import was discarded while it ran; start it again.")
    return progress


async def open_import(
    connection: HotConnection, project: ProjectSeq, import_id: str, *, file_name: str
) -> StoredImport:
    """The unfinished import of this file, as far as it came; or a new pass when there is none."""
    await connection.execute(_PURGE_ABANDONED, {"project": project})
    await connection.execute(_OPEN, {"project": project, "id": import_id, "file_name": file_name})
    found = await find_import(connection, project, import_id)
    assert found is not None
    progress = await lock_import(connection, found.seq)
    if progress.state is not ImportState.FINISHED:
        return progress
    await connection.execute("DELETE FROM contact_import_faults WHERE import_seq = %(seq)s", {"seq": progress.seq})
    parameters = {"seq": progress.seq, "file_name": file_name}
    restarted = await (await import_cursor(connection).execute(_START_OVER, parameters)).fetchone()
    assert restarted is not None
    return restarted


async def stage_rows(
    connection: HotConnection, seq: int, rows: Sequence[Contact | Fault], *, after_line: int
) -> StoredImport:
    """Store the next rows of the file with their faults. Rows that are staged already are passed over.

    `after_line`: up to where its reader knew the file to be staged. When it no longer is, others have finished the
    import and begun again: nothing is stored, for the rows before these would be missing.
    """
    progress = await lock_import(connection, seq)
    if progress.staged_to < after_line:
        return progress
    fresh = [row for row in rows if row.line > progress.staged_to]
    if not fresh:
        return progress
    contacts = [row for row in fresh if isinstance(row, Contact)]
    faults = [row for row in fresh if isinstance(row, Fault)]
    await copy_rows(connection, "contact_import_rows", _ROW_COLUMNS, (_staged(seq, contact) for contact in contacts))
    await store_faults(connection, progress, faults)
    parameters = {"seq": seq, "line": fresh[-1].line, "rows": len(fresh), "bad": len(faults)}
    moved = await (await import_cursor(connection).execute(_MOVE_STAGED, parameters)).fetchone()
    assert moved is not None
    return moved


def _staged(seq: int, contact: Contact) -> tuple[object, ...]:
    return (
        seq,
        contact.line,
        contact.user_id,
        contact.name,
        contact.email,
        contact.phone,
        list(contact.push_tokens),
        list(contact.topics),
    )


async def store_faults(connection: HotConnection, progress: StoredImport, faults: Sequence[Fault]) -> None:
    """Keep the first faults of an import, up to MAX_FAULTS and MAX_FAULT_BYTES; the others are counted as bad only.

    `progress`: as it was read under the lock that this transaction holds.
    """
    kept: list[Fault] = []
    size = 0
    for fault in faults[: max(0, MAX_FAULTS - progress.faults_kept)]:
        fault_size = len(fault.reason.encode())
        if progress.fault_bytes + size + fault_size > MAX_FAULT_BYTES:
            break
        kept.append(fault)
        size += fault_size
    if kept:
        rows = ((progress.seq, fault.line, fault.reason) for fault in kept)
        await copy_rows(connection, "contact_import_faults", _FAULT_COLUMNS, rows)
        await connection.execute(_COUNT_FAULTS, {"seq": progress.seq, "count": len(kept), "bytes": size})


async def close_staging(connection: HotConnection, seq: int, *, last_line: int) -> StoredImport:
    """The file was read to its end, its last row at this line: they may be merged, unless others have begun again."""
    await connection.execute(_CLOSE_STAGING, {"seq": seq, "last_line": last_line})
    return await lock_import(connection, seq)


async def discard_import(connection: HotConnection, seq: int) -> None:
    """Forget an import whose file turned out to be unreadable."""
    for statement in _DISCARD:
        await connection.execute(statement, {"seq": seq})


async def forget_imports(connection: HotConnection, *, after_seconds: float, page: int) -> int:
    """Delete finished imports that ended that long ago, each with its faults; at most a page of them. How many.

    One that somebody repeats just now is locked, and passed over. Each has MAX_FAULTS faults at most.
    """
    cursor = await connection.execute(_FORGET, {"after_seconds": after_seconds, "limit": page})
    seqs = [seq for (seq,) in await cursor.fetchall()]
    await connection.execute("DELETE FROM contact_import_faults WHERE import_seq = ANY(%s)", [seqs])
    return len(seqs)


async def list_faults(connection: HotConnection, seq: int, *, after_line: int, limit: int) -> list[Fault]:
    """A page of the rows that were not merged, in the order of the file."""
    cursor = await connection.execute(_LIST_FAULTS, {"seq": seq, "after_line": after_line, "limit": limit})
    return [Fault(line, reason) for line, reason in await cursor.fetchall()]
