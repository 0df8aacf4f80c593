"""Addresses judged by their form."""

import email_validator
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.contacts.addresses import _COMMON_EMAIL, NotAnAddress, is_sender_number, read_email, read_phone


@pytest.mark.parametrize(
    ("written", "stored"),
    [
        ("anna@example.com", "anna@example.com"),
        ("Anna.Smith+news@Example.COM", "anna.smith+news@example.com"),
        ("o'neil@mail.example.co.uk", "o'neil@mail.example.co.uk"),
        ("anna@intranet.local", "anna@intranet.local"),
        ("info@münchen.de", "info@xn--mnchen-3ya.de"),
        ("jürgen@example.de", "jürgen@example.de"),
    ],
)
def test_an_email_is_stored_in_one_form(written: str, stored: str) -> None:
    assert read_email(written) == stored


@pytest.mark.parametrize(
    "text",
    [
        "anna",
        "anna@",
        "@example.com",
        "anna@example",
        "anna..smith@example.com",
        ".anna@example.com",
        "anna@-example.com",
        "anna@exam_ple.com",
        "anna@example.c1",
        "anna smith@example.com",
        "anna@example.com\nBcc: other@example.com",
        f"{'a' * 65}@example.com",
        f"anna@{'a' * 64}.com",
        "Anna <anna@example.com>",
    ],
)
def test_what_is_no_email_is_refused_with_a_reason(text: str) -> None:
    with pytest.raises(NotAnAddress, match=r"\w"):
        read_email(text)


_pieces = st.text(alphabet="ab1.-_+'", min_size=1, max_size=12)


@given(local=_pieces, domain=_pieces, ending=st.sampled_from([".com", ".x", ".1a", ".de", "", "."]))
def test_the_quick_way_accepts_nothing_that_the_thorough_way_refuses(local: str, domain: str, ending: str) -> None:
    text = f"{local}@{domain}{ending}"
    if _COMMON_EMAIL.fullmatch(text):
        email_validator.validate_email(text, check_deliverability=False, strict=True)


@pytest.mark.parametrize(
    ("written", "stored"),
    [
        ("+4917012345678", "+4917012345678"),
        ("+49 170 / 123-45.678", "+4917012345678"),
        ("+1 (206) 555-0100", "+12065550100"),
        ("+88216123456", "+88216123456"),
        ("+44 (0)20 7183 8750", "+442071838750"),
        ("+39 06 1234 5678", "+390612345678"),  # Italy's zero belongs to the number
        ("+12025550191", "+12025550191"),  # a range that nobody is given
    ],
)
def test_a_phone_number_is_stored_as_e164(written: str, stored: str) -> None:
    assert read_phone(written) == stored


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("017012345678", "country code"),
        ("004917012345678", "country code"),
        ("+49170", "7 to 15 digits"),
        ("+4917012345678901", "7 to 15 digits"),
        ("+0123456789", "7 to 15 digits"),
        ("+49170x2345678", "7 to 15 digits"),
        ("+٤٩١٧٠١٢٣٤٥٦", "7 to 15 digits"),
        ("+2101234567", "no known country code"),
        ("+123456789", "too short or too long"),
        ("+1202555019", "too short or too long"),
        ("+120255501911", "too short or too long"),
        ("+52 1 55 1234 5678", "too short or too long"),  # Mexico's mobile prefix, gone since 2019
        ("+4420", "7 to 15 digits"),
        ("+1-800-FLOWERS", "7 to 15 digits"),
        ("+12025550191;ext=5", "7 to 15 digits"),
        ("+1 202 555 0191 x5", "7 to 15 digits"),
        ("+１２０２５５５０１９１", "7 to 15 digits"),  # noqa: RUF001  # wide digits
    ],
)
def test_what_is_no_phone_number_is_refused_with_a_reason(text: str, reason: str) -> None:
    with pytest.raises(NotAnAddress, match=reason):
        read_phone(text)


@pytest.mark.parametrize(("text", "is_one"), [("+123456789", True), ("+2101234567", False), ("12065550100", False)])
def test_a_sender_needs_no_more_than_a_known_country(text: str, is_one: bool) -> None:  # noqa: FBT001  # a table's column
    assert is_sender_number(text) is is_one


@given(st.sampled_from(["1", "44", "49", "39", "52", "91", "225", "882"]), st.integers(0, 10**11))
def test_what_is_stored_is_read_as_itself(country: str, national: int) -> None:
    try:
        stored = read_phone(f"+{country}{national}")
    except NotAnAddress:
        return
    assert read_phone(stored) == stored
