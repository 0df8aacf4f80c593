"""A provider's later word about a delivery, in our words."""

from dataclasses import dataclass
from enum import StrEnum


class ReceiptKind(StrEnum):
    PENDING = "pending"  # on its way: queued, with the carrier, deferred
    DELIVERED = "delivered"
    FAILED = "failed"  # did not arrive, and the address may be good: mailbox full, filtered, handset off
    BOUNCED = "bounced"  # the address is dead
    COMPLAINED = "complained"  # the recipient called it spam
    UNSUBSCRIBED = "unsubscribed"  # the recipient wants no more: STOP, opted out, on the provider's own list


@dataclass(frozen=True, slots=True)
class Receipt:
    """About one copy to one recipient; of no use if it names neither our delivery nor the provider's message."""

    event_id: str  # the provider's own for this event, else made of what tells it from others: the same again is a copy
    kind: ReceiptKind
    recipient: str  # the address as the provider writes it; "" where it names none
    delivery_id: str = ""  # SendRequest.delivery_id, where the provider carries it back
    provider_message_id: str = ""  # as Accepted had it
    reason: str = ""  # the provider's words and code; no secrets
    occurred_at: float = 0.0  # Unix seconds; 0: not said
