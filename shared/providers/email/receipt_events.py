"""What the readers of mailers' receipts share: times, JSON, and what a reason may hold."""

import re
from datetime import datetime
from typing import Any, Final

from shared.providers.email.documents import read_document
from shared.providers.receipts import REPLAY_WINDOW_SECONDS, ReceiptCall, ReceiptRefused

DEAD_ADDRESS: Final = re.compile(r"\b5\.(1\.[1236]|2\.1)\b")
"""The enhanced codes (RFC 3463) of no such user or domain, moved, disabled; the same that end an address over SMTP."""


def check_age(call: ReceiptCall, signed_at: float, window_seconds: float = REPLAY_WINDOW_SECONDS) -> None:
    """Raises ReceiptRefused for a signature from another time than now."""
    if abs(call.received_at - signed_at) > window_seconds:
        raise ReceiptRefused("it was signed too long ago, or the clocks differ")


def unix_seconds(text: str) -> float:
    """Of digits. Raises ReceiptRefused."""
    if not re.fullmatch(r"\d{1,12}", text, re.ASCII):
        raise ReceiptRefused("its time is not one")
    return float(text)


def seconds_of(text: object) -> float:
    """Unix seconds of a time as ISO 8601 writes it; 0: none."""
    try:
        return datetime.fromisoformat(str(text)).timestamp()
    except ValueError:
        return 0.0


def parsed(body: bytes | str) -> Any:
    """Raises ReceiptRefused."""
    try:
        return read_document(body)
    except ValueError as error:
        raise ReceiptRefused("its body is not JSON") from error


def fields_of(document: object, *path: str) -> dict[str, Any]:
    """The object at this place; empty where there is none."""
    for name in path:
        document = document.get(name) if isinstance(document, dict) else None
    return document if isinstance(document, dict) else {}


def reason_of(*words: object) -> str:
    """What of these is said, each once."""
    return ": ".join(dict.fromkeys(str(word) for word in words if word))[:300]
