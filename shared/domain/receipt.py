"""A provider's later word about a delivery, in our words."""

from dataclasses import dataclass
from enum import StrEnum

from shared.domain.status import DeliveryState


class ReceiptKind(StrEnum):
    """In the order in which one overtakes another: what comes late, again or out of order never moves one back."""

    PENDING = "pending"  # on its way: queued, with the carrier, deferred
    FAILED = "failed"  # did not arrive, and the address may be good: mailbox full, filtered, handset off
    DELIVERED = "delivered"
    BOUNCED = "bounced"  # the address is dead
    COMPLAINED = "complained"  # the recipient called it spam
    UNSUBSCRIBED = "unsubscribed"  # the recipient wants no more: STOP, opted out, on the provider's own list

    def overtakes(self, earlier: "ReceiptKind | None") -> bool:
        return earlier is None or _ORDER.index(self) > _ORDER.index(earlier)

    @property
    def suppresses(self) -> bool:
        """Whether the address must not be used again."""
        return self in _SUPPRESSING

    @property
    def counted_as(self) -> str | None:
        """Its sum in a message's progress."""
        return _COUNTED_AS.get(self)

    @property
    def settles_unknown_as(self) -> DeliveryState:
        """What it tells of a call that had no answer: only what was accepted has a receipt at all."""
        return DeliveryState.FAILED if self.counted_as == "undelivered" else DeliveryState.SENT


_ORDER = tuple(ReceiptKind)
_SUPPRESSING = frozenset({ReceiptKind.BOUNCED, ReceiptKind.COMPLAINED, ReceiptKind.UNSUBSCRIBED})
_COUNTED_AS = {
    ReceiptKind.DELIVERED: "delivered",
    ReceiptKind.FAILED: "undelivered",
    ReceiptKind.BOUNCED: "undelivered",
    ReceiptKind.COMPLAINED: "complained",
    ReceiptKind.UNSUBSCRIBED: "unsubscribed",
}
RECEIPT_SUMS = tuple(dict.fromkeys(_COUNTED_AS.values()))


@dataclass(frozen=True, slots=True)
class Receipt:
    """About one copy to one recipient; of no use if it names neither our delivery nor the provider's message."""

    event_id: str  # the provider's own for this event, else made of what tells it from others: the same again is a copy
    kind: ReceiptKind
    recipient: str  # the address as the provider writes it; "" where it names none
    # SendRequest.delivery_id, carried through the provider's reference field or the callback URL's query; of a call
    # that names several recipients its part before the hyphen, and `recipient` tells the rest
    delivery_id: str = ""
    provider_message_id: str = ""  # as Accepted had it
    reason: str = ""  # the provider's words and code; no secrets
    occurred_at: float = 0.0  # Unix seconds; 0: not said
