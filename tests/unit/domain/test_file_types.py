"""MIME types are told by content, not by what the name claims."""

import pytest

from shared.domain.file_types import READ_BYTES, mime_type_of


@pytest.mark.parametrize(
    ("head", "name", "expected"),
    [
        (b"\x89PNG\r\n\x1a\n", "a.jpg", "image/png"),
        (b"\xff\xd8\xff\xe0", "a", "image/jpeg"),
        (b"BM1234", "a.png", "image/bmp"),
        (b"RIFF1234WEBP", "a", "image/webp"),
        (b"RIFF1234ELSE", "a", "application/octet-stream"),
        (b"%PDF-1.7", "a.txt", "application/pdf"),
        (b"PK\x03\x04", "a.zip", "application/zip"),
        (b"PK\x03\x04", "a.docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
        (b"\x00\x00\x00\x18ftypmp42", "a", "video/mp4"),
        (b"hello", "a", "text/plain"),
        (b"hello", "a.png", "text/plain"),
        (b"a;b", "a.csv", "text/csv"),
        (b" <!DOCTYPE html>", "a.txt", "text/html"),
        (b"<?xml version='1.0'?><svg>", "a", "image/svg+xml"),
        (b"\x00\x01", "a.txt", "application/octet-stream"),
        (b"\xff\xfe\xfd", "a.txt", "application/octet-stream"),
        (b"x" * (READ_BYTES - 1) + "ü".encode()[:1], "a", "text/plain"),
        (b"x" * 10 + "ü".encode()[:1], "a", "application/octet-stream"),
    ],
)
def test_mime_types(head: bytes, name: str, expected: str) -> None:
    assert mime_type_of(head, name) == expected
