"""What an SMTP server asks of whoever decides about mail."""

from dataclasses import dataclass
from typing import Literal, Protocol

from shared.simulator.wire.manner import PROMPT, Manner


@dataclass(frozen=True, slots=True)
class SmtpReply:
    code: int
    status: str  # the enhanced code, "2.1.5"
    text: str
    manner: Manner = PROMPT

    @property
    def is_positive(self) -> bool:
        return self.code < 400


@dataclass(frozen=True, slots=True)
class Envelope:
    sender: str  # "" for the null sender
    envelope_id: str | None  # the DSN extension's ENVID
    username: str | None  # None: not authenticated
    is_encrypted: bool


class Transaction(Protocol):
    """One mail on its way in."""

    def add_recipient(self, address: str) -> SmtpReply:
        """Take a recipient, or not."""

    def finish(self, recipients: tuple[str, ...], content: bytes) -> SmtpReply:
        """Take the mail for the recipients that were accepted, or not. `content` has CRLF line ends."""


class Terms(Protocol):
    """What the server tells clients and insists on; read anew for every command."""

    @property
    def username(self) -> str | None:
        """None: any credentials will do, and none are needed."""

    @property
    def password(self) -> str | None: ...

    @property
    def reply_delay_ms(self) -> float:
        """Every reply comes so much later, as a distant server's."""

    @property
    def largest_mail_bytes(self) -> int: ...

    @property
    def most_recipients(self) -> int:
        """Of one transaction."""

    @property
    def most_mails(self) -> int | None:
        """Of one connection; then it is closed with 421. None: no limit."""

    @property
    def starttls(self) -> Literal["offered", "missing", "broken"]:
        """`broken`: offered, but 454 when asked for."""


class Mailroom(Protocol):
    @property
    def terms(self) -> Terms: ...

    def begin(self, envelope: Envelope) -> Transaction: ...

    def note(self, outcome: str) -> None:
        """Count what the server itself refused: "unauthenticated", "malformed"."""
