"""Buckets, files and their chunks."""

from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from hashlib import md5
from typing import Any, NamedTuple

from psycopg.rows import class_row
from sqlalchemy import delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from shared.db.models import Bucket, FileChunk, StoredFile
from shared.db.queries.lists import Page, Selection, select_page
from shared.db.session import HotConnection, hot_transaction
from shared.domain.file_types import READ_BYTES, mime_type_of
from shared.ids import ProjectSeq

CHUNK_BYTES = 5 * 1024 * 1024
"""The contract's: clients cut files by it."""

DELETED_AT_ONCE = 20
"""Files removed in one transaction: some gigabytes of a full bucket would take longer than a statement may."""

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


async def delete_files_of(session: AsyncSession, bucket_seq: int) -> int:
    """A page of them; how many. Repeat until there is none, then delete_bucket()."""
    first = select(StoredFile.seq).where(StoredFile.bucket_seq == bucket_seq).limit(DELETED_AT_ONCE)
    gone = await session.scalars(delete(StoredFile).where(StoredFile.seq.in_(first)).returning(StoredFile.seq))
    return len(gone.all())


async def delete_bucket(session: AsyncSession, bucket_seq: int) -> None:
    await session.execute(delete(Bucket).where(Bucket.seq == bucket_seq))


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
    await session.execute(delete(StoredFile).where(StoredFile.seq == seq))


async def hold_file(session: AsyncSession, bucket: Bucket, **values: Any) -> StoredFile:
    """The file of this id, made if there is none, held until the transaction ends: chunks arrive side by side."""
    statement = insert(StoredFile).values(project_seq=bucket.project_seq, bucket_seq=bucket.seq, **values)
    await session.execute(statement.on_conflict_do_nothing())
    held = select(StoredFile).where(StoredFile.bucket_seq == bucket.seq, StoredFile.id == values["id"])
    return (await session.scalars(held.with_for_update(), execution_options={"populate_existing": True})).one()


async def add_chunk(session: AsyncSession, file: StoredFile, number: int, content: bytes) -> StoredFile:
    """Repeating a chunk changes nothing. The last one completes the file. The caller holds the file."""
    statement = insert(FileChunk).values(file_seq=file.seq, number=number, content=content)
    added = await session.scalar(statement.on_conflict_do_nothing().returning(FileChunk.number))
    if added is None:
        return file
    uploaded = file.chunks_uploaded + 1
    completing = await _judge_content(session, file) if uploaded == file.chunks_total else {}
    return await update_file(session, file.seq, chunks_uploaded=uploaded, **completing)


async def _judge_content(session: AsyncSession, file: StoredFile) -> dict[str, str]:
    digest, head = md5(usedforsecurity=False), b""
    for number in range(file.chunks_total):
        wanted = select(FileChunk.content).where(FileChunk.file_seq == file.seq, FileChunk.number == number)
        content = (await session.scalars(wanted)).one()
        digest.update(content)
        head = head or content[:READ_BYTES]
    return {"signature": digest.hexdigest(), "mime_type": mime_type_of(head, file.name)}


_READ = "SELECT substr(content, %s, %s) FROM file_chunks WHERE file_seq = %s AND number = %s"


async def read_range(engine: AsyncEngine, file_seq: int, start: int, end: int) -> AsyncIterator[bytes]:
    """Bytes `start` to `end`, the latter included, a chunk at a time and each in a transaction of its own.

    A file that is deleted meanwhile ends early.
    """
    for number in range(start // CHUNK_BYTES, end // CHUNK_BYTES + 1):
        first = max(0, start - number * CHUNK_BYTES)
        length = min(CHUNK_BYTES, end + 1 - number * CHUNK_BYTES) - first
        async with hot_transaction(engine) as connection:
            cursor = await connection.execute(_READ, [first + 1, length, file_seq, number], binary=True)
            row = await cursor.fetchone()
        if row is None:
            return
        yield bytes(row[0])


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


_FIND_NAMED = """
SELECT named.bucket_id, named.file_id, buckets.seq IS NOT NULL AS has_bucket,
    files.seq, files.name, files.mime_type, files.size
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


async def read_whole(connection: HotConnection, file_seq: int) -> bytes | None:
    """All of a small file. None: it is gone."""
    cursor = await connection.execute(
        "SELECT content FROM file_chunks WHERE file_seq = %s ORDER BY number", [file_seq], binary=True
    )
    chunks = [bytes(content) for (content,) in await cursor.fetchall()]
    return b"".join(chunks) if chunks else None
