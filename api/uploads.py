"""One request of an upload: which part of which file it brings, and how it is stored (contract §16, Chunks)."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.datastructures import UploadFile

from api.kernel import Call
from api.parameters import check, fields_of, receive_form
from api.permissions import permissions_to_give
from api.principals import LoggedIn
from api.refusals import found
from api.schemas.storage import FileCreate
from shared.db.models import Bucket, StoredFile
from shared.db.queries import chunks, files
from shared.db.queries.chunks import CHUNK_BYTES
from shared.errors import RejectedRequest
from shared.files.contents import Judgement, judge
from shared.ids import PUBLIC_ID

_RANGE = re.compile(r"bytes (\d{1,15})-(\d{1,15})/(\d{1,15})")


@dataclass(frozen=True, slots=True)
class Part:
    """`number`: of the chunk, from 0. None: the whole file in one request, longer than a chunk or not."""

    file: UploadFile
    file_id: str
    name: str
    permissions: list[str]
    uploader: str  # who may send its further parts: the user's id; "" is a key or a guest
    size: int  # of the whole file
    number: int | None

    @property
    def chunks_total(self) -> int:
        return -(-self.size // CHUNK_BYTES)

    async def contents(self) -> AsyncIterator[bytes]:
        """Of its chunks."""
        while content := await self.file.read(CHUNK_BYTES):
            yield content


async def read_part(call: Call, bucket: Bucket) -> Part:
    """Raises RejectedRequest with the contract's reasons."""
    form = await receive_form(call)
    parameters = check(FileCreate, fields_of(form))
    file = form.get("file")
    if not isinstance(file, UploadFile) or not file.size:
        raise RejectedRequest("storage_file_empty", "The form has no part `file`, or it is empty.")
    number, size = _read_range(call.headers.get("content-range"), file.size)
    name = (file.filename or "file").replace("\0", "")[:255]
    extension = name.rpartition(".")[2].lower()
    if bucket.allowed_file_extensions and extension not in {e.lower() for e in bucket.allowed_file_extensions}:
        raise RejectedRequest("storage_file_type_unsupported", "The bucket does not take files of this extension.")
    if size > bucket.maximum_file_size:
        raise RejectedRequest("storage_invalid_file_size", f"The bucket takes {bucket.maximum_file_size} bytes a file.")
    permissions = permissions_to_give(call, parameters.permissions)
    uploader = call.user.id if isinstance(call.principal, LoggedIn) else ""
    return Part(file, _read_id(call, parameters), name, permissions, uploader, size, number)


def _read_id(call: Call, parameters: FileCreate) -> str:
    """Further chunks repeat the form, `unique()` included, so the header wins."""
    file_id = call.headers.get("x-appwrite-id")
    if file_id is None:
        return parameters.file_id
    if not PUBLIC_ID.fullmatch(file_id):
        raise RejectedRequest("storage_invalid_appwrite_id", "X-Appwrite-ID is not the id of a file.")
    return file_id


def _read_range(header: str | None, length: int) -> tuple[int | None, int]:
    """The chunk's number and the whole file's size. What came must be exactly that chunk."""
    if header is None:
        return None, length
    match = _RANGE.fullmatch(header)
    if match is None:
        raise RejectedRequest("storage_invalid_content_range", "Content-Range is not `bytes START-END/SIZE`.")
    start, end, size = map(int, match.groups())
    is_chunk = start % CHUNK_BYTES == 0 and start < size and length == min(CHUNK_BYTES, size - start)
    if not is_chunk or not start <= end <= size:
        raise RejectedRequest(
            "storage_invalid_content_range", f"The file must come in chunks of {CHUNK_BYTES} bytes, the last shorter."
        )
    return start // CHUNK_BYTES, size


async def store_part(call: Call, bucket: Bucket, part: Part) -> StoredFile:
    """Content first, then its rows: a crash in between leaves nothing that a client can see.

    Raises RejectedRequest, and NotReachable where the storage does not answer.
    """
    async with call.bounded(), call.services.sessions() as session:
        begun = await files.find_file(session, bucket.seq, part.file_id)
        present = await _check_continues(session, begun, part) if begun else set()
    if part.number is None:
        return await _store_whole(call, bucket, part)
    return await _store_chunk(call, bucket, part, is_new=part.number not in present)


async def _store_whole(call: Call, bucket: Bucket, part: Part) -> StoredFile:
    """All there is in one transaction."""
    judgement = await judge(part.contents(), part.name)
    await part.file.seek(0)
    pieces = await call.services.contents.keep(range(part.chunks_total), part.contents())
    async with _held(call, bucket, part) as (session, file):
        async for piece in pieces:
            async with call.bounded():
                await chunks.add_chunk(session, file, piece)
        async with call.bounded():
            return found(await _complete(session, file, judgement), "storage_file_not_found")


async def _store_chunk(call: Call, bucket: Bucket, part: Part, *, is_new: bool) -> StoredFile:
    """Whoever brings the last one reads all of them, with no transaction open, and completes the file.

    Where that fails the file stays as it is, and the chunk may be brought again.
    """
    contents = call.services.contents
    assert part.number is not None
    pieces = await contents.keep(range(part.number, part.number + is_new), part.contents())
    async with _held(call, bucket, part) as (session, held):
        async for piece in pieces:
            async with call.bounded():
                await chunks.add_chunk(session, held, piece)
        async with call.bounded():
            file, is_whole = await chunks.count_chunks(session, held)
    if not is_whole:
        return file
    judgement = await judge(contents.read_range(file.seq, 0, file.size - 1), file.name)
    async with call.bounded(), call.services.sessions.begin() as session:
        return found(await _complete(session, file, judgement), "storage_file_not_found")


async def _complete(session: AsyncSession, file: StoredFile, judgement: Judgement) -> StoredFile | None:
    return await files.complete_file(session, file.seq, signature=judgement.signature, mime_type=judgement.mime_type)


@asynccontextmanager
async def _held(call: Call, bucket: Bucket, part: Part) -> AsyncIterator[tuple[AsyncSession, StoredFile]]:
    """A transaction that holds the file, which is new or may go on. Bounded at its ends; what is between is not."""
    async with call.services.sessions() as session:
        async with call.bounded():
            try:
                file = await files.hold_file(
                    session,
                    bucket,
                    id=part.file_id,
                    name=part.name,
                    permissions=part.permissions,
                    size=part.size,
                    chunks_total=part.chunks_total,
                    uploader=part.uploader,
                )
            except IntegrityError as error:  # deleted since it was looked at
                raise RejectedRequest("storage_bucket_not_found", "There is no bucket of this id.") from error
            await _check_continues(session, file, part)
        yield session, file
        async with call.bounded():
            await session.commit()


async def _check_continues(session: AsyncSession, file: StoredFile, part: Part) -> set[int]:
    """Numbers of the chunks that are there. Raises RejectedRequest unless the part belongs to this very upload."""
    present = await chunks.find_chunk_numbers(session, file.seq)
    if file.chunks_uploaded == file.chunks_total or (present and part.number is None):
        raise RejectedRequest("storage_file_already_exists", "There is a file of this id already.")
    if file.uploader != part.uploader:
        raise RejectedRequest("user_unauthorized", "Somebody else uploads a file of this id.")
    if file.size != part.size:
        raise RejectedRequest("storage_invalid_content_range", f"The file was begun with {file.size} bytes.")
    return present
