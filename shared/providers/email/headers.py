"""Header lines of a mail: written so that no value can become a second header, and checked by reading them back."""

import base64
import re
from email.errors import HeaderParseError
from email.header import decode_header, make_header
from email.message import Message
from email.parser import Parser
from email.policy import compat32
from typing import Final

LINE_LIMIT: Final = 76
ENCODED_PIECE_BYTES: Final = 45  # 60 characters in base64; an encoded word may have 75 in all (RFC 2047 §2)

FORBIDDEN: Final = re.compile("[\r\n\x00]")
PRINTABLE: Final = re.compile(r"[ -~]*")
ATOMS: Final = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~ -]*")  # of a display name that needs no quotes


class HeaderRefused(Exception):  # named for what happened
    """A value that would change the mail's headers; its text names the field, never the value."""


def check_value(field: str, value: str) -> None:
    """Refuse CR, LF and NUL, as they are and inside encoded words.

    We write a value that looks like an encoded word as text, so no reader decodes it. But mail libraries did
    (CVE-2024-6923), and so may whatever forwards the mail.
    """
    if FORBIDDEN.search(value) or FORBIDDEN.search(_decoded(value)):
        raise HeaderRefused(f"the {field} contains a line break or NUL")


def unstructured(name: str, value: str) -> bytes:
    """A header of free text, folded at its spaces or in encoded words."""
    is_plain = PRINTABLE.fullmatch(value) and "=?" not in value and "  " not in value and value == value.strip()
    if is_plain:
        lines = _folded(f"{name}: {value}")
        if all(len(line) <= LINE_LIMIT for line in lines):
            return "\r\n".join(lines).encode() + b"\r\n"
    return f"{name}: {_encoded_words(value)}\r\n".encode()


def mailbox(name: str, display_name: str, address: str) -> bytes:
    """A header that holds one address; without a display name the bare address."""
    if not display_name:
        return f"{name}: {address}\r\n".encode()
    if not PRINTABLE.fullmatch(display_name) or "=?" in display_name or len(display_name) > LINE_LIMIT:
        phrase = _encoded_words(display_name)
    elif ATOMS.fullmatch(display_name):
        phrase = display_name
    else:
        phrase = '"' + re.sub(r'(["\\])', r"\\\1", display_name) + '"'
    return f"{name}: {phrase}\r\n <{address}>\r\n".encode()


def one_line(header: bytes) -> str:
    """A header's value, unfolded and in ASCII: for APIs that write the header themselves."""
    return header.decode().partition(": ")[2].replace("\r\n", "")


def check_written(written: bytes, expected: dict[str, str]) -> None:
    """Parse what was written: exactly the expected headers in their order, each with its expected text.

    `expected` has None-free text for free-text headers and the address for mailboxes.
    """
    parsed = Parser(_class=Message, policy=compat32).parsestr(written.decode() + "\r\n", headersonly=True)
    if parsed.keys() != list(expected) or parsed.defects:
        raise HeaderRefused("the mail's headers read back differently from what was written")
    for name, text in expected.items():
        value = re.sub(r"\r\n(?=[ \t])", "", parsed[name])  # unfolded
        if text not in value and text not in str(make_header(decode_header(value))):
            raise HeaderRefused(f"the header {name} reads back differently from what was written")


def _decoded(value: str) -> str:
    """What a reader that decodes encoded words makes of it; what cannot be decoded is nobody's text."""
    if "=?" not in value:
        return ""
    decoded = []
    for word in re.finditer(r"(=\?[^?*\s]+)(?:\*[^?\s]*)?(\?[BbQq]\?[^?]*\?=)", value):  # RFC 2231 §5: `utf-8*en`
        try:
            decoded.append(str(make_header(decode_header(word[1] + word[2]))))
        except (HeaderParseError, ValueError, LookupError):  # bad base64, unknown charset
            continue
    return "".join(decoded)


def _folded(line: str) -> list[str]:
    """Break at spaces; the space begins the next line and is all that unfolding leaves."""
    lines = [""]
    for number, word in enumerate(line.split(" ")):
        piece = word if number == 0 else f" {word}"
        if len(lines[-1]) + len(piece) > LINE_LIMIT and lines[-1].strip() and number > 1:
            lines.append(piece)
        else:
            lines[-1] += piece
    return lines


def _encoded_words(text: str) -> str:
    pieces = [""]
    for character in text:
        if len((pieces[-1] + character).encode()) > ENCODED_PIECE_BYTES:
            pieces.append("")
        pieces[-1] += character
    return "\r\n ".join(f"=?utf-8?B?{base64.b64encode(piece.encode()).decode()}?=" for piece in pieces)
