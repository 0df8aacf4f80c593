"""How many messages a text becomes on its way to a phone: GSM 7 bit or UCS-2, whole or in parts (3GPP 23.038, 23.040).

This is for previews and limits; what a provider bills is what the provider counts.
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Encoding(StrEnum):
    GSM_7 = "GSM-7"
    UCS_2 = "UCS-2"


@dataclass(frozen=True, slots=True)
class Segments:
    encoding: Encoding
    units: int  # septets of GSM-7, or 16-bit units of UCS-2
    parts: int  # messages that are sent and billed; 1 for an empty text


BASIC_ALPHABET: Final = (
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
EXTENSION: Final = "\f^{}\\[~]|€"
"""Each is written as ESC and another septet."""

_WHOLE: Final = {Encoding.GSM_7: 160, Encoding.UCS_2: 70}
_PART: Final = {Encoding.GSM_7: 153, Encoding.UCS_2: 67}  # the rest is a header that numbers the parts: 6 octets

_IS_GSM_7 = re.compile(f"[{re.escape(BASIC_ALPHABET + EXTENSION)}]*")
_TWO_UNITS: Final = {
    Encoding.GSM_7: re.compile(f"[{re.escape(EXTENSION)}]"),
    Encoding.UCS_2: re.compile("[\U00010000-\U0010ffff]"),
}

_LEAD = "\ud800"
"""Stands for the first unit of two: half of a surrogate pair, which no text of ours holds alone."""


def count_segments(text: str) -> Segments:
    encoding = _encoding_of(text)
    units = _units_of(text, encoding)
    return Segments(encoding, len(units), len(_split(units, encoding)))


def split_segments(text: str) -> list[str]:
    """The text of each part, as a phone shows it that puts nothing together."""
    encoding = _encoding_of(text)
    return [part.replace(_LEAD, "") for part in _split(_units_of(text, encoding), encoding)]


def _encoding_of(text: str) -> Encoding:
    """A single character outside the alphabet makes the whole text UCS-2."""
    return Encoding.GSM_7 if _IS_GSM_7.fullmatch(text) else Encoding.UCS_2


def _units_of(text: str, encoding: Encoding) -> str:
    """One character a unit."""
    return _TWO_UNITS[encoding].sub(rf"{_LEAD}\g<0>", text)


def _split(units: str, encoding: Encoding) -> list[str]:
    """Each part takes all it can hold, but never half of what is written with two units."""
    if len(units) <= _WHOLE[encoding]:
        return [units]
    parts, start = [], 0
    while start < len(units):
        end = start + _PART[encoding]
        if units[end - 1 : end] == _LEAD:
            end -= 1
        parts.append(units[start:end])
        start = end
    return parts
