"""Telesign's delivery reports: one for each step of a message, signed over the body with the account's API key."""

import hmac
import json
from base64 import b64decode, b64encode
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from shared.domain.receipt import Receipt, ReceiptKind
from shared.providers.contract import Account
from shared.providers.receipts import ReceiptCall, ReceiptRefused, reads_by_itself
from shared.providers.sms.forms import read_id, read_number, reason_of

# status.code -> what it means; reports bring its words. Sources: the OpenAPI document of "Engage SMS API" and
# developer.telesign.com/enterprise/docs/all-status-and-error-codes, read November 2026.
STATUSES: Final[Mapping[int, ReceiptKind]] = {
    200: ReceiptKind.DELIVERED,  # "Delivered to handset"
    201: ReceiptKind.PENDING,  # "Suspicious activity detected", nothing of its delivery
    203: ReceiptKind.PENDING,  # "Delivered to gateway"
    207: ReceiptKind.FAILED,  # "Error delivering SMS to handset (reason unknown)"
    210: ReceiptKind.FAILED,  # "Temporary phone error"
    211: ReceiptKind.BOUNCED,  # "Permanent phone error"
    220: ReceiptKind.BOUNCED,  # "Gateway/network cannot route message"
    221: ReceiptKind.FAILED,  # "Message expired before delivery"
    222: ReceiptKind.BOUNCED,  # "SMS not supported" by phone, carrier, plan or user
    229: ReceiptKind.FAILED,  # blocked, as the account has asked for it
    230: ReceiptKind.FAILED,  # the same
    231: ReceiptKind.FAILED,  # "Invalid/unsupported" content
    237: ReceiptKind.FAILED,  # "Message blocked in requested country"
    238: ReceiptKind.FAILED,  # "Destination blocked by prefix"
    250: ReceiptKind.PENDING,  # "Final status unknown"
    251: ReceiptKind.PENDING,  # "Final confirmation of delivery to handset was not received"
    290: ReceiptKind.PENDING,  # "Message in progress"
    292: ReceiptKind.PENDING,  # "Queued by gateway"
    293: ReceiptKind.PENDING,  # "Bulk request accepted"
    295: ReceiptKind.PENDING,  # "Status delayed"
    500: ReceiptKind.FAILED,  # "Transaction not attempted"
    501: ReceiptKind.FAILED,  # "Not authorized"
    502: ReceiptKind.FAILED,  # "Campaign error"
    503: ReceiptKind.FAILED,  # "Carrier rejected - temporary problem"
    504: ReceiptKind.FAILED,  # "Carrier rejected - permanent error"
    505: ReceiptKind.FAILED,  # "Error on gateway - temporary error"
    506: ReceiptKind.FAILED,  # "Error on gateway - permanent error"
    507: ReceiptKind.BOUNCED,  # "Invalid destination address"
    508: ReceiptKind.FAILED,  # "Invalid source address"
    509: ReceiptKind.FAILED,  # "Parameters problem"
    510: ReceiptKind.UNSUBSCRIBED,  # "Message blocked by subscriber action or request"
    511: ReceiptKind.FAILED,  # "Subscriber low on credit"
    512: ReceiptKind.FAILED,  # "Roaming error"
    513: ReceiptKind.BOUNCED,  # "Mobile number portability error": unreachable
    514: ReceiptKind.FAILED,  # "Subscriber absent"
    515: ReceiptKind.FAILED,  # "Suspected spam"
    517: ReceiptKind.FAILED,  # "Selected DLT details for India not supported"
    520: ReceiptKind.FAILED,  # "Content sent is not allowed"
    521: ReceiptKind.FAILED,  # "Requested Sender ID is not allowed for destination"
}


@reads_by_itself
def read_receipts(account: Account, call: ReceiptCall) -> Sequence[Receipt]:
    """See `ReceiptReader`. No time is signed, so a replay is known by its event alone.

    A call is about one message; Telesign speaks of compound ones too, which would be lists of the same.
    """
    _check_signature(account, call)
    try:
        document = json.loads(call.body)
    except (ValueError, RecursionError) as error:
        raise ReceiptRefused("its body is not JSON") from error
    reports = document if isinstance(document, list) else [document]
    if not all(isinstance(report, dict) and isinstance(report.get("status"), dict) for report in reports):
        raise ReceiptRefused("it has no status")
    return [receipt for report in reports if (receipt := _read(report))]


def _check_signature(account: Account, call: ReceiptCall) -> None:
    """`TSA <customer id>:<signature>`, in either of two headers."""
    customer = str(account.credentials.get("customerId", ""))
    try:
        key = b64decode(str(account.credentials.get("apiKey", "")), validate=True)
    except ValueError as error:
        raise ReceiptRefused("the account's API key is not in base64, so nothing is signed with it") from error
    if not key:
        raise ReceiptRefused("the account has no API key, so anybody could have signed it")
    expected = f"TSA {customer}:{b64encode(hmac.digest(key, call.body, 'sha256')).decode()}"
    if not any(hmac.compare_digest(given.encode(), expected.encode()) for given in _signatures(call.headers)):
        raise ReceiptRefused("it is not signed with this account's API key")


def _signatures(headers: Mapping[str, str]) -> Iterator[str]:
    for name in ("authorization", "x-ts-authorization"):
        if name in headers:
            yield headers[name]


def _read(report: Mapping[str, Any]) -> Receipt | None:
    """None: a step that we do not know, or of no message that has a name."""
    status: Mapping[str, Any] = report["status"]
    code, words = read_number(status.get("code")), str(status.get("description") or "")
    kind = STATUSES.get(code)
    reference, external, session = (read_id(report.get(name)) for name in ("reference_id", "external_id", "session_id"))
    delivery = session or external  # of bulks, whose reference is the same for all
    if kind is None or not (reference or delivery):
        return None
    return Receipt(
        event_id=f"{reference}:{delivery}:{code}",
        kind=kind,
        recipient="",
        delivery_id=delivery,
        provider_message_id=reference,
        reason=reason_of(f"Telesign: code {code}: {words}") if code not in {200, 203, 290, 292, 293} else "",
        occurred_at=_moment(str(status.get("updated_on") or "")),
    )


def _moment(text: str) -> float:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return 0.0
    return moment.timestamp() if moment.tzinfo else 0.0
