"""A letter as Amazon SES v2 takes it: `Simple` for one recipient, an inline template for several; hashed once."""

import re
from collections.abc import Sequence
from hashlib import sha256
from typing import Any, Final

from shared.providers.contract import ContentFile, SendRequest
from shared.providers.email.headers import mailbox, one_line
from shared.providers.email.http_mail import DELIVERY, address_of, encoded, encoded_file
from shared.providers.email.letter import Letter

ROLES: Final = {"to": "ToAddresses", "cc": "CcAddresses", "bcc": "BccAddresses"}

BRACES: Final = re.compile(r"[{}\\]{2,}")
"""Runs of characters of which some mean something to the template engine, with all that they could combine with."""

VARIABLES: Final = {"{": "open", "}": "close", "\\": "back"}
TEMPLATE_DATA: Final = encoded({name: character for character, name in VARIABLES.items()}).decode()


class SesRequest:
    """A request up to its recipients. Files are held once for both kinds, and are hashed once."""

    def __init__(self, path: str, head: bytes, files: bytes) -> None:
        self.path = path
        self._head = head
        self._files = files
        self._hash = sha256(head)
        self._hash.update(files)

    @property
    def size_bytes(self) -> int:
        return len(self._head) + len(self._files)

    def body(self, tail: bytes) -> tuple[bytes, str]:
        """And its SHA-256."""
        whole = self._hash.copy()
        whole.update(tail)
        return b"".join((self._head, self._files, tail)), whole.hexdigest()


class SesMail:
    def __init__(self, letter: Letter) -> None:
        files = b",".join(_attachment(file) for file in letter.files)
        files = b',"Attachments":[' + files + b"]" if files else b""
        shared = {
            "FromEmailAddress": one_line(mailbox("From", letter.from_name, letter.sender.text)),
            "ReplyToAddresses": [one_line(mailbox("Reply-To", letter.reply_name, letter.reply_to.text))],
        }
        simple = {**shared, "Content": {"Simple": _simple(letter)}}
        template = {"TemplateContent": _template(letter), "TemplateData": TEMPLATE_DATA}
        bulk = {**shared, "DefaultContent": {"Template": template}}
        self.single = SesRequest("/v2/email/outbound-emails", _opened(simple), files)
        self.bulk = SesRequest("/v2/email/outbound-bulk-emails", _opened(bulk), files)


def single_tail(request: SendRequest) -> bytes:
    fields = {"Destination": _destination(request), "EmailTags": _tags(request)}
    return b"}}," + encoded(fields)[1:]


def bulk_tail(requests: Sequence[SendRequest]) -> bytes:
    entries = [{"Destination": _destination(request), "ReplacementTags": _tags(request)} for request in requests]
    return b"}}," + encoded({"BulkEmailEntries": entries})[1:]


def as_template(text: str) -> str:
    """Text that the engine gives back as it was: variables stand for what it would read as an expression.

    Inline templates know substitution only ("Template contains unsupported operations"), and braces are the same
    escaped or not. No run that is left touches one that was replaced.
    """
    return BRACES.sub(lambda run: _replaced(run[0]) if "{{" in run[0] else run[0], text)


def _replaced(run: str) -> str:
    return "".join(f"{{{{{VARIABLES[character]}}}}}" for character in run)


def _opened(document: dict[str, Any]) -> bytes:
    """Without its last braces, so that more fields fit into its innermost object."""
    return encoded(document).removesuffix(b"}}}")


def _simple(letter: Letter) -> dict[str, Any]:
    texts = _texts(letter)
    body = {name: {"Data": text, "Charset": "UTF-8"} for name, text in texts.items()}
    return {"Subject": {"Data": letter.subject, "Charset": "UTF-8"}, "Body": body}


def _template(letter: Letter) -> dict[str, str]:
    texts = {"Subject": letter.subject, **_texts(letter)}
    return {name: as_template(text) for name, text in texts.items()}


def _texts(letter: Letter) -> dict[str, str]:
    text = letter.text()
    texts = {"Text": text} if text.strip() or not letter.is_html else {}
    return {**texts, "Html": letter.content} if letter.is_html else texts


def _destination(request: SendRequest) -> dict[str, list[str]]:
    """SES writes To or Cc as it says here, and nothing of who is under Bcc."""
    return {ROLES[request.role]: [address_of(request)]}


def _tags(request: SendRequest) -> list[dict[str, str]]:
    return [{"Name": DELIVERY, "Value": request.delivery_id}]


def _attachment(file: ContentFile) -> bytes:
    fields = {
        "FileName": file.name,
        "ContentType": file.mime_type,
        "ContentDisposition": "ATTACHMENT",
        "ContentTransferEncoding": "BASE64",
    }
    return encoded_file(file, "RawContent", fields)
