"""Header blocks of HTTP/2 without a dynamic table (RFC 7541): each stands for itself.

Ours name every field in full; the server is told that we keep no table, so its blocks refer to no earlier one, and of
a success nothing but the status need be read. Numbers in hexadecimal are of RFC 7541's sections 6 and appendix A.
"""

from collections.abc import Mapping
from typing import Final

from hpack import Decoder, HPACKError

from shared.providers.transport import Request

NO_TABLE: Final = b"\x20"
"""A dynamic table of no size: owed to a server that allows less than the 4,096 bytes of the start (§4.2)."""

METHODS: Final = {"GET": b"\x82", "POST": b"\x83"}
SCHEME_HTTPS: Final = b"\x87"
AUTHORITY, METHOD, PATH = b"\x01", b"\x02", b"\x04"
CONTENT_LENGTH: Final = b"\x0f\x0d"
USER_AGENT_TIDINGS: Final = b"\x0f\x2b\x07tidings"

STATUSES: Final = {0x88: 200, 0x89: 204, 0x8A: 206, 0x8B: 304, 0x8C: 400, 0x8D: 404, 0x8E: 500}


class MalformedBlock(Exception):  # it states what happened, as our errors do
    """Not a header block, or one that refers to a table that we do not keep."""


def _text(text: str) -> bytes:
    octets = text.encode("latin-1")
    length = len(octets)
    if length < 0x7F:
        return bytes((length,)) + octets
    prefix, length = bytearray((0x7F,)), length - 0x7F
    while length >= 0x80:
        prefix.append(length & 0x7F | 0x80)
        length >>= 7
    prefix.append(length)
    return bytes(prefix) + octets


def _field(line: str) -> bytes:
    name, _, value = line.partition(":")
    return b"\x00" + _text(name.lower()) + _text(value.strip())


class BlockWriter:
    """Writes requests' header blocks; what equals the request before is not written again."""

    __slots__ = ("_authority", "_fields", "_headers", "_lengths", "_method", "_path", "_start")

    def __init__(self, authority: str) -> None:
        self._authority = AUTHORITY + _text(authority)
        self._method = ""
        self._path: str | None = None
        self._start = b""
        self._headers: tuple[str, ...] = ()
        self._fields = USER_AGENT_TIDINGS
        self._lengths: dict[int, bytes] = {}  # bodies of one message are of few lengths

    def write(self, request: Request) -> bytes:
        path, headers, body, method, _, own = request
        if path is not self._path or method is not self._method:
            self._path, self._method = path, method
            self._start = b"".join((self._method_of(method), SCHEME_HTTPS, self._authority, PATH, _text(path)))
        if headers is not self._headers:
            self._headers = headers
            self._fields = b"".join((USER_AGENT_TIDINGS, *map(_field, headers)))
        length = self._lengths.get(len(body))
        if length is None:
            if len(self._lengths) > 10_000:
                self._lengths.clear()
            length = self._lengths[len(body)] = CONTENT_LENGTH + _text(str(len(body)))
        if own:
            return b"".join((self._start, self._fields, length, *map(_field, own)))
        return b"".join((self._start, self._fields, length))

    @staticmethod
    def _method_of(method: str) -> bytes:
        return METHODS.get(method) or METHOD + _text(method)


def read_status(block: bytes) -> int | None:
    """Of a block that begins with one of the seven statuses that HPACK has a number for; None: see read_fields()."""
    start = 1 if block.startswith(NO_TABLE) else 0
    return STATUSES.get(block[start]) if len(block) > start else None


def read_fields(block: bytes) -> tuple[int, Mapping[str, str]]:
    """The status and the other fields; of repeated ones the last. Raises MalformedBlock."""
    decoder = Decoder()
    decoder.header_table_size = decoder.max_allowed_table_size = 0
    try:
        fields = {name.decode("latin-1"): value.decode("latin-1") for name, value in decoder.decode(block, raw=True)}
        return int(fields.get(":status", "")), fields
    except (HPACKError, ValueError) as error:
        raise MalformedBlock(str(error)) from error
