"""MSG91's webhooks: reports of one request or many. Unsigned; the address they are posted to is the secret.

Three generations are in use: a form whose `data` is JSON (the second), a flat object for each number (the third), and
objects whose fields the customer names after MSG91's own (the newest). Read: msg91.com/help "Webhook" (November 2026).
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from shared.domain.receipt import Receipt, ReceiptKind
from shared.providers.contract import Account
from shared.providers.receipts import ReceiptCall, ReceiptRefused, reads_by_itself
from shared.providers.sms.receipt_bodies import first_of, read_body

STATUSES: Final[Mapping[str, ReceiptKind]] = {
    "1": ReceiptKind.DELIVERED,
    "2": ReceiptKind.FAILED,
    "9": ReceiptKind.UNSUBSCRIBED,  # "NDNC Number": on India's list of those who want no promotion
    "16": ReceiptKind.FAILED,  # "Rejected": template or sender, by the operators' registry (DLT)
    "17": ReceiptKind.UNSUBSCRIBED,  # "Blocked Number"
    "25": ReceiptKind.FAILED,  # "Rejected"
    "delivered": ReceiptKind.DELIVERED,
    "failed": ReceiptKind.FAILED,
    "undelivered": ReceiptKind.FAILED,
    "expired": ReceiptKind.FAILED,
    "rejected": ReceiptKind.FAILED,
    "ndnc number": ReceiptKind.UNSUBSCRIBED,
    "ndnc": ReceiptKind.UNSUBSCRIBED,
    "dnd": ReceiptKind.UNSUBSCRIBED,
    "blocked number": ReceiptKind.UNSUBSCRIBED,
    "blocked": ReceiptKind.UNSUBSCRIBED,
}
"""By number or by word in small letters. Others are steps on the way, as far as we know."""

_REQUEST, _STATUS = ("requestId", "request_id"), ("status", "desc")
_NUMBER = ("number", "telNum", "mobile")
_WORDS, _DELIVERY = ("failedReason", "failureReason", "desc"), ("CRQID", "crqid")
_SHARED: Final = tuple(dict.fromkeys((*_REQUEST, *_STATUS, *_NUMBER, *_WORDS, *_DELIVERY)))
"""What a request may say of all its reports."""


@reads_by_itself
def read_receipts(account: Account, call: ReceiptCall) -> Sequence[Receipt]:
    """See `ReceiptReader`. A trial call with nothing in it is no receipt."""
    del account  # nothing is signed
    return [receipt for report in _reports(read_body(call)) if (receipt := _receipt_of(report)) is not None]


def _reports(value: Any, depth: int = 5) -> Iterator[Mapping[str, Any]]:
    """One for each number, with what its request has for all of them. Objects may stand as text within others.

    `depth`: of data, its list, a request, its reports, a report.
    """
    value = _unpacked(value)
    if depth == 0:
        raise ReceiptRefused("its data is nested too deeply")
    if isinstance(value, list):
        for item in value:
            yield from _reports(item, depth - 1)
    elif isinstance(value, Mapping):
        inner = _unpacked(value.get("data") or value.get("report"))
        if isinstance(inner, (Mapping, list)):
            # not all that it has: whoever sends much of it with many reports would have each of them carry it
            shared = {name: value[name] for name in _SHARED if name in value}
            for report in _reports(inner, depth - 1):
                yield {**shared, **report}
        else:
            yield value


def _unpacked(value: Any) -> Any:
    if not isinstance(value, str) or not value.startswith(("{", "[")):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError) as error:
        raise ReceiptRefused("its data is no JSON") from error


def _receipt_of(report: Mapping[str, Any]) -> Receipt | None:
    request, number = first_of(report, *_REQUEST), first_of(report, *_NUMBER)
    status = first_of(report, *_STATUS)
    if not request or not number or not status:
        return None
    kind = STATUSES.get(status.lower(), ReceiptKind.PENDING)
    words = first_of(report, *_WORDS)
    return Receipt(
        event_id=f"{request}:{number}:{status}",
        kind=kind,
        recipient=number,
        delivery_id=first_of(report, *_DELIVERY),
        provider_message_id=request,
        reason=f"MSG91: status {status}, {words}"[:300] if kind is not ReceiptKind.DELIVERED else "",
    )
