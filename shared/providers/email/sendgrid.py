"""SendGrid, Mail Send v3: up to a thousand personalizations a call, a mail of its own for each."""

import re
import time
from collections.abc import Sequence
from typing import Any, ClassVar, Final

from shared.domain.outcome import Accepted, Outcome, Retry, Unknown
from shared.providers.contract import Account, ContentFile, SendRequest
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
from shared.providers.http_adapter import Sunk
from shared.providers.meanings import DEAD, FAULT, REFUSED, THROTTLED, UNKNOWN, Meaning
from shared.providers.transport import Reply, Request, Transport

WANTED: Final = ("x-message-id", "x-ratelimit-reset")
LONGEST_WAIT_SECONDS: Final = 3600.0

# What SendGrid says -> what it means; the words are looked for in an error's field and message. Sources:
# twilio.com/docs/sendgrid api-reference/mail-send/errors and how-to-use-the-sendgrid-v3-api/{errors,responses,
# rate-limits}, support articles 18322114821403 and 34677918767131, all read 2026-11. There are no codes.
MEANINGS: Final = (
    Line(400, r"^from\b", FAULT),  # "The from email does not contain a valid address."
    Line(400, "", REFUSED),  # content, headers, limits
    Line(
        401, "", FAULT
    ),  # "The provided authorization grant is invalid, expired, or revoked", "Maximum credits exceeded"
    Line(403, r"block|too many|temporar", Meaning(Retry, 300.0, "provider")),  # after many bad requests
    Line(403, "", FAULT),  # "The from address does not match a verified Sender Identity." (60222)
    Line(406, "", REFUSED),
    Line(413, "", REFUSED),  # "Payload Too Large"
    Line(429, "", THROTTLED),  # "too many requests"
    Line(451, "", FAULT),  # data residency: the account lives in the other region
    Line(500, "", UNKNOWN),
    Line(502, "", UNKNOWN),
    Line(503, "", THROTTLED),  # "Service Unavailable"
)

BLAMED: Final = re.compile(r"personalizations\.(\d+)\.to\b")
"""The field of an error about one address: "Does not contain a valid address." The call is refused as a whole."""


class SendgridAdapter(HttpMailAdapter[bytes]):
    """Renders the request up to its personalizations."""

    kind: ClassVar[str] = "sendgrid"
    name: ClassVar[str] = "SendGrid"
    largest_call: ClassVar[int] = 1_000  # "limited to 1000 personalizations"; and 1000 of to, cc and bcc together
    largest_batch: ClassVar[int] = 1_000
    batch_size: ClassVar[int] = 1_000
    in_flight_limit: ClassVar[int] = 4_000
    largest_request_bytes: ClassVar[int] = 30 * MEBIBYTE  # "The total size of your email must be less than 30MB"

    def __init__(self, account: Account, *, transport: Transport, endpoint: str | None = None) -> None:
        super().__init__(account, transport=transport, endpoint=endpoint)
        key = account.credentials.get("apiKey")
        self._headers = (f"authorization: Bearer {key}", "content-type: application/json", "accept: application/json")

    def address(self) -> str:
        return "https://api.sendgrid.com"

    def write(self, letter: Letter) -> bytes:
        text = letter.text()
        parts = [{"type": "text/plain", "value": text}] if text.strip() or not letter.is_html else []
        if letter.is_html:
            parts.append({"type": "text/html", "value": letter.content})
        shared = encoded(
            {
                "from": _person(letter.sender.text, letter.from_name),
                "reply_to": _person(letter.reply_to.text, letter.reply_name),
                "subject": letter.subject,
                "content": parts,
            }
        )[:-1]
        if letter.files:
            shared += b',"attachments":[' + b",".join(_attachment(file) for file in letter.files) + b"]"
        self.check_size(len(shared))
        return shared + b',"personalizations":'

    def call(self, rendered: bytes, requests: Sequence[SendRequest]) -> Request:
        """A personalization needs somebody under `to`, and may not set headers To and Cc: cc and bcc look like to."""
        people = [
            {"to": [{"email": address_of(request)}], "custom_args": {DELIVERY: request.delivery_id}}
            for request in requests
        ]
        return Request("/v3/mail/send", self._headers, rendered + encoded(people) + b"}", wanted=WANTED)

    def read(self, requests: Sequence[SendRequest], reply: Reply) -> Sequence[Outcome] | Outcome | Sunk:
        if reply.status == 202:
            return Accepted(reply.headers.get("x-message-id", ""))  # one for all of the call
        if reply.status == 200:
            return Unknown("SendGrid answered 200, which is none of its answers to a mail")
        errors = _read_errors(reply)
        blamed = {
            int(found[1]): DEAD.of(words_of(self.name, reply, text))
            for field, text in errors
            if reply.status == 400 and (found := BLAMED.match(field)) and int(found[1]) < len(requests)
        }
        field, text = errors[0] if errors else ("", "")
        reason = words_of(self.name, reply, f"{field}: {text}" if field else text)
        meaning = find_meaning(MEANINGS, reply.status, f"{field}: {text}")
        if blamed or (reply.status == 400 and field.startswith("personalizations")):
            return Sunk(meaning.of(reason), blamed)
        return meaning.of(reason, _wait_of(reply))


def _person(email: str, name: str) -> dict[str, str]:
    return {"email": email, "name": name} if name else {"email": email}


def _attachment(file: ContentFile) -> bytes:
    fields = {"type": file.mime_type, "filename": file.name, "disposition": "attachment"}
    return encoded_file(file, "content", fields)


def _read_errors(reply: Reply) -> list[tuple[str, str]]:
    """Field and message of each; none where the answer is not the API's."""
    errors: Any = document_of(reply).get("errors")
    if not isinstance(errors, list):
        return []
    return [(str(e.get("field") or ""), str(e.get("message") or "")) for e in errors if isinstance(e, dict)]


def _wait_of(reply: Reply) -> float | None:
    """Reset is the Unix second at which the limit is renewed."""
    reset = reply.headers.get("x-ratelimit-reset", "")
    if reply.retry_after_seconds is not None or not reset.isdecimal():
        return reply.retry_after_seconds
    return min(max(float(reset) - time.time(), 1.0), LONGEST_WAIT_SECONDS)
