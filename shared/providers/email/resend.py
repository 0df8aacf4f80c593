"""Resend: up to a hundred mails a call, each with its own answer; with attachments one call each."""

from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import PurePath
from typing import Any, ClassVar, Final

from shared.domain.outcome import Accepted, Outcome, Unknown
from shared.providers.contract import ContentFile, SendRequest
from shared.providers.email.http_mail import (
    DELIVERY,
    MEBIBYTE,
    HttpMailAdapter,
    Line,
    address_of,
    document_of,
    encoded,
    encoded_file,
    find_meaning,
    words_of,
)
from shared.providers.email.letter import Letter
from shared.providers.email.named_address import named_address
from shared.providers.http_adapter import Call, Sunk, slices
from shared.providers.meanings import DEAD, FAULT, REFUSED, THROTTLED, UNKNOWN
from shared.providers.transport import Reply, Request

# What Resend says -> what it means; the words are looked for in an error's name and message. Source: resend.com/docs
# api-reference/errors, and its OpenAPI description of August 2026, read 2026-11.
MEANINGS: Final = (
    Line(400, r"`from`", FAULT),
    Line(400, "", REFUSED),  # validation_error, invalid_idempotency_key
    Line(401, "", FAULT),  # missing_api_key, restricted_api_key
    Line(
        403, "", FAULT
    ),  # invalid_api_key, validation_error: "The … domain is not verified", "testing emails"; code 1010
    Line(409, "concurrent", UNKNOWN),  # concurrent_idempotent_requests: the same call is on its way already
    Line(409, "", REFUSED),  # invalid_idempotent_request: another body under the same key
    Line(413, "", REFUSED),
    Line(422, r"`from`", FAULT),  # "Invalid `from` field."
    Line(422, "", REFUSED),  # missing_required_field, invalid_parameter, invalid_attachment, validation_error
    Line(
        429, "quota", FAULT
    ),  # daily_quota_exceeded, monthly_quota_exceeded: not before the next day, or the next plan
    Line(429, "", THROTTLED),  # rate_limit_exceeded
    Line(451, "", FAULT),  # security_error
    Line(500, "", UNKNOWN),  # application_error, internal_server_error
    Line(503, "", THROTTLED),
)

BAD_ADDRESS: Final = "`to`"
"""What a validation error about an address says: "Invalid `to` field. The email address needs to follow …"."""

SINGLE: Final = "/emails"
BATCH: Final = "/emails/batch"


BATCH_BYTES: Final = 4 * MEBIBYTE
"""Of one call: a hundred mails of the longest content would take fifty, each time, and be refused."""


class ResendMail:
    def __init__(self, shared: bytes, path: str) -> None:
        """`shared`: the object of a mail up to its recipient."""
        self.shared = shared
        self.path = path
        self._hash = sha256(shared)  # once: files may have tens of megabytes, and each has a call of its own

    def body(self, tails: Sequence[bytes]) -> tuple[bytes, str]:
        """For these recipients, and a name that no other call has."""
        name = self._hash.copy()
        for tail in tails:
            name.update(tail)
        mails = b",".join(self.shared + tail for tail in tails)
        return mails if self.path == SINGLE else b"[" + mails + b"]", name.hexdigest()


class ResendAdapter(HttpMailAdapter[ResendMail]):
    """A call is named by its content. Resend answers the same again within 24 hours as it answered the first.

    So a lost answer is asked for again at once. Later the same recipients would stand in other calls, which are new
    mails to Resend: what is in doubt then stays so until a receipt comes.
    """

    kind: ClassVar[str] = "resend"
    name: ClassVar[str] = "Resend"
    largest_call: ClassVar[int] = 100
    largest_batch: ClassVar[int] = 100
    batch_size: ClassVar[int] = 100
    in_flight_limit: ClassVar[int] = 400
    recognises_repeats: ClassVar[bool] = True
    largest_request_bytes: ClassVar[int] = 40 * MEBIBYTE  # "40MB … after Base64 encoding"

    def address(self) -> str:
        return "https://api.resend.com"

    def write(self, letter: Letter) -> ResendMail:
        fields: dict[str, Any] = {
            "from": named_address(letter.from_name, letter.sender.text),
            "reply_to": [named_address(letter.reply_name, letter.reply_to.text)],
            "subject": letter.subject,
            "text": letter.text(),
        }
        if letter.is_html:
            fields["html"] = letter.content
        shared = encoded(fields)[:-1]
        if letter.files:
            shared += b',"attachments":[' + b",".join(_attachment(file) for file in letter.files) + b"]"
        self.check_size(len(shared))
        return ResendMail(shared, SINGLE if letter.files else BATCH)

    def cut(self, rendered: ResendMail, requests: Sequence[SendRequest], indexes: Sequence[int]) -> list[Call]:
        if rendered.path == SINGLE:  # a batch drops attachments without a word
            return [(index,) for index in indexes]
        most = max(1, BATCH_BYTES // len(rendered.shared))
        return [part for call in super().cut(rendered, requests, indexes) for part in slices(call, most)]

    def call(self, rendered: ResendMail, requests: Sequence[SendRequest]) -> Request:
        """A mail needs somebody under `to`, so cc and bcc look like it."""
        body, name = rendered.body([_recipient(request) for request in requests])
        headers = (
            f"authorization: Bearer {self.account.credentials['apiKey']}",
            "content-type: application/json",
            "x-batch-validation: permissive",  # a bad address costs its own mail, not the call
            f"idempotency-key: {name}",
        )
        return Request(rendered.path, headers, body)

    def read(self, requests: Sequence[SendRequest], reply: Reply) -> Sequence[Outcome] | Outcome | Sunk:
        document = document_of(reply)
        if reply.status in {200, 201}:
            return self._read_success(len(requests), reply, document)
        text = f"{document.get('name') or ''}: {document.get('message') or ''}" if document else ""
        reason = words_of(self.name, reply, text)
        if reply.status in {400, 422} and BAD_ADDRESS in text:
            return Sunk(DEAD.of(reason))
        return find_meaning(MEANINGS, reply.status, text).of(reason, reply.retry_after_seconds)

    def _read_success(self, count: int, reply: Reply, document: Mapping[str, Any]) -> Sequence[Outcome] | Outcome:
        """`data` holds the mails that were made, in their order; `errors` names the others by their place."""
        made: Any = document.get("data", [document])
        errors: Any = document.get("errors") or []
        try:
            unmade = {error["index"]: self._outcome_of(str(error["message"])) for error in errors}
            accepted = iter([Accepted(str(mail["id"])) for mail in made])
            read = [unmade.pop(place) if place in unmade else next(accepted) for place in range(count)]
        except (KeyError, TypeError, StopIteration):
            return Unknown(words_of(self.name, reply, "something else than the ids of the mails"))
        if unmade or next(accepted, None) is not None:
            return Unknown(words_of(self.name, reply, "about more mails than were asked for"))
        return read

    def _outcome_of(self, message: str) -> Outcome:
        """Of one mail in a batch."""
        meaning = DEAD if BAD_ADDRESS in message else find_meaning(MEANINGS, 422, message)
        return meaning.of(f"Resend made no mail of it: {message}"[:300])


def _recipient(request: SendRequest) -> bytes:
    fields = {"to": [address_of(request)], "tags": [{"name": DELIVERY, "value": request.delivery_id}]}
    return b"," + encoded(fields)[1:]


def _attachment(file: ContentFile) -> bytes:
    """A name with an ending tells the type; where the two differ Resend loses the mail without a word."""
    fields = {"filename": file.name}
    if not PurePath(file.name).suffix:
        fields["content_type"] = file.mime_type
    return encoded_file(file, "content", fields)
