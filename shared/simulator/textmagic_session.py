"""What TextMagic checks of a call, and a call as it was taken: a session of messages."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Final
from urllib.parse import parse_qsl

from shared.domain.segments import count_segments
from shared.simulator.faults import Fate
from shared.simulator.wire.exchange import Request

LARGEST_PARTS: Final = 6
LARGEST_SESSION: Final = 1_000  # more phones become a bulk, which is worked off later

PHONE: Final = re.compile(r"[1-9]\d{6,14}", re.ASCII)


def fields_of(request: Request) -> dict[str, str]:
    """Of a form or of JSON; empty where it is neither."""
    if request.header(b"content-type").startswith("application/json"):
        try:
            document = json.loads(request.body)
        except (ValueError, RecursionError):
            document = None
        return {name: str(value) for name, value in document.items()} if isinstance(document, dict) else {}
    return dict(parse_qsl(request.body.decode("utf-8", "replace")))


def problems_of(fields: Mapping[str, str]) -> dict[str, str]:
    """By field, what is wrong with it."""
    problems = {}
    phones = fields.get("phones", "").split(",")
    if not fields.get("text"):
        problems["text"] = "This value should not be blank."
    elif count_segments(fields["text"]).parts > LARGEST_PARTS and fields.get("cutExtra") not in {"1", "true"}:
        problems["partsCount"] = f"The message has more than {LARGEST_PARTS} parts."
    if len(phones) > LARGEST_SESSION:
        problems["phones"] = "This simulator works off no bulks of more than 1000 phones."
    elif not all(map(PHONE.fullmatch, phones)):
        problems["phones"] = "Some phone numbers are not valid."
    if not fields.get("referenceId", "0").isdecimal():
        problems["referenceId"] = "This value should be a number."
    return problems


@dataclass(frozen=True, slots=True)
class Session:
    """A call as it was taken."""

    number: int
    phones: Sequence[str]  # with their plus
    fates: Sequence[Fate]
    text: str
    sender: str
    reference: str

    def messages(self) -> Iterator[dict[str, Any]]:
        for place, (phone, fate) in enumerate(zip(self.phones, self.fates, strict=True)):
            yield {
                "id": self.number + place,
                "sender": self.sender,
                "receiver": phone[1:],
                "text": self.text,
                "status": "f" if fate is Fate.UNDELIVERED else "d",
                "sessionId": self.number,
                "partsCount": count_segments(self.text).parts,
                "referenceId": self.reference or None,
            }

    def key(self) -> str:
        """Equal for copies: of what a phone would show, and the sender's own reference."""
        shown = f"{self.sender}\0{self.text}\0{self.reference}"
        return blake2b(shown.encode(), digest_size=8).hexdigest()

    def describe(self) -> dict[str, Any]:
        """What the caller is told of it."""
        is_one = len(self.phones) == 1
        return {
            "id": self.number,
            "href": f"/api/v2/{'messages' if is_one else 'sessions'}/{self.number}",
            "type": "message" if is_one else "session",
            "sessionId": None if is_one else self.number,
            "bulkId": None,
            "messageId": self.number if is_one else None,
            "scheduleId": None,
            "chatId": None,
        }
