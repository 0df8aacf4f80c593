"""Resend's webhooks: one event each, signed as Svix does it."""

import base64
import binascii
import hmac
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any, Final

from shared.domain.receipt import Receipt, ReceiptKind
from shared.providers.contract import Account
from shared.providers.email.http_mail import DELIVERY
from shared.providers.email.receipt_events import check_age, fields_of, parsed, reason_of, seconds_of, unix_seconds
from shared.providers.receipts import ReceiptCall, ReceiptRefused, reads_by_itself

# Event -> what it means. Source: resend.com/docs/dashboard/webhooks/event-types, read 2026-11. Opens and clicks are
# nothing we follow.
KINDS: Final[Mapping[str, ReceiptKind]] = {
    "email.sent": ReceiptKind.PENDING,
    "email.scheduled": ReceiptKind.PENDING,
    "email.delivery_delayed": ReceiptKind.PENDING,
    "email.delivered": ReceiptKind.DELIVERED,
    "email.bounced": ReceiptKind.FAILED,  # and dead where `bounce.type` is Permanent
    "email.failed": ReceiptKind.FAILED,
    "email.suppressed": ReceiptKind.BOUNCED,  # on Resend's list: it bounced or complained before
    "email.complained": ReceiptKind.COMPLAINED,
}


@reads_by_itself
def read_receipts(account: Account, call: ReceiptCall) -> Sequence[Receipt]:
    """See `ReceiptReader`. `account.receipts_secret`: the webhook's signing secret, `whsec_` and base64."""
    _check_signature(account.receipts_secret, call)
    event = parsed(call.body)
    data = fields_of(event, "data")
    kind = _kind_of(event, data)
    if kind is None:
        return []
    bounce, failed = fields_of(data, "bounce"), fields_of(data, "failed")
    to = data.get("to")
    return [
        Receipt(
            event_id=call.headers["svix-id"],
            kind=kind,
            recipient=str(to[0]) if isinstance(to, list) and len(to) == 1 else "",  # else it does not say whose it is
            delivery_id=_tag_of(data.get("tags")),
            provider_message_id=str(data.get("email_id") or ""),
            reason=reason_of(
                event["type"],
                bounce.get("type"),
                bounce.get("message") or failed.get("reason") or fields_of(data, "suppressed").get("message"),
            ),
            occurred_at=seconds_of(event.get("created_at")),
        )
    ]


def _check_signature(secret: str, call: ReceiptCall) -> None:
    name, timestamp = call.headers.get("svix-id", ""), call.headers.get("svix-timestamp", "")
    check_age(call, unix_seconds(timestamp))
    try:
        key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ReceiptRefused("our signing secret is not readable") from error
    if not key:
        raise ReceiptRefused("we were not told Resend's signing secret")
    expected = hmac.new(key, f"{name}.{timestamp}.".encode() + call.body, sha256).digest()
    wanted = b"v1," + base64.b64encode(expected)
    # several stand side by side while a secret is being replaced
    signatures = call.headers.get("svix-signature", "").split(" ")
    if not name or not any(hmac.compare_digest(wanted, signature.encode()) for signature in signatures):
        raise ReceiptRefused("its signature is not Resend's")


def _kind_of(event: object, data: Mapping[str, Any]) -> ReceiptKind | None:
    name = str(fields_of(event).get("type") or "")
    if name == "email.bounced" and fields_of(data, "bounce").get("type") == "Permanent":
        return ReceiptKind.BOUNCED
    return KINDS.get(name)


def _tag_of(tags: object) -> str:
    """An object in webhooks; pairs of name and value, as in requests, are understood as well."""
    if isinstance(tags, list):
        tags = {fields_of(tag).get("name"): fields_of(tag).get("value") for tag in tags}
    return str(fields_of(tags).get(DELIVERY) or "")
