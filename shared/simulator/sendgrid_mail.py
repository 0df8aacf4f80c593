"""A request to SendGrid's Mail Send v3: what is wrong with it, and whom it sends what."""

import base64
import json
from collections.abc import Iterator, Mapping
from typing import Any

from shared.simulator.mailer import Copy, delivery_in, is_address, shown_headers

MOST_RECIPIENTS = 1_000
LARGEST_ARGUMENTS_BYTES = 10_000
ROLES = ("to", "cc", "bcc")
RESERVED_HEADERS = frozenset(
    {"x-sg-id", "x-sg-eid", "received", "dkim-signature", "content-type", "content-transfer-encoding"}
    | {"to", "from", "subject", "reply-to", "cc", "bcc"}
)

Error = tuple[str | None, str]
"""The field, and what is wrong with it."""


def copies_of(document: Mapping[str, Any]) -> Iterator[Copy]:
    """Of a request without errors."""
    attachments = tuple(
        {
            "name": file["filename"],
            "content_type": file.get("type", "application/octet-stream"),
            "size": len(base64.b64decode(file["content"])),
        }
        for file in document.get("attachments", ())
    )
    for entry in document["personalizations"]:
        yield from _copies_of_entry(document, entry, attachments)


def _copies_of_entry(
    document: Mapping[str, Any], entry: Mapping[str, Any], attachments: tuple[Mapping[str, Any], ...]
) -> Iterator[Copy]:
    """Everybody of a personalization sees those under to and cc."""
    bodies = {part["type"]: part["value"] for part in document["content"]}
    subject = entry.get("subject") or document["subject"]
    sender, named = document["from"]["email"], {role: _addresses(entry, role) for role in ROLES}
    headers = shown_headers(
        _shown(document["from"]),
        subject,
        to=named["to"],
        cc=named["cc"],
        reply_to=_shown(document.get("reply_to") or {}),
    )
    arguments = {**(document.get("custom_args") or {}), **(entry.get("custom_args") or {})}
    for recipient in (*named["to"], *named["cc"], *named["bcc"]):
        text, html = bodies.get("text/plain"), bodies.get("text/html")
        yield Copy(recipient, sender, subject, text, html, headers, attachments, delivery_in(arguments))


def naming(document: Mapping[str, Any], addresses: set[str]) -> Iterator[Error]:
    for number, entry in enumerate(document["personalizations"]):
        for role in ROLES:
            for place, address in enumerate(_addresses(entry, role)):
                if address in addresses:
                    yield f"personalizations.{number}.{role}.{place}.email", "Does not contain a valid address."


# what is wrong with a request


def errors_of(document: Any) -> Iterator[Error]:
    if not isinstance(document, dict):
        yield None, "The body is no JSON object."
        return
    if not is_address(get(document, "from", "email")):
        yield "from.email", "The from address is not valid."
    if not isinstance(document.get("subject"), str) or not document["subject"]:
        yield "subject", "A subject is needed."
    yield from _errors_of_content(document.get("content"))
    yield from _errors_of_attachments(document.get("attachments", []))
    if document.get("reply_to") and not is_address(get(document, "reply_to", "email")):
        yield "reply_to.email", "The address for replies is not valid."
    for field in ("headers", "custom_args"):
        if not isinstance(document.get(field) or {}, dict):
            yield field, "It is an object."
        elif field == "headers":
            yield from _errors_of_headers(document.get(field) or {})
    yield from _errors_of_people(document.get("personalizations"))


def _errors_of_headers(headers: Mapping[str, Any]) -> Iterator[Error]:
    for name in headers:
        if name.lower() in RESERVED_HEADERS:
            yield f"headers.{name}", "This header is reserved."


def _errors_of_content(content: Any) -> Iterator[Error]:
    if not isinstance(content, list) or not content:
        yield "content", "At least one content is needed."
        return
    for number, part in enumerate(content):
        if not _is_filled(get(part, "value")):
            yield f"content.{number}.value", "The value must have at least one character."
    if [get(part, "type") for part in content] not in (["text/plain"], ["text/html"], ["text/plain", "text/html"]):
        yield "content", "text/plain comes first, then text/html."


def _errors_of_attachments(attachments: Any) -> Iterator[Error]:
    if not isinstance(attachments, list):
        yield "attachments", "Attachments are a list."
        return
    for number, file in enumerate(attachments):
        try:
            base64.b64decode(get(file, "content"), validate=True)
        except (TypeError, ValueError):
            yield f"attachments.{number}.content", "The content is not in base64."
        if not _is_filled(get(file, "filename")):
            yield f"attachments.{number}.filename", "A file needs a name."


def _errors_of_people(people: Any) -> Iterator[Error]:
    if not isinstance(people, list) or not people:
        yield "personalizations", "At least one personalization is needed."
        return
    if len(people) > MOST_RECIPIENTS:
        yield "personalizations", f"There may be 1000 personalizations; these are {len(people)}."
        return
    everybody = [address for entry in people for role in ROLES for address in _addresses(entry, role)]
    if len(everybody) > MOST_RECIPIENTS:
        yield "personalizations", "There may be 1000 recipients, those under cc and bcc included."
    if len({str(address).lower() for address in everybody}) < len(everybody):
        yield "personalizations", "Each address may be included once."
    for number, entry in enumerate(people):
        yield from _errors_of_entry(f"personalizations.{number}", entry)


def _errors_of_entry(place: str, entry: Any) -> Iterator[Error]:
    if not _addresses(entry, "to"):
        yield f"{place}.to", "Somebody has to be under to."
    for role in ROLES:
        for number, address in enumerate(_addresses(entry, role)):
            if not is_address(address):
                yield f"{place}.{role}.{number}.email", "Does not contain a valid address."
    arguments = get(entry, "custom_args") or {}
    if not isinstance(arguments, dict) or len(json.dumps(arguments)) > LARGEST_ARGUMENTS_BYTES:
        yield f"{place}.custom_args", "The arguments are an object of at most 10000 bytes."
    if not isinstance(get(entry, "subject") or "", str):
        yield f"{place}.subject", "A subject is text."


def _addresses(entry: Any, role: str) -> list[Any]:
    people = get(entry, role)
    return [get(person, "email") for person in people] if isinstance(people, list) else []


def get(document: Any, *path: str) -> Any:
    for name in path:
        document = document.get(name) if isinstance(document, dict) else None
    return document


def _is_filled(text: object) -> bool:
    return isinstance(text, str) and bool(text)


def _shown(person: Mapping[str, str]) -> str:
    return f"{person['name']} <{person['email']}>" if person.get("name") else person.get("email", "")
