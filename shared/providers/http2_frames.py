"""Frames of HTTP/2 (RFC 9113): their heads, numbers and bounds, and what a connection begins with."""

import struct
from typing import Final

from shared.providers.transport import BODY_LIMIT_BYTES

HEAD: Final = struct.Struct(">IBI")  # of a frame: length (24 bits) and type (8), flags, stream
HEAD_BYTES: Final = HEAD.size
NUMBER: Final = struct.Struct(">I")
PAIR: Final = struct.Struct(">II")
SETTING: Final = struct.Struct(">HI")

FRAME_LIMIT_BYTES: Final = 16_384  # of those we take; nobody may send larger ones unless told so
BLOCK_LIMIT_BYTES: Final = 16 * 1024  # of headers; an answer of a provider has 1 kB, and 64 kB of nonsense take 70 ms
UNREAD_LIMIT: Final = 1_000  # acknowledgements
LARGEST_WINDOW: Final = 2**31 - 1
LAST_STREAM: Final = 2**31 - 1
FIRST_WINDOW: Final = 65_535  # octets of bodies under way, on a connection and on each stream, until told otherwise
OUR_WINDOW: Final = 16 * 1024 * 1024
STREAM_WINDOW: Final = 2 * BODY_LIMIT_BYTES  # a longer answer is cut before it needs more


# Types of frames. Plain numbers: enumerations would cost more than the frames they name.
DATA, HEADERS, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 5, 6, 7, 8, 9

# Flags of frames.
END_STREAM, ACK, END_HEADERS, PADDED, PRIORITY = 0x1, 0x1, 0x4, 0x8, 0x20

# Settings.
HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE = 1, 2, 3, 4, 5

# Why a stream ends.
NO_ERROR, REFUSED_STREAM, CANCEL = 0, 7, 8


PREFACE: Final = b"".join(
    (
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        HEAD.pack(3 * SETTING.size << 8 | SETTINGS, 0, 0),
        SETTING.pack(HEADER_TABLE_SIZE, 0),
        SETTING.pack(ENABLE_PUSH, 0),
        SETTING.pack(INITIAL_WINDOW_SIZE, STREAM_WINDOW),
        HEAD.pack(NUMBER.size << 8 | WINDOW_UPDATE, 0, 0),
        NUMBER.pack(OUR_WINDOW - FIRST_WINDOW),
    )
)
SETTINGS_ACK: Final = HEAD.pack(SETTINGS, ACK, 0)


class BrokenRules(Exception):  # it states what happened, as our errors do
    """The server said something that HTTP/2 does not allow: the connection ends."""
