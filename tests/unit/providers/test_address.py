"""Addresses: what is taken, how it is written, what is refused."""

import pytest

from shared.providers.email.address import read_address


@pytest.mark.parametrize(
    ("identifier", "text", "needs_utf8"),
    [
        ("anna@example.com", "anna@example.com", False),
        ("anna.o'neil+tag@mail.example.com", "anna.o'neil+tag@mail.example.com", False),
        ("root@localhost", "root@localhost", False),
        ("anna@bücher.example", "anna@xn--bcher-kva.example", False),
        ("jörg@example.com", "jörg@example.com", True),
        ("用户@例子.广告", "用户@xn--fsqu00a.xn--4rr70v", True),
    ],
)
def test_addresses(identifier: str, text: str, *, needs_utf8: bool) -> None:
    assert read_address(identifier) == (text, needs_utf8)


@pytest.mark.parametrize(
    "identifier",
    [
        "",
        "anna",
        "anna@",
        "anna@" + "é." * 1_000,
        "@example.com",
        "anna@example.com\n",
        "anna@example.com\r\nDATA",
        "anna@exa mple.com",
        "anna@@example.com",
        "anna@-example.com",
        "anna@example..com",
        ".anna@example.com",
        "anna.@example.com",
        "an..na@example.com",
        "anna@example.com>",
        "<anna@example.com>",
        "Anna <anna@example.com>",
        "anna@example.com,bert@example.com",
        '"anna b"@example.com',
        "anna\u2028@example.com",
        "a@" + "b." * 126 + "com",
    ],
    ids=ascii,
)
def test_no_addresses(identifier: str) -> None:
    with pytest.raises(ValueError, match="not an e-mail address") as error:
        read_address(identifier)
    assert "anna" not in str(error.value)
