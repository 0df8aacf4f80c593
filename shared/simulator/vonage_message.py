"""What Vonage checks of a message, and what a phone gets of it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

from shared.domain.segments import Encoding, count_segments
from shared.simulator.faults import Fate

LARGEST_TEXT: Final = 3200
LARGEST_REFERENCE: Final = 100
LARGEST_CALLBACK: Final = 100
SHORTEST_TTL, LONGEST_TTL = 20_000, 604_800_000  # milliseconds

NUMBER: Final = re.compile(r"[1-9][0-9]{6,14}")
TTL: Final = re.compile(r"[0-9]{1,12}")
UNICODE_WHOLE, UNICODE_PART = 70, 67  # 16-bit units of a text in one message, and of a part of a longer one


@dataclass(frozen=True, slots=True)
class Message:
    """As Vonage took it."""

    fields: Mapping[str, str]
    fate: Fate

    @property
    def to(self) -> str:
        return self.fields["to"]

    @property
    def recipient(self) -> str:
        return f"+{self.to}"

    @property
    def reference(self) -> str | None:
        return self.fields.get("client-ref")

    @property
    def is_unicode(self) -> bool:
        return self.fields.get("type") == "unicode"

    @property
    def text(self) -> str:
        """What arrives: sent as `text`, characters that GSM 7 bit lacks are damaged."""
        text = self.fields["text"]
        if self.is_unicode or count_segments(text).encoding is Encoding.GSM_7:
            return text
        return "".join(letter if count_segments(letter).encoding is Encoding.GSM_7 else "?" for letter in text)

    @property
    def parts(self) -> int:
        units = len(self.text.encode("utf-16-le")) // 2
        if not self.is_unicode:
            return count_segments(self.text).parts
        return 1 if units <= UNICODE_WHOLE else -(-units // UNICODE_PART)

    @property
    def key(self) -> str:
        """Equal for copies: of what a phone would show."""
        return blake2b(f"{self.fields['from']}\0{self.text}".encode(), digest_size=8).hexdigest()

    def taken(self, part: str) -> dict[str, str]:
        """What is said of a part that was taken."""
        said = {
            "to": self.to,
            "message-id": part,
            "status": "0",
            "remaining-balance": "15.53590000",
            "message-price": "0.03330000",
            "network": "310004",
        }
        return said if self.reference is None else {**said, "client-ref": self.reference}


def problem_of(fields: Mapping[str, str]) -> tuple[str, str] | None:  # noqa: PLR0911  # one for each check
    """The first thing that is wrong: status and words."""
    for name in ("to", "from", "text"):
        if not fields.get(name):
            return "2", f"Missing {name} param"
    if not NUMBER.fullmatch(fields["to"]):
        return "3", "Invalid value for parameter: to"
    if fields.get("type", "text") not in {"text", "unicode"}:
        return "3", "Invalid value for parameter: type"
    ttl = fields.get("ttl", "259200000")
    if not TTL.fullmatch(ttl) or not SHORTEST_TTL <= int(ttl) <= LONGEST_TTL:
        return "3", "Invalid value for parameter: ttl"
    if len(fields.get("client-ref", "")) > LARGEST_REFERENCE:
        return "3", "Invalid value for parameter: client-ref"
    if len(fields["text"]) > LARGEST_TEXT:
        return "12", "Message too long"
    if len(callback := fields.get("callback", "http")) > LARGEST_CALLBACK or not callback.startswith("http"):
        return "23", "Invalid callback URL"
    return None
