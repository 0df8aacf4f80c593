"""What providers answer is taken as it comes: nothing of it raises, and nothing of it is beyond storing."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.providers.sms.forms import callback_for_delivery, form, read_id, read_number, read_object, reason_of


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (21211, 21211),
        ("21211", 21211),
        ("-40006", -40006),
        (-40006, -40006),
        ("--5", 0),
        ("-", 0),
        ("", 0),
        (None, 0),
        (True, 0),
        (2.5, 0),
        ("٣", 0),
        ("9" * 5000, 0),
        ([290], 0),
    ],
)
def test_numbers(value: object, number: int) -> None:
    assert read_number(value) == number


@pytest.mark.parametrize("value", ["SM0123", "1700000000000-7", "+12025550123", "aaaaaaaa-bbbb", "x" * 100])
def test_ids(value: str) -> None:
    assert read_id(value) == value


@pytest.mark.parametrize("value", ["", "a b", "a\0", "\ud800", "ü", "a\n", "x" * 101, None, 7, ["a"]])
def test_what_is_no_id(value: object) -> None:
    assert read_id(value) == ""


@given(st.text())
def test_words_can_be_stored(text: str) -> None:
    reason = reason_of(text)

    assert "\0" not in reason
    assert len(reason) <= 300
    assert reason.encode().decode() == reason


@given(
    st.binary()
    | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(lambda doc: json.dumps(doc).encode())
)
def test_a_reply_that_is_no_object_is_an_empty_one(body: bytes) -> None:
    assert isinstance(read_object(body), dict)


def test_a_reply_nested_beyond_reading_is_an_empty_object() -> None:
    assert read_object(b"[" * 60_000) == {}


def test_a_form_says_what_there_is() -> None:
    assert form({"a": "x y&z=ü", "b": "", "c": None, "d": 0}) == b"a=x+y%26z%3D%C3%BC&d=0"


@pytest.mark.parametrize(
    ("url", "extended"),
    [
        ("", ""),
        ("https://a.example/r", "https://a.example/r?tidings_delivery="),
        ("https://a.example/r?x=1", "https://a.example/r?x=1&tidings_delivery="),
    ],
)
def test_a_callback_has_room_for_the_delivery(url: str, extended: str) -> None:
    assert callback_for_delivery(url) == extended
