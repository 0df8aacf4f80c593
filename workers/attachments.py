"""Attachments of mails: read once for all messages of a process that name them, kept within a cap."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final, NamedTuple

from sqlalchemy.ext.asyncio import AsyncEngine

from shared.db.queries.files import NamedFile, find_named_files
from shared.db.session import hot_statements
from shared.files.contents import FileContents
from shared.providers.contract import ContentFile

LIMIT_BYTES: Final = 25 * 1024 * 1024
"""Of one message, as the contract has it (§13)."""

KEPT_BYTES: Final = 64 * 1024 * 1024

ROOM_BYTES: Final = 128 * 1024 * 1024
"""What batches that are being sent may hold together: a claim may bring hundreds of messages, each with its files."""


class AttachmentsRefused(Exception):  # named for what happened
    """The message cannot be sent with the files it names; its text says which and why."""


class _Key(NamedTuple):
    """The hash is one that somebody could forge, so it stands for a content within one project only."""

    project_seq: int
    signature: str
    size: int


class Attachments:
    """Contents by their hash: a file that was uploaded many times is held once."""

    def __init__(
        self,
        engine: AsyncEngine,
        contents: FileContents,
        *,
        kept_bytes: int = KEPT_BYTES,
        room_bytes: int = ROOM_BYTES,
    ) -> None:
        self._engine = engine
        self._contents = contents
        self._most_bytes = kept_bytes
        self._kept: dict[_Key, bytes] = {}  # least recently used first
        self._kept_bytes = 0
        self._reading: dict[_Key, asyncio.Task[bytes | None]] = {}
        self._room_bytes = room_bytes
        self._has_more_room = asyncio.Event()

    @asynccontextmanager
    async def held(self, project_seq: int, data: Mapping[str, Any]) -> AsyncIterator[tuple[ContentFile, ...]]:
        """What a message names, once there is room for it. Raises AttachmentsRefused, and NotReachable where the
        storage does not answer.
        """
        named = await self._find(project_seq, data)
        size = sum(file.size or 0 for file in named)
        if size > LIMIT_BYTES:
            raise AttachmentsRefused("the attachments are larger than 25 MB together")
        await self._take_room(size)
        try:
            yield tuple([await self._load(project_seq, file) for file in named])
        finally:
            self._give_room_back(size)

    async def _take_room(self, size: int) -> None:
        while size > self._room_bytes:
            self._has_more_room.clear()
            await self._has_more_room.wait()
        self._room_bytes -= size

    def _give_room_back(self, size: int) -> None:
        self._room_bytes += size
        self._has_more_room.set()

    async def _find(self, project_seq: int, data: Mapping[str, Any]) -> list[NamedFile]:
        pairs = [(named["bucketId"], named["fileId"]) for named in data.get("attachments") or ()]
        async with hot_statements(self._engine) as connection:
            return await find_named_files(connection, project_seq, pairs)

    async def _load(self, project_seq: int, file: NamedFile) -> ContentFile:
        content = await self._get(project_seq, file)
        if content is None:
            raise AttachmentsRefused(f"the attachment {file.bucket_id}:{file.file_id} is gone")
        return ContentFile(file.name or "", file.mime_type or "", content)

    async def _get(self, project_seq: int, file: NamedFile) -> bytes | None:
        """Read once, however many batches ask for it at the same time."""
        if file.seq is None:
            return None
        key = _Key(project_seq, file.signature or "", file.size or 0)
        if key in self._kept:
            content = self._kept[key] = self._kept.pop(key)  # the newest now
            return content
        if key not in self._reading:
            self._reading[key] = asyncio.create_task(self._read(key, file.seq, file.chunks_total or 0))
            self._reading[key].add_done_callback(lambda reading: self._forget(key, reading))
        return await asyncio.shield(self._reading[key])

    def _forget(self, key: _Key, reading: "asyncio.Task[bytes | None]") -> None:
        del self._reading[key]
        if not reading.cancelled():
            reading.exception()  # seen, even where nobody waits for it any more

    async def _read(self, key: _Key, file_seq: int, chunks_total: int) -> bytes | None:
        content = await self._contents.read_whole(file_seq, chunks_total)
        if content is not None:
            self._kept[key] = content
            self._kept_bytes += len(content)
        while self._kept_bytes > self._most_bytes:
            self._kept_bytes -= len(self._kept.pop(next(iter(self._kept))))
        return content
