"""Mailgun's webhooks: one event each, signed with an HMAC that stands in the body."""

import hmac
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any, Final

from shared.domain.receipt import Receipt, ReceiptKind
from shared.providers.contract import Account
from shared.providers.email.http_mail import DELIVERY
from shared.providers.email.receipt_events import DEAD_ADDRESS, check_age, fields_of, parsed, reason_of, unix_seconds
from shared.providers.receipts import ReceiptCall, ReceiptRefused, reads_by_itself

# Event -> what it means; of a failure the second key is its `severity` or `reason`. Sources: documentation.mailgun.com
# user-manual webhooks and events, read 2026-11. Opens and clicks are nothing we follow.
KINDS: Final[Mapping[tuple[str, str], ReceiptKind]] = {
    ("accepted", ""): ReceiptKind.PENDING,
    ("delivered", ""): ReceiptKind.DELIVERED,
    ("rejected", ""): ReceiptKind.FAILED,  # Mailgun itself did not want it
    ("failed", ""): ReceiptKind.FAILED,
    ("failed", "temporary"): ReceiptKind.PENDING,  # and tried again
    ("failed", "bounce"): ReceiptKind.BOUNCED,
    ("failed", "suppress-bounce"): ReceiptKind.BOUNCED,  # it had bounced before
    ("failed", "suppress-complaint"): ReceiptKind.COMPLAINED,
    ("failed", "suppress-unsubscribe"): ReceiptKind.UNSUBSCRIBED,
    ("complained", ""): ReceiptKind.COMPLAINED,
    ("unsubscribed", ""): ReceiptKind.UNSUBSCRIBED,
}


@reads_by_itself
def read_receipts(account: Account, call: ReceiptCall) -> Sequence[Receipt]:
    """See `ReceiptReader`. `account.receipts_secret`: the account's HTTP webhook signing key."""
    document = parsed(call.body)
    token = _check_signature(account.receipts_secret, call, fields_of(document, "signature"))
    event = fields_of(document, "event-data")
    kind = _kind_of(event)
    if kind is None:
        return []
    status = fields_of(event, "delivery-status")
    name, reason = event.get("event"), event.get("reason")
    occurred_at = event.get("timestamp")
    return [
        Receipt(
            event_id=token,  # an event's own id repeats from day to day
            kind=kind,
            recipient=str(event.get("recipient") or ""),
            delivery_id=str(fields_of(event, "user-variables").get(DELIVERY) or ""),
            provider_message_id=str(fields_of(event, "message", "headers").get("message-id") or ""),
            reason=reason_of(name, reason, status.get("code"), status.get("message") or status.get("description")),
            occurred_at=float(occurred_at) if isinstance(occurred_at, (int, float)) else 0.0,
        )
    ]


def _check_signature(key: str, call: ReceiptCall, signed: Mapping[str, Any]) -> str:
    """The token, which is another one for each call: what comes again with it is a copy.

    Mailgun signs nothing else. Who has seen a call could alter its event, but not send it on: its token is used up.
    """
    timestamp, token, signature = (str(signed.get(name) or "") for name in ("timestamp", "token", "signature"))
    check_age(call, unix_seconds(timestamp))
    if not token.isascii():
        raise ReceiptRefused("its token is not one")
    if not key:
        raise ReceiptRefused("we were not told Mailgun's signing key")
    expected = hmac.new(key.encode(), f"{timestamp}{token}".encode(), sha256).hexdigest()
    if not token or not hmac.compare_digest(expected.encode(), signature.encode("utf-8", "surrogatepass")):
        raise ReceiptRefused("its signature is not Mailgun's")
    return token


def _kind_of(event: Mapping[str, Any]) -> ReceiptKind | None:
    name = str(event.get("event") or "")
    if name != "failed":
        return KINDS.get((name, ""))
    if event.get("severity") == "temporary":
        return KINDS[name, "temporary"]
    status = fields_of(event, "delivery-status")
    if DEAD_ADDRESS.search(f"{status.get('enhanced-code')} {status.get('message')}"):
        return ReceiptKind.BOUNCED
    return KINDS.get((name, str(event.get("reason") or "")), ReceiptKind.FAILED)
