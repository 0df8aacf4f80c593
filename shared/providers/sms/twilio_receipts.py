"""Twilio's status callbacks: a form for each step of a message, signed with the account's token."""

import hmac
import re
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from typing import Any, Final
from urllib.parse import parse_qs, parse_qsl, urlsplit

from shared.domain.receipt import Receipt, ReceiptKind
from shared.providers.contract import Account
from shared.providers.receipts import ReceiptCall, ReceiptRefused, reads_by_itself
from shared.providers.sms.forms import DELIVERY, read_id, read_number, read_object
from shared.providers.sms.receipt_bodies import MAX_PARTS

# MessageStatus -> what it means. Source: twilio_api_v2010.json, "message_enum_status", April 2026. Inbound messages
# ("receiving", "received") are not about ours.
STATUSES: Final[Mapping[str, ReceiptKind]] = {
    "accepted": ReceiptKind.PENDING,
    "scheduled": ReceiptKind.PENDING,
    "queued": ReceiptKind.PENDING,
    "sending": ReceiptKind.PENDING,
    "sent": ReceiptKind.PENDING,  # the carrier has it
    "delivered": ReceiptKind.DELIVERED,
    "read": ReceiptKind.DELIVERED,
    "undelivered": ReceiptKind.FAILED,
    "failed": ReceiptKind.FAILED,
    "canceled": ReceiptKind.FAILED,
    "partially_delivered": ReceiptKind.FAILED,
}

# ErrorCode of what failed -> what it says of the address, and in words, which callbacks lack. Source: Twilio's error
# dictionary (twilio.com/docs/api/errors), read 2026-11. Codes that are not here say nothing of the address.
ERRORS: Final[Mapping[int, tuple[ReceiptKind, str]]] = {
    21211: (ReceiptKind.BOUNCED, "invalid number"),
    21408: (ReceiptKind.FAILED, "region not enabled"),
    21610: (ReceiptKind.UNSUBSCRIBED, "opted out"),
    21614: (ReceiptKind.BOUNCED, "not a mobile number"),
    30001: (ReceiptKind.FAILED, "queue overflow"),
    30002: (ReceiptKind.FAILED, "account suspended"),
    30003: (ReceiptKind.FAILED, "unreachable destination handset"),
    30004: (ReceiptKind.UNSUBSCRIBED, "message blocked: the number is barred from receiving this"),
    30005: (ReceiptKind.BOUNCED, "unknown destination handset"),
    30006: (ReceiptKind.BOUNCED, "landline or unreachable carrier"),
    30007: (ReceiptKind.FAILED, "message filtered"),
    30008: (ReceiptKind.FAILED, "unknown error"),
    30017: (ReceiptKind.FAILED, "carrier network congestion"),
    30018: (ReceiptKind.FAILED, "destination carrier requires sender ID pre-registration"),
    30019: (ReceiptKind.FAILED, "content size exceeds carrier limit"),
    30020: (ReceiptKind.FAILED, "internal failure"),
    30021: (ReceiptKind.FAILED, "internal failure"),
    30022: (ReceiptKind.FAILED, "10DLC: rate limit exceeded"),
    30023: (ReceiptKind.FAILED, "10DLC: daily message cap reached"),
    30024: (ReceiptKind.FAILED, "sender ID not provisioned on the carrier"),
    30027: (ReceiptKind.FAILED, "10DLC: T-Mobile daily message limit reached"),
    30032: (ReceiptKind.FAILED, "toll-free number not verified"),
    30033: (ReceiptKind.FAILED, "10DLC: campaign suspended"),
    30034: (ReceiptKind.FAILED, "10DLC: message from an unregistered number"),
    30035: (ReceiptKind.FAILED, "10DLC: number being configured"),
    30410: (ReceiptKind.FAILED, "provider timeout: may have arrived, Twilio does not try again"),
    30450: (ReceiptKind.FAILED, "message temporarily blocked"),
}

ALGORITHMS: Final = {"HMAC_SHA1": "sha1", "HMAC_SHA256": "sha256"}

_PORT: Final = re.compile(r":\d+$")


@reads_by_itself
def read_receipts(account: Account, call: ReceiptCall) -> Sequence[Receipt]:
    """See `ReceiptReader`. No time is signed, so a replay is known by its event alone."""
    is_form = call.headers.get("content-type", "").startswith("application/x-www-form-urlencoded")
    fields = _fields_in(call.body) if is_form else []
    _check_signature(account, call, fields if is_form else None)
    receipt = _read(dict(fields) if is_form else read_object(call.body), call.url)
    return [receipt] if receipt else []


def _fields_in(form: bytes) -> list[tuple[str, str]]:
    try:
        return parse_qsl(form.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=MAX_PARTS)
    except ValueError as error:
        raise ReceiptRefused("it has too many fields") from error


def _check_signature(account: Account, call: ReceiptCall, fields: Sequence[tuple[str, str]] | None) -> None:
    """`fields`: of a form; None: the address carries a hash of the body."""
    given = call.headers.get("x-twilio-signature", "").encode()
    if not given:
        raise ReceiptRefused("it has no X-Twilio-Signature")
    if fields is None and not _has_hash_of(call.body, call.url):
        raise ReceiptRefused("its body is no form, and bodySHA256 is not its hash")
    algorithm = _algorithm_of(call.headers.get("x-twilio-webhooks-signature-settings", ""))
    values = "".join(name + value for name, value in sorted(set(fields or ())))
    expected = [
        b64encode(hmac.digest(key, (url + values).encode(), algorithm))
        for key in _keys_of(account)
        for url in _spellings(call.url)
    ]
    if not any(hmac.compare_digest(given, signature) for signature in expected):
        raise ReceiptRefused("its signature is not made with this account's token")


def _keys_of(account: Account) -> Iterator[bytes]:
    """The secret of a shared key, which SHA-256 goes with, where we were told one; and the account's token."""
    for secret in (account.receipts_secret, account.credentials.get("authToken")):
        if secret:
            yield str(secret).encode()


def _algorithm_of(settings: str) -> str:
    """From "key=ID,algorithm=HMAC_SHA256"; SHA-1 where nothing is said."""
    named = dict(part.strip().partition("=")[::2] for part in settings.split(","))
    algorithm = ALGORITHMS.get(named.get("algorithm") or "HMAC_SHA1")
    if algorithm is None:
        raise ReceiptRefused("it is signed with an algorithm we do not know")
    return algorithm


def _has_hash_of(body: bytes, url: str) -> bool:
    (given,) = parse_qs(urlsplit(url).query).get("bodySHA256", [""])[:1]
    return hmac.compare_digest(given.encode(), sha256(body).hexdigest().encode())


def _spellings(url: str) -> Iterator[str]:
    """With and without the port: Twilio's own validator tries both, as its senders are "inconsistent"."""
    parts = urlsplit(url)
    without_port, had_port = _PORT.subn("", parts.netloc)
    other = without_port if had_port else f"{without_port}:{443 if parts.scheme == 'https' else 80}"
    yield url
    yield parts._replace(netloc=other).geturl()


def _read(fields: Mapping[str, Any], url: str) -> Receipt | None:
    sid, status = read_id(fields.get("MessageSid")), str(fields.get("MessageStatus") or "")
    if not sid or not status:
        raise ReceiptRefused("it names no message or no status")
    kind = STATUSES.get(status)
    if kind is None:
        return None
    code, words = read_number(fields.get("ErrorCode")), ""
    if kind is ReceiptKind.FAILED:
        kind, words = ERRORS.get(code, (kind, ""))
    return Receipt(
        event_id=f"{sid}:{status}:{code}",
        kind=kind,
        recipient=read_id(fields.get("To")),
        delivery_id=parse_qs(urlsplit(url).query).get(DELIVERY, [""])[-1],
        provider_message_id=sid,
        reason=f"Twilio: {status}, code {code}: {words}".removesuffix(": ") if code else "",
    )
