"""A recorded mail taken apart for reading. Never fails: whatever was accepted can be shown."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from email.errors import MessageError
from email.header import decode_header, make_header
from email.message import Message
from email.parser import BytesParser
from typing import Any, TypeVar

from shared.simulator.contents import RECORDED_CHARACTERS

T = TypeVar("T")
U = TypeVar("U")


@dataclass(frozen=True, slots=True)
class Attachment:
    name: str
    content_type: str
    size: int  # bytes, decoded; less than it was where the record has cut the mail


@dataclass(frozen=True, slots=True)
class MailView:
    headers: tuple[tuple[str, str], ...]  # decoded, in their order
    text: str | None  # the first text/plain part
    html: str | None  # the first text/html part
    attachments: tuple[Attachment, ...]
    is_cut: bool  # longer than what is kept on record


def view_mail(line: Mapping[str, Any]) -> MailView:
    """`line` is the record's: with the mail as SMTP brought it, or with what an API was given to make one of."""
    return _view_raw(line) if "raw" in line else _view_parts(line)


def _view_parts(line: Mapping[str, Any]) -> MailView:
    text, html = line["text"], line["html"]
    return MailView(
        headers=tuple((name, value) for name, value in line["headers"]),
        text=text,
        html=html,
        attachments=tuple(Attachment(**attachment) for attachment in line["attachments"]),
        is_cut=RECORDED_CHARACTERS in (len(text or ""), len(html or "")),
    )


def _view_raw(line: Mapping[str, Any]) -> MailView:
    raw = line["raw"].encode(line["encoding"])
    mail, parts = _taken_apart(raw)
    inline = [part for part in parts if _filename_of(part) is None]
    return MailView(
        headers=tuple((name, decoded(str(value))) for name, value in mail.items()),
        text=next(_texts(inline, "text/plain"), None),
        html=next(_texts(inline, "text/html"), None),
        attachments=tuple(_attachment(part, name) for part in parts if (name := _filename_of(part)) is not None),
        is_cut=len(raw) < line["size"],
    )


def decoded(header: str) -> str:
    """RFC 2047's encoded words in clear; a header that is not what it claims to be stays as it came."""
    if "=?" not in header:
        return header
    return _said(lambda: str(make_header(decode_header(header))), otherwise=header)


def _taken_apart(raw: bytes) -> tuple[Message, list[Message]]:
    """The mail and its parts that hold no others; of parts in parts in parts, a thousand deep, its headers alone."""
    try:
        mail = BytesParser().parsebytes(raw)
        return mail, [part for part in mail.walk() if not part.is_multipart()]
    except RecursionError:
        return BytesParser().parsebytes(raw, headersonly=True), []


def _texts(parts: list[Message], content_type: str) -> Iterator[str]:
    for part in parts:
        if part.get_content_type() == content_type:
            yield _said(lambda: _text_of(part), otherwise=_bytes_of(part).decode("latin-1"))  # noqa: B023  # at once


def _text_of(part: Message) -> str:
    return _bytes_of(part).decode(part.get_content_charset("utf-8"), "replace")


def _filename_of(part: Message) -> str | None:
    return _said(lambda: part.get_filename(None), otherwise="")


def _attachment(part: Message, name: str) -> Attachment:
    return Attachment(decoded(name), part.get_content_type(), len(_bytes_of(part)))


def _bytes_of(part: Message) -> bytes:
    content: object = _said(lambda: part.get_payload(decode=True), otherwise=None)
    return content if isinstance(content, bytes) else b""


def _said(ask: Callable[[], T], *, otherwise: U) -> T | U:
    """What the email package makes of a header, or `otherwise`: it raises all of these over one that is odd enough."""
    try:
        return ask()
    except (MessageError, LookupError, TypeError, ValueError):
        return otherwise
