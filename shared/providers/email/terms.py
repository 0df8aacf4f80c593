"""What a connection, its pool and the adapter speak of: mails on their way, limits, what a server can do."""

from dataclasses import dataclass, field
from typing import Protocol

from shared.domain.outcome import Outcome
from shared.providers.email.address import Address
from shared.providers.flow import Flow


@dataclass(slots=True, eq=False)
class Mail:
    """One copy, to one recipient."""

    sender: Address
    recipient: Address
    head: bytes  # its own headers
    tail: bytes  # what it shares with other copies, to the dot
    flow: "Flow[Mail, Outcome]" = field(init=False)  # where its outcome goes; known when it is taken from there
    index: int = field(init=False)

    @property
    def needs_utf8(self) -> bool:
        return self.sender.needs_utf8 or self.recipient.needs_utf8

    @property
    def size_bytes(self) -> int:
        """As SIZE counts: without the final dot; dots we doubled count as well."""
        return len(self.head) + len(self.tail) - len(b".\r\n")

    def settle(self, outcome: Outcome) -> None:
        self.flow.finish(self.index, outcome)


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds, and mails."""

    reply_seconds: float  # for a command; for all it takes from the greeting on to open a connection, too
    final_seconds: float  # the reply to the final dot
    connect_seconds: float = 3.0  # and as many for TLS
    greeting_seconds: float = 60.0  # RFC 5321 §4.5.3.2.1 asks for five minutes; who lets callers wait does so for less
    opening_seconds: float = 120.0  # one connection, with all hosts that were asked for it
    idle_seconds: float = 30.0
    lifetime_seconds: float = 600.0
    mails: int = 100  # a connection carries


MailFlow = Flow[Mail, Outcome]


class Kept(Protocol):
    """What a pool may do with a connection of its."""

    def start(self) -> None:
        """Take mails until there are none."""

    def close(self) -> None: ...

    async def gone(self) -> None:
        """Return once a closed connection has nothing more to write or to read."""

    def carries(self, flow: MailFlow) -> bool: ...


class Feeder(Protocol):
    """Who supplies a connection with mails: the pool."""

    def next_mail(self) -> Mail | None:
        """None: nothing to send now."""

    def give_back(self, mail: Mail) -> None:
        """Take a mail again that was not begun, for another connection."""

    def note_step(self, waits_for: str) -> None:
        """What a connection waits for that is being opened, for whoever has to be told why."""

    def note_idle(self, connection: Kept) -> None: ...

    def note_closed(self, connection: Kept) -> None: ...


@dataclass(slots=True)
class Extensions:
    """What EHLO announced."""

    pipelining: bool = False
    size: int | None = None  # the largest mail in bytes; 0: it does not say; None: not to be told the size
    utf8: bool = False
    starttls: bool = False
    auth: frozenset[str] = field(default_factory=frozenset)
