"""What Telesign checks of a request, alone and in bulk, and what a phone gets of it."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final, NamedTuple

from shared.simulator.faults import Fate

LARGEST_TEXT: Final = 1600
LARGEST_BULK: Final = 1000
LARGEST_SESSION_ID: Final = 64
LARGEST_SENDER: Final = 20

NUMBER: Final = re.compile(r"[1-9][0-9]{6,14}")
TYPES: Final = frozenset({"OTP", "ARN", "MKT"})


class Problem(NamedTuple):
    status: int  # of HTTP
    code: int
    words: str


@dataclass(frozen=True, slots=True)
class Message:
    """As Telesign took it, alone or as one of a bulk."""

    id: str  # the reference; of a bulk, the same for all
    recipient: str
    reference: str | None  # the customer's: external id, or session id
    text: str
    sender: str
    fate: Fate

    @property
    def key(self) -> str:
        """Equal for copies: of what a phone would show."""
        return blake2b(f"{self.sender}\0{self.text}".encode(), digest_size=8).hexdigest()


def problem_of(fields: Mapping[str, str]) -> Problem | None:
    """The first thing that is wrong with a single request."""
    for name, code in (("phone_number", 12000), ("message", 12009), ("message_type", 12017)):
        if not fields.get(name):
            return Problem(400, code, f"Missing Required Parameter {name}")
    wrong = {
        "phone_number": (11000, not NUMBER.fullmatch(fields["phone_number"])),
        "message": (11009, len(fields["message"]) > LARGEST_TEXT),
        "message_type": (11017, fields["message_type"] not in TYPES),
        "sender_id": (11013, len(fields.get("sender_id", "")) > LARGEST_SENDER),
        "callback_url": (11004, not fields.get("callback_url", "http").startswith("http")),
    }
    for name, (code, is_wrong) in wrong.items():
        if is_wrong:
            return Problem(400, code, f"Invalid value for parameter {name}.")
    return None


def problem_of_bulk(fields: Mapping[str, str]) -> Problem | None:
    """The first thing that is wrong with a bulk, numbers apart that only carriers know."""
    recipients = read_recipients(fields.get("recipients", ""))
    if not fields.get("template"):
        return Problem(400, -10001, "Invalid Request: Missing parameter Parameter: Template")
    if not recipients:
        return Problem(400, -10002, "Empty recipients list")
    if len(recipients) > LARGEST_BULK:
        return Problem(400, -10003, "Max number of recipients exceeded")
    are_sayable = all(
        NUMBER.fullmatch(number) and len(session or "") <= LARGEST_SESSION_ID for number, session in recipients
    )
    if not are_sayable or len(fields["template"]) > LARGEST_TEXT:
        return Problem(400, -40006, "Bad Request")
    return None


def read_recipients(text: str) -> Sequence[tuple[str, str | None]]:
    """Numbers, each with its session id if it has one."""
    pairs = (recipient.partition(":") for recipient in text.split(",") if recipient)
    return [(number, session or None) for number, _, session in pairs]
