"""What simulated mailers share that are called over HTTP: magic words, fates in a call, copies on record, receipts."""

import re
import time
from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from hashlib import blake2b
from typing import Any

from shared.simulator import contents
from shared.simulator.faults import TAKEN, Fate, MagicWord
from shared.simulator.http_provider import HttpProvider
from shared.simulator.outgoing import OutgoingCall
from shared.simulator.record import Capture
from shared.simulator.wire.exchange import Reply

ADDRESS = re.compile(r"(?=.{3,254}\Z)[^@\s,;<>\"]{1,64}@[^@\s,;<>\"]+", re.ASCII)
NAMED_ADDRESS = re.compile(r'(?:"(?:[^"\\\r\n]|\\.)*"\s*|[^"<>@,;\r\n]*)<([^<>]*)>')

WHOLE_CALL = (Fate.SILENT, Fate.SERVER_ERROR, Fate.OVER_LIMIT, Fate.THROTTLED, Fate.TRANSIENT)
"""Fates that one recipient brings upon all in its call, the heaviest first, where the API knows no others."""

UNANSWERED = (Fate.DROPPED, Fate.SLOW)


class News(StrEnum):
    """What a receipt says later about an accepted mail."""

    DELIVERED = "delivered"
    BOUNCED = "bounced"
    COMPLAINED = "complained"
    UNSUBSCRIBED = "unsubscribed"


def mail_words(*, dead: str, throttled: str, flaky: str, broken: str) -> tuple[MagicWord, ...]:
    """The same words for every mailer, each with its own replies."""
    return (
        MagicWord("dead", Fate.DEAD_ADDRESS, dead),
        MagicWord("throttled", Fate.THROTTLED, f"{throttled}, then accepted", once=True),
        MagicWord("flaky", Fate.TRANSIENT, f"{flaky}, then accepted", once=True),
        MagicWord("broken", Fate.SERVER_ERROR, broken),
        MagicWord("slow", Fate.SLOW, "accepted; the reply trickles in over slow_seconds"),
        MagicWord("dropped", Fate.DROPPED, "accepted; the stream is reset before the reply"),
        MagicWord("bounced", Fate.UNDELIVERED, "accepted; the receipt says: hard bounce"),
        MagicWord("complained", Fate.ACCEPTED, "accepted; the receipt says: called spam"),
        MagicWord("unsubscribed", Fate.ACCEPTED, "accepted; the receipt says: wants no more"),
    )


@dataclass(frozen=True, slots=True)
class Copy:
    """One recipient's copy of a mail."""

    recipient: str  # the bare address
    sender: str
    subject: str
    text: str | None
    html: str | None
    headers: tuple[tuple[str, str], ...]  # as a mail program would show them
    attachments: tuple[Mapping[str, Any], ...] = ()  # name, content_type, size
    delivery: str | None = None

    def key(self) -> str:
        """Equal in copies of one message; a sender that names its deliveries tells them apart by that."""
        shown = f"{self.subject}\0{self.text}\0{self.html}\0{self.attachments}"
        return self.delivery or blake2b(shown.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


@dataclass(frozen=True, slots=True)
class Taken:
    """A mail on record, as its receipt needs to know it."""

    recipient: str
    message: str
    delivery: str | None
    news: News
    at: float


class Mailer(HttpProvider):
    @abstractmethod
    def receipts_of(self, taken: Sequence[Taken]) -> Iterable[OutgoingCall]:
        """The signed calls to `receipts_url` about mails that were taken together."""

    def draw(self, recipients: Iterable[str]) -> list[Fate]:
        return [self.fate_of(recipient, words_in=recipient.partition("@")[0]) for recipient in recipients]

    def heaviest(self, fates: Sequence[Fate]) -> int | None:
        """Whose fate the whole call shares, by place; None: each has its own."""
        return next((fates.index(fate) for fate in WHOLE_CALL if fate in fates), None)

    def turn_away(self, reply: Reply, fates: Sequence[Fate], recipients: Sequence[str], place: int) -> Reply:
        """Refuse the call as the fate of the recipient at this place has it."""
        self.record.count(self.name, fates[place])
        return self.in_manner_of(reply, recipients[place], fates[place])

    def take(self, copies: Sequence[Copy], fates: Sequence[Fate], messages: Sequence[str]) -> None:
        """Put those on record whose fate is to be taken; each has the provider's id of its mail."""
        taken = []
        for copy, fate, message in zip(copies, fates, messages, strict=True):
            if fate not in TAKEN:
                self.record.count(self.name, fate)
                continue
            self.record.append(self._capture(copy, fate, message))
            taken.append(
                Taken(copy.recipient, message, copy.delivery, self._news_of(copy.recipient, fate), time.time())
            )
        if taken and self.receipts_url:
            self.post_receipts(self.receipts_of(taken))

    def answered(self, reply: Reply, fates: Sequence[Fate], recipients: Sequence[str]) -> Reply:
        """The reply to a call that was taken: reset or slow if it is so for one of its recipients."""
        place = next((fates.index(fate) for fate in UNANSWERED if fate in fates), 0)
        return self.in_manner_of(reply, recipients[place], fates[place])

    def _capture(self, copy: Copy, fate: Fate, message: str) -> Capture:
        return Capture(
            provider=self.name,
            recipient=copy.recipient,
            message=message,
            key=copy.key(),
            title=copy.subject,
            outcome=fate,
            delivery=copy.delivery,
            content=contents.email(
                sender=copy.sender,
                text=copy.text,
                html=copy.html,
                headers=copy.headers,
                attachments=copy.attachments,
            ),
        )

    def _news_of(self, recipient: str, fate: Fate) -> News:
        word = self.plan.word_in(recipient.partition("@")[0])
        if word is not None and word.word in {News.COMPLAINED, News.UNSUBSCRIBED}:
            return News(word.word)
        return News.BOUNCED if fate is Fate.UNDELIVERED else News.DELIVERED


def is_address(text: object) -> bool:
    return isinstance(text, str) and ADDRESS.fullmatch(text) is not None


def bare_address(text: str) -> str:
    """Of `Name <address>`, or of an address alone."""
    named = NAMED_ADDRESS.fullmatch(text.strip())
    return named[1] if named else text.strip()


def shown_headers(sender: str, subject: str, **others: str | Sequence[str]) -> tuple[tuple[str, str], ...]:
    """From, To, Cc, Reply-To (as `reply_to`) and Subject; without those that are empty."""
    named = [(name.replace("_", "-").title(), value) for name, value in others.items() if value]
    texts = [(name, value if isinstance(value, str) else ", ".join(value)) for name, value in named]
    return (("From", sender), *texts, ("Subject", subject))


def delivery_in(fields: object, name: str = "tidings_delivery") -> str | None:
    """Our sender's name for a delivery among the fields that a provider carries for its customers."""
    value = fields.get(name) if isinstance(fields, Mapping) else None
    return value if isinstance(value, str) else None
