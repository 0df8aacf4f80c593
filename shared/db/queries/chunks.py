"""What files hold, in chunks: each beside its row or in an object."""

from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from shared.db.models import FileChunk, StoredFile
from shared.db.queries.files import update_file
from shared.db.queries.objects import adopt_object
from shared.db.session import HotConnection
from shared.errors import NotReachable

CHUNK_BYTES = 5 * 1024 * 1024
"""The contract's: clients cut files by it."""


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
    if not await adopt_object(session, piece.object_key):
        raise NotReachable("The file storage took so long that what it got was given up.")


async def count_chunks(session: AsyncSession, file: StoredFile) -> tuple[StoredFile, bool]:
    """The file, and whether all of it is there, so that complete_file() may follow. The caller holds the file.

    Until then the last chunk is not counted: nobody takes a file for complete whose content was not looked at.
    """
    present = await session.scalar(select(func.count()).where(FileChunk.file_seq == file.seq)) or 0
    counted = await update_file(session, file.seq, chunks_uploaded=min(present, file.chunks_total - 1))
    assert counted is not None
    return counted, present == file.chunks_total


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
