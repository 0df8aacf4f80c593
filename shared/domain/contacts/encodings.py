"""Which encoding a contact file is in: people save what their spreadsheet offers."""

import codecs
import re
from typing import BinaryIO, Literal, get_args

Encoding = Literal[
    "utf-8",
    "utf-16",
    "utf-16-le",
    "utf-16-be",
    "windows-1250",
    "windows-1251",
    "windows-1252",
    "windows-1253",
    "windows-1254",
    "windows-1255",
    "windows-1256",
    "windows-1257",
    "windows-1258",
    "iso-8859-1",
    "iso-8859-2",
    "iso-8859-5",
    "iso-8859-7",
    "iso-8859-9",
    "iso-8859-15",
    "mac-roman",
    "koi8-r",
    "shift_jis",
    "euc-jp",
    "euc-kr",
    "big5",
    "gb18030",
]
ENCODINGS: tuple[Encoding, ...] = get_args(Encoding)

_PIECE_BYTES = 2**20
_VALID = re.compile("[^\0-\x7f\udc80-\udcff]")
"""A character outside ASCII that was read as UTF-8; the escapes stand for bytes that could not be."""


def detect_encoding(content: BinaryIO) -> Encoding:
    """Of a file, from where it stands to its end if need be.

    Spreadsheets mark UTF-16 by its first two bytes. What is no UTF-8 anywhere is taken for Windows-1252, in which they
    save "CSV" where the languages of Western Europe are spoken. One that has UTF-8 beside other bytes is UTF-8 with
    damaged rows: text in other encodings hardly ever is valid UTF-8 by chance.
    """
    decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
    is_first, has_other_bytes = True, False
    while piece := content.read(_PIECE_BYTES):
        if is_first and piece.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            return "utf-16"
        is_first = False
        text = decoder.decode(piece)
        if not text.isascii():
            if _VALID.search(text):
                return "utf-8"
            has_other_bytes = True
    return "windows-1252" if has_other_bytes or decoder.decode(b"", final=True) else "utf-8"
