"""Names beside addresses, read back by a parser that is not ours."""

from email.utils import parseaddr

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.providers.email.named_address import named_address

ADDRESS = "news@example.com"


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("", ADDRESS),
        ("News", f"News <{ADDRESS}>"),
        ("Müller & Söhne", f"Müller & Söhne <{ADDRESS}>"),
        ("Acme, Inc.", f'"Acme, Inc." <{ADDRESS}>'),
        ('The "News" \\o/', f'"The \\"News\\" \\\\o/" <{ADDRESS}>'),
        ("<victim@example.com>", f'"<victim@example.com>" <{ADDRESS}>'),
    ],
)
def test_quotes_what_must_be(name: str, written: str) -> None:
    assert named_address(name, ADDRESS) == written


@given(st.text(st.characters(categories=("L", "N", "P", "S", "Zs"), codec="utf-8"), max_size=40))
def test_no_name_becomes_an_address(name: str) -> None:
    """Spaces at the ends, and runs of them, may be lost: they are in every header."""
    shown, address = parseaddr(named_address(name, ADDRESS))

    assert address == ADDRESS
    assert shown.split() == name.split()
