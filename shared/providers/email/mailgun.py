"""Mailgun: up to a thousand recipients a call, told apart by recipient variables, a mail of its own for each."""

import re
import time
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import ClassVar, Final
from urllib.parse import quote

from shared.domain.outcome import Accepted, Outcome, Retry, Unknown
from shared.providers.contract import Account, SendRequest
from shared.providers.email.http_mail import (
    DELIVERY,
    MEBIBYTE,
    HttpMailAdapter,
    Line,
    address_of,
    document_of,
    encoded,
    find_meaning,
    words_of,
)
from shared.providers.email.letter import Letter
from shared.providers.email.multipart import Form
from shared.providers.email.named_address import named_address
from shared.providers.http_adapter import Sunk
from shared.providers.meanings import DEAD, FAULT, REFUSED, THROTTLED, UNKNOWN, Meaning
from shared.providers.transport import Reply, Request, Transport

# What Mailgun says -> what it means; there are no codes. Sources: documentation.mailgun.com api-sending and quickstart
# responses, read 2026-11; copies of its error list (mastermind.helpscoutdocs.com 1338) and mailgun-java #50 for 420.
MEANINGS: Final = (
    Line(400, r"'from' parameter", FAULT),  # "'from' parameter is not a valid address"
    Line(400, "", REFUSED),  # "Need at least one of 'text' or 'html' parameters specified", options above 16 kB
    Line(401, "", FAULT),  # "Forbidden", in plain text
    Line(402, "", FAULT),  # the account must pay
    Line(403, "", FAULT),  # "Domain … is not allowed to send", "Free accounts are for test purposes only"
    Line(404, "", FAULT),  # "Domain not found": or the other region's, or too new to be known everywhere
    Line(413, "", REFUSED),
    Line(420, "", Meaning(Retry, 60.0, "provider")),  # "recipient limit exceeded, try again after" a date
    Line(429, "", THROTTLED),
    Line(500, "", UNKNOWN),
    Line(503, "", THROTTLED),
)

BAD_ADDRESS: Final = re.compile(r"'to' parameter is not a valid address")
"""Said of the whole call, without naming the address."""

DATE: Final = re.compile(r"\w{3}, \d{1,2} \w{3} \d{4} \d\d:\d\d:\d\d (?:GMT|UTC|[+-]\d{4})")
LONGEST_WAIT_SECONDS: Final = 3600.0

PLACEHOLDER: Final = "%recipient"
PERCENT: Final = "tidings_percent"


@dataclass(frozen=True, slots=True)
class MailgunMail:
    form: Form
    headers: tuple[str, ...]
    shared: bytes  # all parts but the recipients'


class MailgunAdapter(HttpMailAdapter[MailgunMail]):
    kind: ClassVar[str] = "mailgun"
    name: ClassVar[str] = "Mailgun"
    needed: ClassVar[tuple[str, ...]] = ("apiKey", "domain")
    largest_call: ClassVar[int] = 1_000  # "The maximum number of recipients allowed for Batch Sending is 1,000."
    largest_batch: ClassVar[int] = 1_000
    batch_size: ClassVar[int] = 1_000
    in_flight_limit: ClassVar[int] = 4_000
    largest_request_bytes: ClassVar[int] = 25 * MEBIBYTE  # of the mail that Mailgun makes of it, files in base64

    def __init__(self, account: Account, *, transport: Transport, endpoint: str | None = None) -> None:
        super().__init__(account, transport=transport, endpoint=endpoint)
        login = b64encode(f"api:{account.credentials.get('apiKey')}".encode()).decode()
        self._authorization = f"authorization: Basic {login}"
        self._path = f"/v3/{quote(str(account.credentials.get('domain')), safe='')}/messages"

    def address(self) -> str:
        return "https://api.eu.mailgun.net" if self.account.credentials.get("isEuRegion") else "https://api.mailgun.net"

    def write(self, letter: Letter) -> MailgunMail:
        form = Form()
        fields = {
            "from": named_address(letter.from_name, letter.sender.text),
            "h:Reply-To": as_text(named_address(letter.reply_name, letter.reply_to.text)),
            "subject": as_text(letter.subject),
            "text": as_text(letter.text()),
            f"v:{DELIVERY}": f"%recipient.{DELIVERY}%",
        }
        if letter.is_html:
            fields["html"] = as_text(letter.content)
        texts = b"".join(form.field(name, value) for name, value in fields.items())
        self.check_size(len(texts) + sum(len(file.content) * 78 // 57 for file in letter.files))
        files = b"".join(form.file("attachment", file) for file in letter.files)
        return MailgunMail(form, (self._authorization, f"content-type: {form.content_type}"), texts + files)

    def call(self, rendered: MailgunMail, requests: Sequence[SendRequest]) -> Request:
        """Whoever has no variables would see all the others. Everybody stands under `to`: cc and bcc get each mail."""
        variables = {address_of(request): {DELIVERY: request.delivery_id, PERCENT: "%"} for request in requests}
        field = rendered.form.field
        recipients = field("to", ",".join(variables)) + field("recipient-variables", encoded(variables).decode())
        return Request(self._path, rendered.headers, recipients + rendered.shared + rendered.form.end)

    def read(self, _requests: Sequence[SendRequest], reply: Reply) -> Outcome | Sunk:
        document = document_of(reply)
        if reply.status == 200:
            message_id = document.get("id")
            if not isinstance(message_id, str):
                return Unknown("Mailgun answered 200 without the id of a mail")
            return Accepted(message_id.strip("<>"))  # as receipts have it; one for all of the call
        text = str(document.get("message") or "")
        reason = words_of(self.name, reply, text)
        if reply.status == 400 and BAD_ADDRESS.search(text):
            return Sunk(DEAD.of(reason))
        return find_meaning(MEANINGS, reply.status, text).of(reason, _wait_of(reply, text))


def as_text(text: str) -> str:
    """With a percent sign that Mailgun puts in itself where the text would read as one of its placeholders.

    Others than the recipient's (`%unsubscribe_url%`) are features of the account's domain, which stay usable.
    """
    return text.replace(PLACEHOLDER, f"%recipient.{PERCENT}%recipient")


def _wait_of(reply: Reply, text: str) -> float | None:
    found = DATE.search(text)
    if reply.retry_after_seconds is not None or found is None:
        return reply.retry_after_seconds
    try:
        until = parsedate_to_datetime(found[0].replace("UTC", "GMT")).timestamp()
    except ValueError:
        return None
    return min(max(until - time.time(), 1.0), LONGEST_WAIT_SECONDS)
