"""Files are read in the encoding that people's programs save."""

import io

import pytest

from shared.domain.contacts import encodings
from shared.domain.contacts.encodings import ENCODINGS, Encoding, detect_encoding


@pytest.mark.parametrize(
    ("content", "encoding"),
    [
        (b"", "utf-8"),
        (b"email,name\na@example.com,Anna\n", "utf-8"),
        ("name\nJürgen\n".encode(), "utf-8"),
        ("name\nJürgen\n".encode("utf-8-sig"), "utf-8"),
        ("name\nJürgen\n".encode("utf-16"), "utf-16"),
        (b"\xfe\xff" + "name\nJürgen\n".encode("utf-16-be"), "utf-16"),
        ("name\nJürgen „5 €“\n".encode("windows-1252"), "windows-1252"),
        ("name\nJürgen\nZoë\n".encode() + "Zoë\n".encode("latin-1"), "utf-8"),  # with a damaged row
        ("name\nJürgen".encode()[:-5], "windows-1252"),  # ends within a character
    ],
)
def test_the_encoding_is_told_from_the_bytes(
    content: bytes, encoding: Encoding, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert detect_encoding(io.BytesIO(content)) == encoding
    monkeypatch.setattr(encodings, "_PIECE_BYTES", 3)  # wherever pieces are cut
    assert detect_encoding(io.BytesIO(content)) == encoding


def test_every_encoding_is_one_that_files_can_be_read_in() -> None:
    for encoding in ENCODINGS:
        assert io.TextIOWrapper(io.BytesIO("name".encode(encoding)), encoding=encoding).read() == "name"
