"""A mail in a request to Resend: what is wrong with it, and who gets it."""

import base64
import mimetypes
import re
from collections.abc import Iterator, Mapping
from typing import Any

from shared.simulator.mailer import Copy, bare_address, delivery_in, is_address, shown_headers

MOST_RECIPIENTS = 50
LARGEST_MAIL_BYTES = 40 * 1024**2  # with attachments in base64
ROLES = ("to", "cc", "bcc")
BODIES = ("text", "html")

_TAG = re.compile(r"[A-Za-z0-9_-]{1,256}")


def problem_of(mail: Any) -> str | None:
    """The first thing that is wrong, as Resend names fields."""
    if not isinstance(mail, dict):
        return "A mail is an object."
    if not isinstance(mail.get("from"), str) or not is_address(bare_address(mail["from"])):
        return "Invalid `from` field. An address, or `Name <address>`."
    if not 1 <= len(_listed(mail, "to")) <= MOST_RECIPIENTS:
        return "Missing `to` field. There are 1 to 50 addresses."
    for role in (*ROLES, "reply_to"):
        if not all(isinstance(one, str) and is_address(bare_address(one)) for one in _listed(mail, role)):
            return f"Invalid `{role}` field. Addresses, or `Name <address>`."
    return _problem_of_content(mail)


def _problem_of_content(mail: Mapping[str, Any]) -> str | None:
    if not isinstance(mail.get("subject"), str):
        return "Missing `subject` field."
    if not any(mail.get(name) for name in BODIES) or not all(
        isinstance(mail.get(name, ""), str | None) for name in BODIES
    ):
        return "Missing `html` or `text` field."
    tags, files = _listed(mail, "tags"), _listed(mail, "attachments")
    if not all(isinstance(tag, dict) and _is_tag(tag.get("name")) and _is_tag(tag.get("value")) for tag in tags):
        return "Tags are made of ASCII letters, digits, underscores and dashes."
    if not all(isinstance(file, dict) and _is_file(file) for file in files):
        return "An attachment has a name, and its content in base64."
    if sum(len(file["content"]) for file in files) > LARGEST_MAIL_BYTES:
        return "The mail is larger than 40 MB."
    return None


def is_lost(mail: Mapping[str, Any]) -> bool:
    """The name of a file says another type than its `content_type`: the mail never arrives, and nobody is told."""
    for file in mail.get("attachments") or ():
        guessed, _ = mimetypes.guess_type(file["filename"])
        if guessed and file.get("content_type") and guessed != file["content_type"]:
            return True
    return False


def recipients_of(mail: Mapping[str, Any]) -> list[str]:
    return [bare_address(one) for role in ROLES for one in _listed(mail, role)]


def copies_of(mail: Mapping[str, Any]) -> Iterator[Copy]:
    """Of a mail without problems: everybody sees those under to and cc."""
    headers = shown_headers(
        mail["from"],
        mail["subject"],
        to=_listed(mail, "to"),
        cc=_listed(mail, "cc"),
        reply_to=_listed(mail, "reply_to"),
    )
    attachments = tuple(
        {
            "name": file["filename"],
            "content_type": _type_of(file),
            "size": len(base64.b64decode(file["content"])),
        }
        for file in mail.get("attachments") or ()
    )
    tags = {tag["name"]: tag["value"] for tag in mail.get("tags") or ()}
    sender, text, html = bare_address(mail["from"]), mail.get("text"), mail.get("html")
    for recipient in recipients_of(mail):
        yield Copy(recipient, sender, mail["subject"], text, html, headers, attachments, delivery_in(tags))


def _type_of(file: Mapping[str, Any]) -> str:
    return file.get("content_type") or mimetypes.guess_type(file["filename"])[0] or "application/octet-stream"


def _listed(mail: Mapping[str, Any], name: str) -> list[Any]:
    """One address may stand for a list of one."""
    value = mail.get(name) or []
    return value if isinstance(value, list) else [value]


def _is_tag(text: object) -> bool:
    return isinstance(text, str) and _TAG.fullmatch(text) is not None


def _is_file(file: Mapping[str, Any]) -> bool:
    try:
        has_content = bool(base64.b64decode(file.get("content") or "", validate=True))
    except (TypeError, ValueError):
        return False
    return has_content and isinstance(file.get("filename"), str) and bool(file["filename"])
