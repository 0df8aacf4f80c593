"""How a reply reaches the client: late, in dribs, or not at all."""

import asyncio
import socket
import struct
from dataclasses import dataclass
from enum import StrEnum


class Ending(StrEnum):
    ANSWER = "answer"  # the reply is sent
    RESET = "reset"  # the stream (HTTP/2) or the connection is reset instead
    REFUSAL = "refusal"  # the same, and HTTP/2 says that the request was not acted on
    SILENCE = "silence"  # nothing is sent and nothing is closed: the client has to give up
    CUT = "cut"  # the connection is reset, with all that is under way on it
    GARBAGE = "garbage"  # bytes that are no word of the protocol
    ENDLESS = "endless"  # a reply that begins well and never ends


class Opening(StrEnum):
    """How a new connection is met, before either side has said a word."""

    PROMPT = "prompt"
    SLOW = "slow"  # served, but not before slow_seconds have passed
    SILENT = "silent"  # accepted; nothing is ever said
    DRIPPING = "dripping"  # a greeting or handshake of a byte a second
    GARBAGE = "garbage"
    ENDLESS = "endless"  # says something for ever
    RESET = "reset"
    REFUSED = "refused"  # nothing listens


TRICKLE_PIECES = 10
"""A slow reply comes in at most so many parts."""

DRIP_SECONDS = 1.0
"""Between two bytes of a reply that drips, and between two helpings of one that never ends."""

GARBAGE = bytes(range(0x80, 0x100)) * 4
"""No greeting, status line, TLS record or HTTP/2 frame that anybody could use."""

HELPING_BYTES = 64 * 1024
"""So much of an endless reply comes at a time: more than a reply ever needs, and no burden for the machine."""


@dataclass(frozen=True, slots=True)
class Manner:
    delay_seconds: float = 0.0
    ending: Ending = Ending.ANSWER
    trickle_seconds: float = 0.0  # the reply is spread over this time; 0: in one piece
    drips: bool = False  # of a spread reply: it comes a byte a second, however long that takes

    @property
    def pause_seconds(self) -> float:
        """Between two parts of a slow reply."""
        return DRIP_SECONDS if self.drips else self.trickle_seconds / TRICKLE_PIECES

    def cut(self, reply: bytes) -> list[bytes]:
        """The parts of a slow reply, in order, none empty: bytes or at most TRICKLE_PIECES; an empty reply is one empty
        part.
        """
        size = 1 if self.drips else max(1, -(-len(reply) // TRICKLE_PIECES))
        return [reply[start : start + size] for start in range(0, len(reply), size)] or [b""]


PROMPT = Manner()


def reset(transport: asyncio.Transport) -> None:
    """Break the connection as a crashing peer does: RST instead of FIN."""
    raw: socket.socket | None = transport.get_extra_info("socket")
    if raw is not None:
        end_with_reset(raw)
    transport.abort()


def end_with_reset(raw: socket.socket) -> None:
    """Its closing will be an RST."""
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
