"""The body of a mail: plain text, or HTML with a text version beside it, in bytes that every server carries."""

import base64
import binascii
import re
from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Final
from urllib.parse import quote

from shared.providers.contract import ContentFile
from shared.providers.email.plain_text import text_of_html

LINE_LIMIT_BYTES: Final = 998  # RFC 5321 §4.5.3.1.6, without CRLF

NAME_PIECE: Final = 60  # characters of a file's name on one line


PIECE_BYTES: Final = 57 * 4096  # of a file, a whole number of lines of base64: encoded in less than a millisecond


def render_body(text: str, *, is_html: bool) -> bytes:
    """Content headers, an empty line and the body, all lines ending in CRLF; leading dots are not doubled yet."""
    if not is_html:
        return _part("plain", text)
    return b"".join(_together("alternative", [_part("plain", text_of_html(text)), _part("html", text)]))


def with_attachments(body: bytes, files: Sequence[ContentFile]) -> list[bytes]:
    """A body as render_body() made it, and files below it, in pieces; no line of theirs begins with a dot."""
    if not files:
        return [body]
    return _together("mixed", [body, *map(_attachment, files)])


def _together(subtype: str, parts: Sequence[bytes]) -> list[bytes]:
    seen = sha256()
    for part in parts:
        seen.update(part)
    boundary = "=_" + seen.hexdigest()[:32]  # no encoding yields "=_", no text its own hash
    delimiter = f"--{boundary}\r\n".encode()
    pieces = [f'Content-Type: multipart/{subtype}; boundary="{boundary}"\r\n\r\n'.encode()]
    for part in parts:
        pieces += (delimiter, part)
    return [*pieces, f"--{boundary}--\r\n".encode()]


def encoded_pieces(content: bytes, encode: Callable[[bytes], bytes]) -> list[bytes]:
    """A file in base64, by either of its encoders: other threads have their turn between the pieces."""
    return [encode(content[start : start + PIECE_BYTES]) for start in range(0, len(content), PIECE_BYTES)]


def _attachment(file: ContentFile) -> bytes:
    """The name is percent-encoded (RFC 2231), so that none can end its header."""
    head = (
        f"Content-Type: {file.mime_type}\r\n"
        f"Content-Disposition: attachment;\r\n {_file_name(file.name)}\r\n"
        "Content-Transfer-Encoding: base64\r\n\r\n"
    )
    return b"".join([head.encode(), *encoded_pieces(file.content, _base64_lines)])


def _base64_lines(content: bytes) -> bytes:
    return base64.encodebytes(content).replace(b"\n", b"\r\n")


def _file_name(name: str) -> str:
    """The parameter, over several lines where it is long (RFC 2231 §3)."""
    pieces = [""]
    for character in name:
        encoded = quote(character, safe="")
        if len(pieces[-1]) + len(encoded) > NAME_PIECE:
            pieces.append("")
        pieces[-1] += encoded
    if len(pieces) == 1:
        return f"filename*=utf-8''{pieces[0]}"
    pieces[0] = f"utf-8''{pieces[0]}"
    return ";\r\n ".join(f"filename*{number}*={piece}" for number, piece in enumerate(pieces))


def _part(subtype: str, text: str) -> bytes:
    """In the shortest of three encodings; what is ASCII in short lines stays as it is."""
    raw = re.sub(r"\r\n|\r|\n", "\r\n", text).encode()
    if not raw.endswith(b"\r\n"):
        raw += b"\r\n"
    charset, encoding, body = "us-ascii", "7bit", raw
    if not _is_seven_bit(raw):
        charset = "utf-8"
        encoding, body = _encoded(raw)
    head = f"Content-Type: text/{subtype}; charset={charset}\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n"
    return head.encode() + body


def _is_seven_bit(raw: bytes) -> bool:
    return raw.isascii() and b"\x00" not in raw and max(map(len, raw.split(b"\r\n"))) <= LINE_LIMIT_BYTES


def _encoded(raw: bytes) -> tuple[str, bytes]:
    quoted = binascii.b2a_qp(raw, istext=True)
    encoded = _base64_lines(raw)
    return ("quoted-printable", quoted) if len(quoted) <= len(encoded) else ("base64", encoded)
