"""Attachments of mails: read once for all messages of a process that name them, kept within a cap."""

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
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

ROOM_OF_ONE: Final = 4
"""One account holds at most this part of the room: while its server is silent, others still find some."""

ROOM_OF_PROJECT: Final = 0.75
"""And one project at most this part, however many of its accounts have silent servers."""


class AttachmentsRefused(Exception):  # named for what happened
    """The message cannot be sent with the files it names; its text says which and why."""


class _Key(NamedTuple):
    """The hash is one that somebody could forge, so it stands for a content within one project only."""

    project_seq: int
    signature: str
    size: int


class Holder(NamedTuple):
    """An account, and whose it is."""

    project_seq: int
    provider_seq: int


@dataclass(slots=True)
class _Waiter:
    account: Holder
    size: int
    granted: asyncio.Future[None]


class Room:
    """Bytes that may be held, by account; who waits is served in order, passing over those who hold their part."""

    def __init__(self, total_bytes: int) -> None:
        self._free = total_bytes
        self._most_of_one = total_bytes // ROOM_OF_ONE
        self._most_of_project = int(total_bytes * ROOM_OF_PROJECT)
        self._held = Counter[int]()  # key: provider_seq; none is zero, here and there
        self._held_of_projects = Counter[int]()  # key: project_seq
        self._waiters: deque[_Waiter] = deque()

    @asynccontextmanager
    async def hold(self, account: Holder, size: int) -> AsyncIterator[None]:
        if self._waiters or not self._fits(account, size):
            waiter = _Waiter(account, size, asyncio.get_running_loop().create_future())
            self._waiters.append(waiter)
            self._grant()
            try:
                await waiter.granted
            except asyncio.CancelledError:
                if not waiter.granted.cancelled():
                    self._give_back(account, size)
                raise
        else:
            self._take(account, size)
        try:
            yield
        finally:
            self._give_back(account, size)

    def _fits(self, account: Holder, size: int) -> bool:
        return size <= self._free and self._is_within_part(account, size)

    def _is_within_part(self, account: Holder, size: int) -> bool:
        """The first one always is, whatever its size."""
        held, of_project = self._held[account.provider_seq], self._held_of_projects[account.project_seq]
        is_within_own = not held or held + size <= self._most_of_one
        return is_within_own and (not of_project or of_project + size <= self._most_of_project)

    def _take(self, account: Holder, size: int) -> None:
        self._free -= size
        self._held[account.provider_seq] += size
        self._held_of_projects[account.project_seq] += size

    def _give_back(self, account: Holder, size: int) -> None:
        self._take(account, -size)
        if not self._held[account.provider_seq]:
            del self._held[account.provider_seq]
        if not self._held_of_projects[account.project_seq]:
            del self._held_of_projects[account.project_seq]
        self._grant()

    def _grant(self) -> None:
        """One that only waits for room in all is waited for: else small ones would pass it for ever."""
        passed_over: deque[_Waiter] = deque()
        while self._waiters:
            waiter = self._waiters.popleft()
            if waiter.granted.done():
                continue
            if self._fits(waiter.account, waiter.size):
                self._take(waiter.account, waiter.size)
                waiter.granted.set_result(None)
                continue
            passed_over.append(waiter)
            if self._is_within_part(waiter.account, waiter.size):
                break
        self._waiters.extendleft(reversed(passed_over))


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
        self._room = Room(room_bytes)

    @asynccontextmanager
    async def held(
        self, project_seq: int, provider_seq: int, data: Mapping[str, Any]
    ) -> AsyncIterator[tuple[ContentFile, ...]]:
        """What a message names, once there is room for it. Raises AttachmentsRefused, and NotReachable where the
        storage does not answer.
        """
        named = await self._find(project_seq, data)
        size = sum(file.size or 0 for file in named)
        if size > LIMIT_BYTES:
            raise AttachmentsRefused("the attachments are larger than 25 MB together")
        async with self._room.hold(Holder(project_seq, provider_seq), size):
            yield tuple([await self._load(project_seq, file) for file in named])

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
