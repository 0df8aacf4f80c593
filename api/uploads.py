"""One request of an upload: which part of which file it brings (contract §16, Chunks)."""

import re
from dataclasses import dataclass

from starlette.datastructures import UploadFile

from api.kernel import Call
from api.parameters import check, fields_of, receive_form
from api.schemas.storage import FileCreate
from shared.db.models import Bucket
from shared.db.queries.files import CHUNK_BYTES
from shared.errors import RejectedRequest
from shared.ids import PUBLIC_ID

_RANGE = re.compile(r"bytes (\d{1,15})-(\d{1,15})/(\d{1,15})")


@dataclass(frozen=True, slots=True)
class Part:
    """`number`: of the chunk, from 0. None: the whole file in one request, longer than a chunk or not."""

    parameters: FileCreate
    file: UploadFile
    file_id: str
    name: str
    size: int  # of the whole file
    number: int | None

    @property
    def chunks_total(self) -> int:
        return -(-self.size // CHUNK_BYTES)


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
    return Part(parameters, file, _read_id(call, parameters), name, size, number)


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
