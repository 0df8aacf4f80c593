"""Which numbers and texts an SMS can have at all, and how long a message is worth sending."""

import re
import time
from typing import Final

from shared.domain.outcome import Refused
from shared.providers.contract import Content

_E164: Final = re.compile(r"\+[1-9][0-9]{6,14}")
_LONE_SURROGATE: Final = re.compile("[\ud800-\udfff]")


def refusal_of_number(identifier: str) -> Refused | None:
    """Targets are checked when they are stored; this keeps anything else out of requests."""
    return None if _E164.fullmatch(identifier) else Refused("not a phone number of the form +12025550123")


def refusal_of_text(content: Content, *, limit: int, provider: str) -> Refused | None:
    """`limit` in characters, as the provider states its own."""
    text: str = content.data["content"]
    if len(text) > limit:
        return Refused(f"the text has {len(text)} characters, {provider} allows {limit}")
    if _LONE_SURROGATE.search(text):
        return Refused("the text holds half of a surrogate pair, which no encoding can carry")
    return None


def seconds_left(content: Content) -> int:
    """To the end of the message's time to live; not positive when it is over."""
    return int(content.expires_at - time.time())
