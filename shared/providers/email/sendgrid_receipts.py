"""SendGrid's Event Webhook: arrays of events, signed with ECDSA over the time and the raw body."""

import base64
import binascii
from collections.abc import Mapping, Sequence
from typing import Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from shared.domain.receipt import Receipt, ReceiptKind
from shared.providers.contract import Account
from shared.providers.email.http_mail import DELIVERY
from shared.providers.email.receipt_events import check_age, parsed, reason_of, unix_seconds
from shared.providers.receipts import ReceiptCall, ReceiptRefused, reads_by_itself

SIGNATURE: Final = "x-twilio-email-event-webhook-signature"
TIMESTAMP: Final = "x-twilio-email-event-webhook-timestamp"

# Event -> what it means; the second key is its `type`, or a word of a drop's `reason`. Source: twilio.com/docs/sendgrid
# for-developers/tracking-events/event, read 2026-11. Opens, clicks and resubscriptions are nothing we follow.
KINDS: Final[Mapping[tuple[str, str], ReceiptKind]] = {
    ("processed", ""): ReceiptKind.PENDING,  # "received and is ready to be delivered"
    ("deferred", ""): ReceiptKind.PENDING,  # "temporarily rejected", and tried again for 72 hours
    ("delivered", ""): ReceiptKind.DELIVERED,
    ("bounce", ""): ReceiptKind.BOUNCED,
    ("bounce", "blocked"): ReceiptKind.FAILED,  # a policy, a full mailbox: the address stays usable
    ("dropped", ""): ReceiptKind.FAILED,
    ("dropped", "bounced address"): ReceiptKind.BOUNCED,
    ("dropped", "invalid"): ReceiptKind.BOUNCED,
    ("dropped", "spam reporting address"): ReceiptKind.COMPLAINED,
    ("dropped", "unsubscribed address"): ReceiptKind.UNSUBSCRIBED,
    ("spamreport", ""): ReceiptKind.COMPLAINED,
    ("unsubscribe", ""): ReceiptKind.UNSUBSCRIBED,
    ("group_unsubscribe", ""): ReceiptKind.UNSUBSCRIBED,
}


@reads_by_itself
def read_receipts(account: Account, call: ReceiptCall) -> Sequence[Receipt]:
    """See `ReceiptReader`. `account.receipts_secret`: the public key that SendGrid shows, base64 of its DER form."""
    _check_signature(account.receipts_secret, call)
    events = parsed(call.body)
    if not isinstance(events, list):
        raise ReceiptRefused("it is no list of events")
    read = (_read(event) for event in events if isinstance(event, dict))
    return [receipt for receipt in read if receipt is not None]


def _check_signature(key: str, call: ReceiptCall) -> None:
    timestamp = call.headers.get(TIMESTAMP, "")
    check_age(call, unix_seconds(timestamp))
    try:
        public = serialization.load_der_public_key(base64.b64decode(key, validate=True))
        signature = base64.b64decode(call.headers.get(SIGNATURE, ""), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ReceiptRefused("its signature or our key is not readable") from error
    if not isinstance(public, ec.EllipticCurvePublicKey):
        raise ReceiptRefused("our key is of another kind")
    try:
        public.verify(signature, timestamp.encode() + call.body, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature as error:
        raise ReceiptRefused("its signature is not SendGrid's") from error


def _read(event: Mapping[str, Any]) -> Receipt | None:
    name = str(event.get("event") or "")
    reason = str(event.get("reason") or event.get("response") or "")
    kind = _kind_of(name, str(event.get("type") or ""), reason)
    if kind is None:
        return None
    message_id = str(event.get("sg_message_id") or "")
    return Receipt(
        event_id=str(event.get("sg_event_id") or f"{message_id}-{name}-{event.get('timestamp')}"),
        kind=kind,
        recipient=str(event.get("email") or ""),
        delivery_id=str(event.get(DELIVERY) or ""),
        provider_message_id=message_id.partition(".")[0],  # X-Message-Id, and what names the server after it
        reason=reason_of(name, event.get("type"), reason),
        occurred_at=_number(event.get("timestamp")),
    )


def _kind_of(name: str, event_type: str, reason: str) -> ReceiptKind | None:
    said = event_type if name == "bounce" else reason.casefold() if name == "dropped" else ""
    words = (word for event, word in KINDS if event == name and word and word in said)
    return KINDS.get((name, next(words, "")))


def _number(value: object) -> float:
    return float(value) if isinstance(value, int) else 0.0
