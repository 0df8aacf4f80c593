"""Telesign's delivery reports: JSON, signed over the body, in two headers that say the same."""

import json
from base64 import b64decode, b64encode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from hmac import digest
from typing import Any, Final

from shared.domain.segments import count_segments
from shared.simulator.faults import Fate
from shared.simulator.outgoing import OutgoingCall
from shared.simulator.telesign_message import Message

ENDINGS: Final[Mapping[Fate, tuple[int, str]]] = {
    Fate.UNDELIVERED: (207, "Error delivering SMS to handset (reason unknown)"),
    Fate.OPTED_OUT: (510, "Message blocked by subscriber action or request"),
    Fate.DEAD_ADDRESS: (507, "Invalid destination address"),
    Fate.REFUSED: (520, "Content sent is not allowed"),
}
"""Of messages that do not arrive."""


@dataclass(frozen=True, slots=True)
class DeliveryReport:
    document: Mapping[str, Any]

    def call(self, url: str, customer: str, key: str) -> OutgoingCall:
        body = json.dumps(self.document).encode()
        signature = f"TSA {customer}:{b64encode(digest(b64decode(key), body, 'sha256')).decode()}"
        headers = (
            ("content-type", "application/json"),
            ("authorization", signature),
            ("x-ts-authorization", signature),
        )
        return OutgoingCall(url, headers, body)


def delivery_reports(message: Message, *, is_bulk: bool) -> Iterator[DeliveryReport]:
    """In the order of the message's life."""
    for code, words in ((203, "Delivered to gateway"), ENDINGS.get(message.fate, (200, "Delivered to handset"))):
        document: dict[str, Any] = {
            "reference_id": message.id,
            "status": {"code": code, "description": words, "updated_on": now()},
            "submit_timestamp": now(),
        }
        if is_bulk:
            document |= {"errors": [], "sub_resource": "bulk_sms", "session_id": message.reference}
        else:
            parts = {"message_parts_count": count_segments(message.text).parts}
            document |= {"external_id": message.reference, "additional_info": parts}
        yield DeliveryReport(document)


def now() -> str:
    """RFC 3339, as in all of Telesign's documents."""
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
