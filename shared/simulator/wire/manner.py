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


TRICKLE_PIECES = 10
"""A slow reply comes in at most so many parts."""


@dataclass(frozen=True, slots=True)
class Manner:
    delay_seconds: float = 0.0
    ending: Ending = Ending.ANSWER
    trickle_seconds: float = 0.0  # the reply is spread over this time; 0: in one piece

    @property
    def pause_seconds(self) -> float:
        """Between two parts of a slow reply."""
        return self.trickle_seconds / TRICKLE_PIECES


PROMPT = Manner()


def cut_for_trickle(reply: bytes) -> list[bytes]:
    """The reply in at most TRICKLE_PIECES parts, in order, none empty; an empty reply is one empty part."""
    size = max(1, -(-len(reply) // TRICKLE_PIECES))
    return [reply[start : start + size] for start in range(0, len(reply), size)] or [b""]


def reset(transport: asyncio.Transport) -> None:
    """Break the connection as a crashing peer does: RST instead of FIN."""
    raw: socket.socket | None = transport.get_extra_info("socket")
    if raw is not None:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
