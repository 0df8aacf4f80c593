"""A request to Amazon SES v2: what is wrong with it, and whom it sends what; its templates' engine."""

import base64
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from shared.simulator.mail_view import decoded
from shared.simulator.mailer import Copy, bare_address, delivery_in, is_address, shown_headers

MOST_ENTRIES = 50
MOST_RECIPIENTS = 50
LARGEST_MAIL_BYTES = 40 * 1024**2
LARGEST_DATA_CHARACTERS = 262_144
BODIES = ("Text", "Html")
ROLES = ("ToAddresses", "CcAddresses", "BccAddresses")

_TAG = re.compile(r"[A-Za-z0-9_.@-]{1,256}")
_EXPRESSION = re.compile(r"\\?\{\{\{?(.*?)\}?\}\}", re.DOTALL)
_NAME = re.compile(r"\s*([A-Za-z_]\w*)\s*", re.ASCII)


class BadRequest(Exception):
    """Its text is SES's message."""


@dataclass(frozen=True, slots=True)
class _Letter:
    document: Mapping[str, Any]  # for its sender
    subject: str
    bodies: Mapping[str, str]
    files: Sequence[Mapping[str, Any]]


def single_copies(document: Any) -> list[Copy]:
    """Of SendEmail. Raises BadRequest."""
    content = _object(document, "Content")
    if "Simple" in content:
        simple = _object(content, "Simple")
        subject, named = _text(simple, "Subject"), _object(simple, "Body")
        bodies = {name: _text(named, name) for name in BODIES if name in named}
        files = simple.get("Attachments")
    else:
        template = _object(content, "Template")
        subject, bodies = _rendered(template, {})
        files = template.get("Attachments")
    if not bodies:
        raise BadRequest("A mail has a text or an HTML body.")
    tags = _tags(document.get("EmailTags"))
    letter = _Letter(document, subject, bodies, _files(files))
    return list(_copies(letter, document.get("Destination"), tags))


def bulk_copies(document: Any) -> list[list[Copy] | str]:
    """Of SendBulkEmail, for each entry; a text: what is wrong with that entry. Raises BadRequest."""
    template = _object(document, "DefaultContent", "Template")
    entries = document.get("BulkEmailEntries")
    if not isinstance(entries, list) or not 1 <= len(entries) <= MOST_ENTRIES:
        raise BadRequest("There are 1 to 50 entries.")
    letter = _Letter(document, *_rendered(template, {}), _files(template.get("Attachments")))
    return [_entry_copies(letter, template, entry) for entry in entries]


def _entry_copies(letter: _Letter, template: Mapping[str, Any], entry: Any) -> list[Copy] | str:
    try:
        own = entry.get("ReplacementEmailContent", {}).get("ReplacementTemplate", {}).get("ReplacementTemplateData")
        if own:
            subject, bodies = _rendered(template, _data(own))
            letter = replace(letter, subject=subject, bodies=bodies)
        tags = {**_tags(letter.document.get("DefaultEmailTags")), **_tags(entry.get("ReplacementTags"))}
        return list(_copies(letter, entry.get("Destination"), tags))
    except BadRequest as refusal:
        return str(refusal)
    except AttributeError:
        return "An entry is an object of objects."


def _copies(letter: _Letter, destination: Any, tags: Mapping[str, str]) -> Iterator[Copy]:
    """Everybody sees those under To and Cc."""
    named = {role: _addresses(destination, role) for role in ROLES}
    recipients = [bare_address(one) for role in ROLES for one in named[role]]
    if not 1 <= len(recipients) <= MOST_RECIPIENTS:
        raise BadRequest("A mail has 1 to 50 recipients.")
    for recipient in recipients:
        if not is_address(recipient):
            raise BadRequest(f"Illegal address: {recipient}")
    sender = _shown(letter.document.get("FromEmailAddress"))
    headers = shown_headers(
        sender,
        letter.subject,
        to=named["ToAddresses"],
        cc=named["CcAddresses"],
        reply_to=[_shown(one) for one in _addresses(letter.document, "ReplyToAddresses")],
    )
    for recipient in recipients:
        yield Copy(
            recipient=recipient,
            sender=bare_address(sender),
            subject=letter.subject,
            text=letter.bodies.get("Text"),
            html=letter.bodies.get("Html"),
            headers=headers,
            attachments=tuple(letter.files),
            delivery=delivery_in(tags),
        )


def _shown(mailbox: object) -> str:
    """SES takes ASCII, with encoded words."""
    if not isinstance(mailbox, str) or not mailbox.isascii() or not is_address(bare_address(mailbox)):
        raise BadRequest("Illegal address of the sender or for replies.")
    return _decoded(mailbox)


@lru_cache(maxsize=64)  # the entries of a call share theirs
def _decoded(mailbox: str) -> str:
    return decoded(mailbox)


def _addresses(destination: Any, role: str) -> list[str]:
    people = destination.get(role) or [] if isinstance(destination, dict) else []
    if not isinstance(people, list) or not all(isinstance(one, str) for one in people):
        raise BadRequest(f"{role} is a list of addresses.")
    return people


def _tags(tags: Any) -> dict[str, str]:
    if not isinstance(tags or [], list):
        raise BadRequest("Tags are a list.")
    pairs = [(tag.get("Name"), tag.get("Value")) if isinstance(tag, dict) else ("", "") for tag in tags or ()]
    if not all(isinstance(text, str) and _TAG.fullmatch(text) for pair in pairs for text in pair):
        raise BadRequest("Invalid tag.")
    return {str(name): str(value) for name, value in pairs}


def _files(files: Any) -> list[dict[str, Any]]:
    """Raises BadRequest; what they take in base64 counts."""
    if not isinstance(files or [], list):
        raise BadRequest("Attachments are a list.")
    try:
        if sum(len(file["RawContent"]) for file in files or ()) > LARGEST_MAIL_BYTES:
            raise BadRequest("The message is larger than 40 MB.")
        return [
            {
                "name": file["FileName"],
                "content_type": file.get("ContentType", "application/octet-stream"),
                "size": len(base64.b64decode(file["RawContent"], validate=True)),
            }
            for file in files or ()
        ]
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise BadRequest("An attachment has FileName and RawContent.") from error


# templates


def _rendered(template: Mapping[str, Any], own: Mapping[str, Any]) -> tuple[str, dict[str, str]]:
    """Subject, and bodies by their names."""
    content = _object(template, "TemplateContent")
    known = {**_data(template.get("TemplateData")), **own}
    texts = {name: _filled(content[name], known) for name in ("Subject", *BODIES) if content.get(name)}
    return texts.pop("Subject", ""), texts


def _data(data: object) -> dict[str, Any]:
    if data is None:
        return {}
    try:
        if not isinstance(data, str) or len(data) > LARGEST_DATA_CHARACTERS:
            raise BadRequest("Template data are JSON text of at most 262144 characters.")
        read = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise BadRequest("Template data are not JSON.") from error
    return read if isinstance(read, dict) else {}


def _filled(text: object, known: Mapping[str, Any]) -> str:
    """Inline templates know substitution only."""
    if not isinstance(text, str):
        raise BadRequest("A part of the template is no text.")

    def fill(found: re.Match[str]) -> str:
        name = _NAME.fullmatch(found[1])
        if found[0].startswith(("\\", "{{{")) or found[0].endswith("}}}") or name is None:
            raise BadRequest("Template contains unsupported operations.")
        return str(known.get(name[1], ""))

    return _EXPRESSION.sub(fill, text)


def _text(document: Mapping[str, Any], *path: str) -> str:
    data = _object(document, *path).get("Data")
    if not isinstance(data, str):
        raise BadRequest(f"{path[-1]} has no Data.")
    return data


def _object(document: Any, *path: str) -> dict[str, Any]:
    for name in path:
        document = document.get(name) if isinstance(document, dict) else None
    if not isinstance(document, dict):
        raise BadRequest(f"{'.'.join(path) or 'The body'} is no object.")
    return document
