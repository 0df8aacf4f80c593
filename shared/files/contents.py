"""What files hold, written and read wherever it is kept; the rows are the callers'."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from hashlib import md5

from sqlalchemy.ext.asyncio import AsyncEngine

from shared.db.queries.chunks import CHUNK_BYTES, FoundChunk, Piece, find_chunk
from shared.db.queries.objects import announce_object
from shared.db.session import hot_statements
from shared.domain.file_types import READ_BYTES, mime_type_of
from shared.errors import NotReachable
from shared.files.objects import ObjectStore, new_object_key


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a file's whole content tells."""

    signature: str  # MD5 in hex
    mime_type: str


async def judge(contents: AsyncIterator[bytes], name: str) -> Judgement:
    """`contents`: all of them, in order; the first has READ_BYTES unless the file is shorter."""
    digest, head = md5(usedforsecurity=False), b""
    async for content in contents:
        digest.update(content)
        head = head or content[:READ_BYTES]
    return Judgement(digest.hexdigest(), mime_type_of(head, name))


class FileContents:
    """New chunks go where the settings say. Each is read from where it was put, whatever they say by then."""

    def __init__(self, engine: AsyncEngine, objects: ObjectStore | None) -> None:
        """`objects`: None keeps chunks beside their rows."""
        self._engine = engine
        self._objects = objects

    async def keep(self, numbers: range, contents: AsyncIterator[bytes]) -> AsyncIterator[Piece]:
        """Where each chunk is from now on, for add_chunk(). Raises NotReachable.

        Objects are written before this returns. For Postgres one chunk after the other is read as the caller takes
        it, so that a transaction writes any number of them in the memory of one.
        """
        if self._objects is None:
            return _beside_rows(numbers, contents)
        return _all([await self._put(self._objects, number, await anext(contents)) for number in numbers])

    async def _put(self, objects: ObjectStore, number: int, content: bytes) -> Piece:
        key = new_object_key()
        async with hot_statements(self._engine) as connection:
            await announce_object(connection, key)
        await objects.put(key, content)
        return Piece(number, None, key)

    async def read_range(self, file_seq: int, start: int, end: int) -> AsyncIterator[bytes]:
        """Bytes `start` to `end`, the latter included, a chunk at a time and each in a transaction of its own.

        A file that is deleted meanwhile ends early. Raises NotReachable.
        """
        for number in range(start // CHUNK_BYTES, end // CHUNK_BYTES + 1):
            first = max(0, start - number * CHUNK_BYTES)
            length = min(CHUNK_BYTES, end + 1 - number * CHUNK_BYTES) - first
            content = await self._read(file_seq, number, first, length)
            if content is None:
                return
            yield content

    async def read_whole(self, file_seq: int, chunks_total: int) -> bytes | None:
        """All of a small file. None: it is gone. Raises NotReachable."""
        contents = [await self._read(file_seq, number, 0, CHUNK_BYTES) for number in range(chunks_total)]
        present = [content for content in contents if content is not None]
        return b"".join(present) if len(present) == chunks_total else None

    async def _read(self, file_seq: int, number: int, first: int, length: int) -> bytes | None:
        chunk = await self._find(file_seq, number, first, length)
        if chunk is None:
            return None
        if chunk.object_key is None:
            return chunk.content
        if self._objects is None:
            raise NotReachable("The file lies in object storage, but TIDINGS_FILES_URL is not set.")
        content = await self._objects.read(chunk.object_key, first, length)
        if content is None and await self._find(file_seq, number, 0, 0) is not None:
            # its row says that it is there: the wrong bucket, or one that somebody emptied
            raise NotReachable("The file storage has lost the content of a file.")
        return content

    async def _find(self, file_seq: int, number: int, first: int, length: int) -> FoundChunk | None:
        async with hot_statements(self._engine) as connection:
            return await find_chunk(connection, file_seq, number, first=first, length=length)


async def _beside_rows(numbers: range, contents: AsyncIterator[bytes]) -> AsyncIterator[Piece]:
    for number in numbers:
        yield Piece(number, await anext(contents), None)


async def _all(pieces: list[Piece]) -> AsyncIterator[Piece]:
    for piece in pieces:
        yield piece
