"""A file's bytes as an answer, whole or a range of them (contract §16)."""

import re
from collections.abc import AsyncIterator
from typing import Final
from urllib.parse import quote

from starlette.responses import StreamingResponse

from api.kernel import Call
from api.refusals import found
from shared.db.models import StoredFile
from shared.errors import RejectedRequest

FOREIGN_CONTENT: Final = (
    "default-src 'none'; img-src 'self' data:; media-src 'self'; style-src 'unsafe-inline'; form-action 'none'; sandbox"
)
"""What somebody uploaded is shown as a page of nobody: no script, no form, no redirect, and an origin of its own."""

_PLAIN_NAME = re.compile(r"[A-Za-z0-9 ._()+-]+")
_RANGE = re.compile(r"bytes=(\d{0,15})-(\d{0,15})")


async def send_file(call: Call, file: StoredFile, *, disposition: str) -> StreamingResponse:
    """`disposition`: inline or attachment. Raises NotReachable where the storage does not answer.

    It is asked before the answer begins; what happens after that breaks the connection off.
    """
    start, end, is_part = _wanted(call.headers.get("range"), file.size)
    headers = {
        "content-disposition": f"{disposition}; {_named(file.name)}",
        "content-length": str(end - start + 1),
        "accept-ranges": "bytes",
        "content-security-policy": FOREIGN_CONTENT,
    }
    if is_part:
        headers["content-range"] = f"bytes {start}-{end}/{file.size}"
    contents = call.services.contents.read_range(file.seq, start, end)
    first = found(await anext(contents, None), "storage_file_not_found")
    return StreamingResponse(_rest(call, first, contents), 206 if is_part else 200, headers, media_type=file.mime_type)


def _named(name: str) -> str:
    """Of a plain name both forms, since older clients know the first alone (RFC 6266 §5)."""
    extended = f"filename*=UTF-8''{quote(name, safe='')}"
    return f'filename="{name}"; {extended}' if _PLAIN_NAME.fullmatch(name) else extended


async def _rest(call: Call, first: bytes, contents: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    content: bytes | None = first
    while content is not None:
        yield content
        async with call.bounded():
            content = await anext(contents, None)


def _wanted(header: str | None, size: int) -> tuple[int, int, bool]:
    """First and last byte, and whether it is a part. Other units than bytes are passed over (RFC 9110 §14.2)."""
    if header is None or not header.startswith("bytes="):
        return 0, size - 1, False
    match = _RANGE.fullmatch(header)
    if match is None or not (match[1] or match[2]):
        raise _unsatisfiable(size)
    if not match[1]:
        start, end = max(0, size - int(match[2])), size - 1
    else:
        start, end = int(match[1]), min(size - 1, int(match[2] or size - 1))
    if start > end:
        raise _unsatisfiable(size)
    return start, end, True


def _unsatisfiable(size: int) -> RejectedRequest:
    return RejectedRequest("storage_invalid_range", f"The file has {size} bytes; the range is not among them.")
