"""Buckets and files; what files hold is in chunks.py."""

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
from shared.ids import ProjectSeq

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


async def update_file(session: AsyncSession, seq: int, **values: Any) -> StoredFile | None:
    """None: it was deleted meanwhile."""
    statement = update(StoredFile).where(StoredFile.seq == seq).values(updated_at=func.now(), **values)
    return await session.scalar(statement.returning(StoredFile), execution_options={"populate_existing": True})


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


async def complete_file(session: AsyncSession, seq: int, *, signature: str, mime_type: str) -> StoredFile | None:
    """None: it was deleted meanwhile. Repeating it changes nothing: the content of a file never does."""
    return await update_file(
        session, seq, chunks_uploaded=StoredFile.chunks_total, signature=signature, mime_type=mime_type
    )


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
