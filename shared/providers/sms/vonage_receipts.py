"""Vonage's delivery receipts: of the SMS API, signed with `sig` if the account has asked for that, and of the Messages
API, signed with a token.

The signature secret is another one than the API's. While we are not told it, nothing can be checked, and the address,
which only Vonage knows, is the proof.
"""

import hashlib
import hmac
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import jwt

from shared.domain.receipt import Receipt, ReceiptKind
from shared.providers.contract import Account
from shared.providers.receipts import REPLAY_WINDOW_SECONDS, ReceiptCall, ReceiptRefused, reads_by_itself
from shared.providers.sms.forms import read_id, reason_of
from shared.providers.sms.receipt_bodies import first_of, read_body

STATUSES: Final[Mapping[str, ReceiptKind]] = {
    "accepted": ReceiptKind.PENDING,  # the carrier has it
    "buffered": ReceiptKind.PENDING,
    "submitted": ReceiptKind.PENDING,  # from here on of the Messages API too
    "delivered": ReceiptKind.DELIVERED,
    "read": ReceiptKind.DELIVERED,
    "expired": ReceiptKind.FAILED,
    "failed": ReceiptKind.FAILED,
    "rejected": ReceiptKind.FAILED,
    "undeliverable": ReceiptKind.FAILED,
    "unknown": ReceiptKind.FAILED,
}

# err-code of what failed -> what it says of the address, and in words, which receipts lack. Source:
# developer.vonage.com messaging/sms/guides/delivery-receipts, read 2026-11.
ERRORS: Final[Mapping[str, tuple[ReceiptKind, str]]] = {
    "1": (ReceiptKind.FAILED, "unknown"),
    "2": (ReceiptKind.FAILED, "absent subscriber, for now"),
    "3": (ReceiptKind.BOUNCED, "absent subscriber, permanently"),
    "4": (ReceiptKind.UNSUBSCRIBED, "call barred by user"),
    "5": (ReceiptKind.FAILED, "portability error"),
    "6": (ReceiptKind.FAILED, "anti-spam rejection"),
    "7": (ReceiptKind.FAILED, "handset busy"),
    "8": (ReceiptKind.FAILED, "network error"),
    "9": (ReceiptKind.UNSUBSCRIBED, "illegal number: opted out"),
    "10": (ReceiptKind.FAILED, "illegal message"),
    "11": (ReceiptKind.FAILED, "unroutable"),
    "12": (ReceiptKind.BOUNCED, "destination unreachable"),
    "13": (ReceiptKind.FAILED, "subscriber age restriction"),  # of this content
    "14": (ReceiptKind.BOUNCED, "number blocked by carrier"),
    "15": (ReceiptKind.FAILED, "prepaid, insufficient funds"),
    "50": (ReceiptKind.FAILED, "entity filter"),
    "51": (ReceiptKind.FAILED, "header filter"),
    "52": (ReceiptKind.FAILED, "content filter"),
    "53": (ReceiptKind.FAILED, "consent filter"),
    "54": (ReceiptKind.FAILED, "regulation error"),
    "99": (ReceiptKind.FAILED, "general error"),
    # the Messages API has numbers of its own, and words with them; only these speak of the address
    "1050": (ReceiptKind.UNSUBSCRIBED, ""),  # "Number barred": "blacklisted and may not receive messages"
    "1170": (ReceiptKind.BOUNCED, ""),  # "Invalid recipient"
    "1190": (ReceiptKind.BOUNCED, ""),  # "Absent Subscriber Permanent"
    "1240": (ReceiptKind.UNSUBSCRIBED, ""),  # "Illegal Number": "has already sent a STOP opt-out message"
    "1280": (ReceiptKind.BOUNCED, ""),  # "Number Blocked by Carrier"
    "1300": (ReceiptKind.BOUNCED, ""),  # "Not part of the provider network"
    "1430": (ReceiptKind.BOUNCED, ""),  # "Invalid recipient" for the channel
}

_DIGESTS: Final[Mapping[int, str]] = {32: "md5", 40: "sha1", 64: "sha256", 128: "sha512"}
"""By the length of a signature in hexadecimal digits: the account chooses, no receipt says which."""


@reads_by_itself
def read_receipts(account: Account, call: ReceiptCall) -> Sequence[Receipt]:
    """See `ReceiptReader`. Inbound messages and the empty call that tries an address are left out."""
    fields = read_body(call)
    if not isinstance(fields, dict):
        raise ReceiptRefused("it is not about one message")
    if not fields:
        return []
    if account.receipts_secret:
        _check(account.receipts_secret, call, fields)
    receipt = _read(fields)
    return [receipt] if receipt else []


def _check(secret: str, call: ReceiptCall, fields: Mapping[str, Any]) -> None:
    scheme, _, token = call.headers.get("authorization", "").partition(" ")
    signed_at = _check_token(secret, token, call.body) if scheme == "Bearer" else _check_signature(secret, fields)
    if abs(call.received_at - signed_at) > REPLAY_WINDOW_SECONDS:
        raise ReceiptRefused("it was signed too long ago, or ahead of time")


def _check_token(secret: str, token: str, body: bytes) -> float:
    """Of the Messages API, which posts JSON; when it was signed."""
    if not body.strip():
        raise ReceiptRefused("its token covers a body, and it has none")
    try:
        claims = jwt.decode(
            token,
            secret,
            algorithms=["HS256"],
            issuer="Vonage",
            options={"require": ["iat", "payload_hash"], "verify_iat": False, "verify_aud": False},
        )
        signed_at, payload_hash = float(claims["iat"]), str(claims["payload_hash"])
    except (jwt.InvalidTokenError, ValueError, TypeError) as error:
        raise ReceiptRefused("its token is not made with this account's signature secret") from error
    if not hmac.compare_digest(payload_hash.lower().encode(), hashlib.sha256(body).hexdigest().encode()):
        raise ReceiptRefused("its token was made for another body")
    return signed_at


def _check_signature(secret: str, fields: Mapping[str, Any]) -> float:
    """Of the SMS API; when it was signed."""
    given = first_of(fields, "sig").lower().encode()
    if not given:
        raise ReceiptRefused("it has no signature")
    signed = "".join(f"&{name}={_plain(fields[name])}" for name in sorted(fields) if name != "sig")
    if not any(hmac.compare_digest(given, known.encode()) for known in _signatures(signed, secret, len(given))):
        raise ReceiptRefused("its signature is not made with this account's signature secret")
    timestamp = first_of(fields, "timestamp")
    if not timestamp.isdecimal() or len(timestamp) > 12:
        raise ReceiptRefused("it does not say when it was signed")
    return float(timestamp)


def _signatures(text: str, secret: str, length: int) -> Iterator[str]:
    """Those of this length: an HMAC, and Vonage's first way of signing, an MD5 hash with the secret at its end."""
    if length in _DIGESTS:
        yield hmac.new(secret.encode(), text.encode(), _DIGESTS[length]).hexdigest()
    if length == 32:
        yield hashlib.md5((text + secret).encode(), usedforsecurity=False).hexdigest()


def _plain(value: Any) -> str:
    return str(value).replace("&", "_").replace("=", "_")


def _read(fields: Mapping[str, Any]) -> Receipt | None:
    message, status = read_id(first_of(fields, "messageId", "message_uuid")), first_of(fields, "status")
    kind = STATUSES.get(status)
    if not message or kind is None:
        return None
    code, words = _error_of(fields)
    if kind is ReceiptKind.FAILED:
        kind, known = ERRORS.get(code, (kind, ""))
        words = words or known
    return Receipt(
        event_id=f"{message}:{status}:{code}",
        kind=kind,
        recipient=read_id(first_of(fields, "to" if "message_uuid" in fields else "msisdn")),
        delivery_id=read_id(first_of(fields, "client-ref", "client_ref")),
        provider_message_id=message,
        reason=reason_of(f"Vonage: {status}, code {code}: {words}".removesuffix(": ")) if code else "",
        occurred_at=_moment(first_of(fields, "message-timestamp", "timestamp")),
    )


def _error_of(fields: Mapping[str, Any]) -> tuple[str, str]:
    """Code and words; empty where nothing went wrong."""
    error = fields.get("error")
    if isinstance(error, dict):
        return read_id(first_of(error, "title", "code")), first_of(error, "detail")
    code = read_id(first_of(fields, "err-code"))
    return (code, "") if code != "0" else ("", "")


def _moment(text: str) -> float:
    """Both APIs write UTC: "2026-11-21 08:00:00 +0000", without the zone, or with a T and a Z."""
    try:
        moment = datetime.fromisoformat(text.replace(" +", "+"))
    except ValueError:
        return 0.0
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
