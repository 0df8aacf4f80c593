"""From bytes to replies: lines put together, nonsense and endless replies told apart."""

import re
from collections.abc import Iterator
from typing import Final

CODE: Final = re.compile(rb"[2-5][0-9]{2}")  # RFC 5321 §4.2
LIMIT_BYTES: Final = 64 * 1024  # of one reply, all its lines together


class NotSmtp(Exception):
    """The server sends what no SMTP server sends."""


class ReplyReader:
    def __init__(self) -> None:
        self._partial = b""  # a line without its end
        self._lines: list[bytes] = []  # complete lines of an incomplete reply
        self._line_bytes = 0

    @property
    def has_unread(self) -> bool:
        return bool(self._partial or self._lines)

    def feed(self, data: bytes) -> Iterator[list[bytes]]:
        """The replies now complete, each as its lines. Raises NotSmtp after those that were in order."""
        *lines, self._partial = (self._partial + data).split(b"\n")
        for line in lines:
            if not CODE.match(line):
                raise NotSmtp("the server's reply is not SMTP")
            self._lines.append(line)
            if line[3:4] == b"-":
                self._line_bytes += len(line)
            else:
                reply, self._lines, self._line_bytes = self._lines, [], 0
                yield reply
        if self._line_bytes + len(self._partial) > LIMIT_BYTES:
            raise NotSmtp("the server's reply has no end")
