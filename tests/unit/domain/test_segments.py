"""Counting SMS segments: the alphabets and limits of 3GPP 23.038, and what holds for every text."""

from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.segments import BASIC_ALPHABET, EXTENSION, Encoding, Segments, count_segments, split_segments

GSM_7, UCS_2 = Encoding.GSM_7, Encoding.UCS_2
FAMILY = "👨‍👩‍👧"  # three pictures of two units each, two joiners


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", Segments(GSM_7, 0, 1)),
        ("a" * 160, Segments(GSM_7, 160, 1)),
        ("a" * 161, Segments(GSM_7, 161, 2)),
        ("a" * 306, Segments(GSM_7, 306, 2)),
        ("a" * 307, Segments(GSM_7, 307, 3)),
        ("a" * 459, Segments(GSM_7, 459, 3)),
        ("a" * 612, Segments(GSM_7, 612, 4)),
        ("a" * 1530, Segments(GSM_7, 1530, 10)),
        ("€" * 80, Segments(GSM_7, 160, 1)),
        ("€" * 81, Segments(GSM_7, 162, 2)),
        ("€" * 152, Segments(GSM_7, 304, 2)),  # 76 to a part: the 153rd septet cannot hold half of one
        ("€" * 153, Segments(GSM_7, 306, 3)),  # where 306 / 153 says 2
        ("a" * 152 + "{" + "a" * 152, Segments(GSM_7, 306, 3)),
        ("a" * 151 + "{" + "a" * 153, Segments(GSM_7, 306, 2)),
        ("ж" * 70, Segments(UCS_2, 70, 1)),
        ("ж" * 71, Segments(UCS_2, 71, 2)),
        ("ж" * 134, Segments(UCS_2, 134, 2)),
        ("ж" * 135, Segments(UCS_2, 135, 3)),
        ("😀" * 35, Segments(UCS_2, 70, 1)),
        ("😀" * 36, Segments(UCS_2, 72, 2)),
        ("😀" * 67, Segments(UCS_2, 134, 3)),  # 33 to a part: the 67th unit cannot hold half of one
        (FAMILY, Segments(UCS_2, 8, 1)),
        ("a" * 70 + "ж", Segments(UCS_2, 71, 2)),  # one letter makes all of it UCS-2
    ],
    ids=lambda value: ascii(value[:12]) + f"x{len(value)}" if isinstance(value, str) else "",
)
def test_published_vectors(text: str, expected: Segments) -> None:
    assert count_segments(text) == expected


def test_the_alphabet_is_that_of_the_standard() -> None:
    """128 places, of which one is ESC."""
    assert len(set(BASIC_ALPHABET)) == 127
    assert count_segments(BASIC_ALPHABET) == Segments(GSM_7, 127, 1)
    assert count_segments(EXTENSION) == Segments(GSM_7, 20, 1)


@pytest.mark.parametrize("character", ["`", "’", "“", "–", "\u00a0", "ç", "á", "\t", "\x1b", "·"])  # noqa: RUF001  # the usual surprises
def test_what_looks_like_the_alphabet_and_is_not(character: str) -> None:
    assert count_segments(f"plain {character}").encoding is UCS_2


def test_parts_as_a_phone_shows_them() -> None:
    assert split_segments("a" * 152 + "€bc") == ["a" * 152 + "€bc"]
    assert split_segments("a" * 152 + "€" + "b" * 10) == ["a" * 152, "€" + "b" * 10]
    assert split_segments("ж" * 66 + "😀" + "ж" * 4) == ["ж" * 66, "😀жжжж"]


WIDE = st.text(st.characters(exclude_categories=["Cs"]), max_size=300)
GSM = st.text(BASIC_ALPHABET + EXTENSION, max_size=500)


@given(st.one_of(WIDE, GSM))
def test_parts_hold_the_whole_text_and_fit(text: str) -> None:
    counted, parts = count_segments(text), split_segments(text)

    assert "".join(parts) == text
    assert counted.parts == len(parts)
    if len(parts) > 1:
        largest = 153 if counted.encoding is GSM_7 else 67
        sizes = [_size(part, counted.encoding) for part in parts]
        assert max(sizes) <= largest
        assert min(sizes[:-1]) >= largest - 1  # greedy: only half of a pair may be missing
        assert ceil(counted.units / largest) <= counted.parts


@given(WIDE)
def test_ucs_2_units_are_those_of_utf_16(text: str) -> None:
    counted = count_segments(text + "ж")
    assert counted.units == len((text + "ж").encode("utf-16-le")) // 2


def _size(part: str, encoding: Encoding) -> int:
    if encoding is UCS_2:
        return len(part.encode("utf-16-le")) // 2
    return len(part) + sum(character in EXTENSION for character in part)
