"""TextMagic's callbacks: one for each step of a message. Unsigned; the address they are posted to is the secret.

One address serves the whole account, set at TextMagic, which calls it empty to try it. Its answers there may be forms,
forms in parts or JSON. The names of the fields are in none of its pages: these are the ones of its messages and of its
older API, and unknown ones do no harm (November 2026).
"""

from collections.abc import Mapping, Sequence
from typing import Final

from shared.domain.receipt import Receipt, ReceiptKind
from shared.providers.contract import Account
from shared.providers.receipts import ReceiptCall, reads_by_itself
from shared.providers.sms.receipt_bodies import first_of, read_body

STATUSES: Final[Mapping[str, tuple[ReceiptKind, str]]] = {
    "q": (ReceiptKind.PENDING, "queued"),
    "s": (ReceiptKind.PENDING, "scheduled queue"),
    "r": (ReceiptKind.PENDING, "sent to the operator"),
    "a": (ReceiptKind.PENDING, "acknowledged by the operator"),
    "b": (ReceiptKind.PENDING, "queued by the operator"),
    "d": (ReceiptKind.DELIVERED, "delivered"),
    "f": (ReceiptKind.FAILED, "failed"),
    "e": (ReceiptKind.FAILED, "sending error"),
    "j": (ReceiptKind.FAILED, "rejected"),
    "u": (ReceiptKind.PENDING, "unknown: the operator does not tell"),
}
"""By letter, with its words for it in the older API. The newer one has i, p and h as well, and says nothing of them."""


@reads_by_itself
def read_receipts(account: Account, call: ReceiptCall) -> Sequence[Receipt]:
    """See `ReceiptReader`. What is no step of a message of ours is left out: trial calls, inbound messages."""
    del account  # nothing is signed
    body = read_body(call)
    fields = body if isinstance(body, Mapping) else {}
    message, status = first_of(fields, "id", "messageId", "message_id"), first_of(fields, "status")
    if not message or not status:
        return []
    kind, words = STATUSES.get(status, (ReceiptKind.PENDING, "a step that we do not know"))
    return [
        Receipt(
            event_id=f"{message}:{status}",
            kind=kind,
            recipient=first_of(fields, "receiver", "phone", "to"),
            delivery_id=first_of(fields, "referenceId", "reference_id"),
            provider_message_id=message,
            reason=f"TextMagic: {status[:20]}, {words}" if kind is not ReceiptKind.DELIVERED else "",
            occurred_at=_moment(first_of(fields, "timestamp")),
        )
    ]


def _moment(text: str) -> float:
    return float(text) if text.isdecimal() and len(text) == 10 else 0.0
