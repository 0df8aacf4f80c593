"""A mail server that takes everything its faults and magic recipients let through."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from typing import Annotated, Any, Literal

from pydantic import Field

from shared.simulator.faults import TAKEN, Fate, FaultPlan, FaultProfile, MagicWord
from shared.simulator.mail_view import decoded
from shared.simulator.record import Capture, Record
from shared.simulator.wire.mailroom import Envelope, SmtpReply

NAME = "smtp"

MAGIC_WORDS = (
    MagicWord("dead", Fate.DEAD_ADDRESS, "550 5.1.1 at RCPT"),
    MagicWord("unknown", Fate.DEAD_ADDRESS, "550 5.1.1 at RCPT"),
    MagicWord("full", Fate.MAILBOX_FULL, "552 5.2.2 at RCPT"),
    MagicWord("greylist", Fate.TRANSIENT, "450 4.2.0 at RCPT, then accepted", once=True),
    MagicWord("refused", Fate.REFUSED, "554 5.7.1 after the final dot"),
    MagicWord("slow", Fate.SLOW, "accepted; the reply to the final dot trickles in over slow_seconds"),
    MagicWord("dropped", Fate.DROPPED, "accepted; the connection is reset after the final dot"),
)

RECORDED_BYTES = 64 * 1024
"""So much of a mail goes on record; the rest is cut off there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SmtpProfile(FaultProfile):
    """Latency is that of the answer to the final dot."""

    reply_delay_ms: Annotated[float, Field(ge=0, le=600_000)] = 0.0  # of every reply, as a distant server's
    username: str | None = None  # None: any credentials will do, and none are needed
    password: str | None = None
    largest_mail_bytes: Annotated[int, Field(ge=1)] = 36 * 1024 * 1024  # 25 MiB of attachments, in base64
    most_recipients: Annotated[int, Field(ge=1)] = 100
    most_mails: Annotated[int, Field(ge=1)] | None = None
    starttls: Literal["offered", "missing", "broken"] = "offered"


class Smtp:
    def __init__(self, record: Record) -> None:
        self.plan = FaultPlan(NAME, SmtpProfile(), MAGIC_WORDS)
        self.record = record

    @property
    def terms(self) -> SmtpProfile:
        return self.plan.profile

    def begin(self, envelope: Envelope) -> "SmtpTransaction":
        return SmtpTransaction(self, envelope)

    def note(self, outcome: str) -> None:
        self.record.count(NAME, outcome)


class SmtpTransaction:
    """Draws each recipient's fate once, at RCPT; some show only after the final dot."""

    def __init__(self, server: Smtp, envelope: Envelope) -> None:
        self._server = server
        self._envelope = envelope
        self._fates: dict[str, Fate] = {}

    def add_recipient(self, address: str) -> SmtpReply:
        fate = self._server.plan.fate_of(address, words_in=address.partition("@")[0])
        refusal = _AT_RCPT.get(fate)
        if refusal is not None:
            self._server.note(fate)
            return refusal
        self._fates[address] = fate
        return _RECIPIENT_OK

    def finish(self, recipients: tuple[str, ...], content: bytes) -> SmtpReply:
        """One reply for the whole mail: the worst of its recipients' fates."""
        plan = self._server.plan
        decisive = max(recipients, key=lambda recipient: _SEVERITY.index(self._fates[recipient]))
        fate = Fate.OVER_LIMIT if plan.is_over_limit() else self._fates[decisive]
        manner = plan.manner_of(decisive, fate)
        if fate in TAKEN:
            number = self._accept(recipients, content, fate)
            return SmtpReply(250, "2.0.0", f"Ok: queued as {number:010X}", manner)
        self._server.note(fate)
        code, status, text = _AFTER_DOT[fate]
        return SmtpReply(code, status, text, manner)

    def _accept(self, recipients: tuple[str, ...], content: bytes, fate: Fate) -> int:
        """Put every recipient's copy on record; the last one's number."""
        mail = _Mail(content)
        for recipient in recipients:
            number = self._server.record.append(
                Capture(
                    provider=NAME,
                    recipient=recipient,
                    message=mail.message_id,
                    key=mail.message_id or mail.digest(),
                    title=mail.subject,
                    outcome=fate,
                    delivery=self._envelope.envelope_id or mail.delivery,
                    content=self._content(mail),
                )
            )
        return number

    def _content(self, mail: "_Mail") -> Mapping[str, Any]:
        envelope = self._envelope
        return {
            "channel": "email",
            "sender": envelope.sender,
            "username": envelope.username,
            "encrypted": envelope.is_encrypted,
            "size": len(mail.content),
            **mail.recorded(),
        }


_RECIPIENT_OK = SmtpReply(250, "2.1.5", "Ok")
_AT_RCPT = {
    Fate.DEAD_ADDRESS: SmtpReply(550, "5.1.1", "Nobody of this name lives here"),
    Fate.MAILBOX_FULL: SmtpReply(552, "5.2.2", "The mailbox is full"),
    Fate.THROTTLED: SmtpReply(450, "4.2.1", "This mailbox gets too much mail for the moment"),
    Fate.TRANSIENT: SmtpReply(450, "4.2.0", "Greylisted; try again"),
}
_AFTER_DOT = {
    Fate.OVER_LIMIT: (454, "4.7.0", "Throttled: too many mails a second"),
    Fate.SERVER_ERROR: (451, "4.3.0", "Something broke on this side"),
    Fate.REFUSED: (554, "5.7.1", "This mail is not wanted here"),
    Fate.SILENT: (451, "4.3.0", "Never said"),
}
_SEVERITY = (Fate.ACCEPTED, Fate.SLOW, Fate.DROPPED, Fate.SERVER_ERROR, Fate.REFUSED, Fate.SILENT)
"""Of a mail to several recipients, the last of these decides."""


_DELIVERY_ID = re.compile(r"<(\d+-\d+)@")


class _Mail:
    """A mail as far as the record needs to understand it; cheap, for it is done to every one."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self._head = content.partition(b"\r\n\r\n")[0]
        self.message_id = self.header("Message-ID")
        self.subject = _decoded(self.header("Subject"))
        found = _DELIVERY_ID.match(self.message_id)
        self.delivery = found[1] if found else None  # Tidings makes its Message-IDs of the delivery's own id

    def header(self, name: str) -> str:
        """The first of this name, unfolded; "" when there is none."""
        found = _pattern_of_header(name).search(self._head)
        return "" if found is None else _as_text(found[1])[0].replace("\r\n", "").strip()

    def digest(self) -> str:
        return blake2b(self.content, digest_size=16).hexdigest()

    def recorded(self) -> dict[str, str]:
        raw, encoding = _as_text(self.content[:RECORDED_BYTES])
        return {"raw": raw, "encoding": encoding}


def _as_text(raw: bytes) -> tuple[str, str]:
    """The text, and the encoding that gives the same bytes back."""
    try:
        return raw.decode("utf-8"), "utf-8"
    except UnicodeDecodeError:
        return raw.decode("latin-1"), "latin-1"


@lru_cache(maxsize=32)
def _pattern_of_header(name: str) -> re.Pattern[bytes]:
    return re.compile(rb"^%s:((?:.*\r\n[ \t])*.*)" % re.escape(name.encode()), re.MULTILINE | re.IGNORECASE)


@lru_cache(maxsize=1024)  # a campaign's mails share their subject
def _decoded(subject: str) -> str:
    return decoded(subject)
