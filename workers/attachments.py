"""Attachments of mails: loaded once per message and process, kept within a cap."""

from collections.abc import Mapping
from typing import Any, Final

from shared.db.queries.files import find_named_files, read_whole
from shared.db.session import HotConnection
from shared.providers.contract import ContentFile

LIMIT_BYTES: Final = 25 * 1024 * 1024
"""Of one message, as the contract has it (§13)."""

KEPT_BYTES: Final = 64 * 1024 * 1024


class AttachmentsRefused(Exception):  # named for what happened
    """The message cannot be sent with the files it names; its text says which and why."""


class Attachments:
    """Files by their internal key: content never changes, and an id that is used again is another file."""

    def __init__(self) -> None:
        self._kept: dict[int, ContentFile] = {}  # key: file_seq; least recently used first

    async def load(
        self, connection: HotConnection, project_seq: int, data: Mapping[str, Any]
    ) -> tuple[ContentFile, ...]:
        """Raises AttachmentsRefused."""
        pairs = [(named["bucketId"], named["fileId"]) for named in data.get("attachments") or ()]
        if not pairs:
            return ()
        named = await find_named_files(connection, project_seq, pairs)
        if sum(file.size or 0 for file in named) > LIMIT_BYTES:
            raise AttachmentsRefused("the attachments are larger than 25 MB together")
        loaded = []
        for file in named:
            content = await self._get(connection, file.seq, file.name or "", file.mime_type or "")
            if content is None:
                raise AttachmentsRefused(f"the attachment {file.bucket_id}:{file.file_id} is gone")
            loaded.append(content)
        return tuple(loaded)

    async def _get(self, connection: HotConnection, seq: int | None, name: str, mime_type: str) -> ContentFile | None:
        if seq is None:
            return None
        kept = self._kept.pop(seq, None)
        if kept is None or kept.name != name:  # renamed meanwhile
            content = await read_whole(connection, seq)
            kept = ContentFile(name, mime_type, content) if content is not None else None
        if kept is not None:
            self._kept[seq] = kept
            self._make_room()
        return kept

    def _make_room(self) -> None:
        total = sum(len(file.content) for file in self._kept.values())
        for seq in list(self._kept):
            if total <= KEPT_BYTES:
                return
            total -= len(self._kept.pop(seq).content)
