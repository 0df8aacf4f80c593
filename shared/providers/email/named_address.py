"""`Name <address>` as APIs take it that write the header themselves: quoted where it must be, letters as they are."""

import re
from typing import Final

PLAIN_NAME: Final = re.compile(r"[\w!#$%&'*+/=?^`{|}~ -]*")
"""Of words that need no quotes, in any alphabet; dots and commas do."""


def named_address(name: str, address: str) -> str:
    """Without a name the bare address."""
    if not name:
        return address
    if PLAIN_NAME.fullmatch(name):
        return f"{name.strip()} <{address}>"
    quoted = re.sub(r'(["\\])', r"\\\1", name)
    return f'"{quoted}" <{address}>'
