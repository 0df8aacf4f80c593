"""Buckets, files and their chunks."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, NamedTuple

from psycopg.rows import class_row
from sqlalchemy import delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from shared.db.models import Bucket, FileChunk, LooseObject, StoredFile
from shared.db.queries.lists import Page, Selection, select_page
from shared.db.session import HotConnection
from shared.errors import NotReachable
from shared.ids import ProjectSeq

CHUNK_BYTES = 5 * 1024 * 1024
"""The contract's: clients cut files by it."""

DELETED_AT_ONCE = 20
"""Files removed in one transaction: some gigabytes of a full bucket would take longer than a statement may."""

LONGEST_UPLOAD = timedelta(hours=1)
"""Of one chunk; an object that no chunk refers to after that is removed."""

LONGEST_TRANSACTION = timedelta(minutes=1)
"""Well beyond what timeouts allow: an object that becomes due while a chunk takes it over would be removed."""

_TOTAL_SIZE = (
    select(func.coalesce(func.sum(StoredFile.size), 0))
    .where(StoredFile.bucket_seq == Bucket.seq)
    .correlate(Bucket)
    .scalar_subquery()
)


async def create_bucket(session: AsyncSession, project_seq: ProjectSeq, **values: Any) -> Bucket | None:
    """None: the id is taken."""
    statement = insert(Bucket).values(project_seq=project_seq, **values).on_conflict_do_nothing().returning(Bucket)
    return await session.scalar(statement)


class SizedBucket(NamedTuple):
    bucket: Bucket
    total_size: int


async def find_bucket(session: AsyncSession, project_seq: ProjectSeq, bucket_id: str) -> Bucket | None:
    return await session.scalar(select(Bucket).where(Bucket.project_seq == project_seq, Bucket.id == bucket_id))


async def find_sized_bucket(session: AsyncSession, project_seq: ProjectSeq, bucket_id: str) -> SizedBucket | None:
    statement = select(Bucket, _TOTAL_SIZE).where(Bucket.project_seq == project_seq, Bucket.id == bucket_id)
    row = (await session.execute(statement)).one_or_none()
    return SizedBucket._make(row) if row else None


async def list_buckets(session: AsyncSession, project_seq: ProjectSeq, selection: Selection) -> Page:
    """Rows that fit SizedBucket."""
    statement = select(Bucket, _TOTAL_SIZE).where(Bucket.project_seq == project_seq)
    return await select_page(session, statement, selection, seq=Bucket.seq, public_id=Bucket.id)


async def update_bucket(session: AsyncSession, project_seq: ProjectSeq, bucket_id: str, **values: Any) -> bool:
    """False: there is none of this id."""
    seq = await session.scalar(
        update(Bucket)
        .where(Bucket.project_seq == project_seq, Bucket.id == bucket_id)
        .values(updated_at=func.now(), **values)
        .returning(Bucket.seq)
    )
    return seq is not None


async def delete_bucket(session: AsyncSession, bucket_seq: int) -> bool:
    """A page of its files, or the bucket when it is empty; whether it is gone. Repeat until it is.

    It is held meanwhile, so that no upload puts a file into it.
    """
    await session.execute(select(Bucket.seq).where(Bucket.seq == bucket_seq).with_for_update())
    first = select(StoredFile.seq).where(StoredFile.bucket_seq == bucket_seq).order_by(StoredFile.seq)
    if await _delete_files(session, (await session.scalars(first.limit(DELETED_AT_ONCE).with_for_update())).all()):
        return False
    await session.execute(delete(Bucket).where(Bucket.seq == bucket_seq))
    return True


async def delete_stale_uploads(session: AsyncSession, *, after_seconds: float) -> int:
    """A page of files that nobody went on uploading for so long; how many."""
    stale = (
        select(StoredFile.seq)
        .where(StoredFile.chunks_uploaded < StoredFile.chunks_total)
        .where(StoredFile.updated_at < func.now() - timedelta(seconds=after_seconds))
        .order_by(StoredFile.updated_at)
        .limit(DELETED_AT_ONCE)
        .with_for_update(skip_locked=True)
    )
    return await _delete_files(session, (await session.scalars(stale)).all())


async def _delete_files(session: AsyncSession, seqs: Sequence[int]) -> int:
    """The caller holds their rows. From the same commit on, their objects are the scheduler's to remove."""
    gone = delete(FileChunk).where(FileChunk.file_seq.in_(seqs)).returning(FileChunk.object_key).cte("gone")
    keys = select(gone.c.object_key, func.now()).where(gone.c.object_key.is_not(None))
    await session.execute(insert(LooseObject).from_select(["key", "due_at"], keys))
    await session.execute(delete(StoredFile).where(StoredFile.seq.in_(seqs)))
    return len(seqs)


async def find_file(session: AsyncSession, bucket_seq: int, file_id: str) -> StoredFile | None:
    return await session.scalar(
        select(StoredFile).where(StoredFile.bucket_seq == bucket_seq, StoredFile.id == file_id),
        execution_options={"populate_existing": True},
    )


async def list_files(
    session: AsyncSession, bucket_seq: int, selection: Selection, *, readable_by: Iterable[str] | None
) -> Page:
    """Rows of (StoredFile,). `readable_by`: roles, one of which a file must let read it; None: all files."""
    statement = select(StoredFile).where(StoredFile.bucket_seq == bucket_seq)
    if readable_by is not None:
        statement = statement.where(StoredFile.permissions.bool_op("&&")([f'read("{role}")' for role in readable_by]))
    return await select_page(session, statement, selection, seq=StoredFile.seq, public_id=StoredFile.id)


async def update_file(session: AsyncSession, seq: int, **values: Any) -> StoredFile:
    statement = update(StoredFile).where(StoredFile.seq == seq).values(updated_at=func.now(), **values)
    changed = await session.scalars(statement.returning(StoredFile), execution_options={"populate_existing": True})
    return changed.one()


async def delete_file(session: AsyncSession, seq: int) -> None:
    held = select(StoredFile.seq).where(StoredFile.seq == seq).with_for_update()
    await _delete_files(session, (await session.scalars(held)).all())


async def hold_file(session: AsyncSession, bucket: Bucket, **values: Any) -> StoredFile:
    """The file of this id, made if there is none, held until the transaction ends: chunks arrive side by side.

    Raises IntegrityError when the bucket is gone.
    """
    statement = insert(StoredFile).values(project_seq=bucket.project_seq, bucket_seq=bucket.seq, **values)
    held = statement.on_conflict_do_update(
        index_elements=[StoredFile.bucket_seq, StoredFile.id], set_={"updated_at": func.now()}
    )
    return (await session.scalars(held.returning(StoredFile), execution_options={"populate_existing": True})).one()


async def find_chunk_numbers(session: AsyncSession, file_seq: int) -> set[int]:
    """Of the chunks that are there."""
    return set(await session.scalars(select(FileChunk.number).where(FileChunk.file_seq == file_seq)))


@dataclass(frozen=True, slots=True)
class Piece:
    """A chunk's content where it is kept: beside its row or in an object. One of the two is None."""

    number: int
    content: bytes | None
    object_key: str | None


async def add_chunk(session: AsyncSession, file: StoredFile, piece: Piece) -> None:
    """Repeating a chunk changes nothing. The caller holds the file. Raises NotReachable for an object that is due."""
    statement = insert(FileChunk).values(
        file_seq=file.seq, number=piece.number, content=piece.content, object_key=piece.object_key
    )
    added = await session.scalar(statement.on_conflict_do_nothing().returning(FileChunk.number))
    if added is None or piece.object_key is None:
        return
    adopted = delete(LooseObject).where(
        LooseObject.key == piece.object_key, LooseObject.due_at > func.now() + LONGEST_TRANSACTION
    )
    if await session.scalar(adopted.returning(LooseObject.key)) is None:
        raise NotReachable("The file storage took so long that what it got was given up.")


async def count_chunks(session: AsyncSession, file: StoredFile) -> tuple[StoredFile, bool]:
    """The file, and whether all of it is there, so that complete_file() may follow. The caller holds the file.

    Until then the last chunk is not counted: nobody takes a file for complete whose content was not looked at.
    """
    present = await session.scalar(select(func.count()).where(FileChunk.file_seq == file.seq)) or 0
    uploaded = min(present, file.chunks_total - 1)
    return await update_file(session, file.seq, chunks_uploaded=uploaded), present == file.chunks_total


async def complete_file(session: AsyncSession, seq: int, *, signature: str, mime_type: str) -> StoredFile | None:
    """None: it was deleted meanwhile. Repeating it changes nothing: the content of a file never does."""
    statement = (
        update(StoredFile)
        .where(StoredFile.seq == seq)
        .values(
            chunks_uploaded=StoredFile.chunks_total, signature=signature, mime_type=mime_type, updated_at=func.now()
        )
    )
    return await session.scalar(statement.returning(StoredFile), execution_options={"populate_existing": True})


class FoundChunk(NamedTuple):
    """The bytes asked for, or the key of the object that holds all of the chunk."""

    content: bytes | None
    object_key: str | None


_FIND_CHUNK = "SELECT substr(content, %s, %s), object_key FROM file_chunks WHERE file_seq = %s AND number = %s"


async def find_chunk(
    connection: HotConnection, file_seq: int, number: int, *, first: int, length: int
) -> FoundChunk | None:
    """`length` bytes of it from `first` on. None: it is gone."""
    cursor = await connection.execute(_FIND_CHUNK, [first + 1, length, file_seq, number], binary=True)
    row = await cursor.fetchone()
    return FoundChunk._make(row) if row else None


# Objects that no chunk refers to


async def announce_object(connection: HotConnection, key: str) -> None:
    """Before it is written: whatever happens then, somebody knows of it."""
    await connection.execute("INSERT INTO loose_objects (key, due_at) VALUES (%s, now() + %s)", [key, LONGEST_UPLOAD])


async def find_loose_objects(connection: HotConnection, *, limit: int) -> list[str]:
    """Keys of those that are due."""
    cursor = await connection.execute(
        "SELECT key FROM loose_objects WHERE due_at <= now() ORDER BY due_at LIMIT %s", [limit]
    )
    return [key for (key,) in await cursor.fetchall()]


async def forget_loose_objects(connection: HotConnection, keys: Sequence[str]) -> None:
    """Once they are removed."""
    await connection.execute("DELETE FROM loose_objects WHERE key = ANY(%s)", [list(keys)])


@dataclass(frozen=True, slots=True)
class NamedFile:
    """What a message names as BUCKET and FILE, as far as it exists."""

    bucket_id: str
    file_id: str
    has_bucket: bool
    seq: int | None  # None: no such file, or not all of it is there yet
    name: str | None
    mime_type: str | None
    size: int | None
    chunks_total: int | None
    signature: str | None


_FIND_NAMED = """
SELECT named.bucket_id, named.file_id, buckets.seq IS NOT NULL AS has_bucket,
    files.seq, files.name, files.mime_type, files.size, files.chunks_total, files.signature
FROM unnest(%s::text[], %s::text[]) WITH ORDINALITY AS named (bucket_id, file_id, position)
LEFT JOIN buckets ON buckets.project_seq = %s AND buckets.id = named.bucket_id
LEFT JOIN files ON files.bucket_seq = buckets.seq AND files.id = named.file_id
    AND files.chunks_uploaded = files.chunks_total
ORDER BY named.position
"""


async def find_named_files(
    connection: HotConnection, project_seq: int, named: Sequence[tuple[str, str]]
) -> list[NamedFile]:
    """One for each (bucket id, file id), in their order."""
    async with connection.cursor(row_factory=class_row(NamedFile)) as cursor:
        await cursor.execute(_FIND_NAMED, [[bucket for bucket, _ in named], [file for _, file in named], project_seq])
        return await cursor.fetchall()
