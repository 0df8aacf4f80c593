"""HTTP as a simulated provider sees it: a request in, a reply out, whatever the version on the wire."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from shared.simulator.wire.manner import PROMPT, Manner

LARGEST_BODY_BYTES = 1024 * 1024
"""Where a server says nothing else."""

JSON = b"application/json; charset=UTF-8"
HTML = b"text/html; charset=UTF-8"


@dataclass(frozen=True, slots=True)
class Request:
    method: str
    path: str  # without the query
    query: str  # without the question mark; "" when there is none
    headers: Mapping[bytes, bytes]  # names in lower case; of repeated ones the last
    body: bytes

    def header(self, name: bytes) -> str:
        """Its text, "" when absent."""
        return self.headers.get(name, b"").decode("latin-1")


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    body: bytes = b""
    content_type: bytes = JSON
    headers: tuple[tuple[bytes, bytes], ...] = ()  # names in lower case
    manner: Manner = PROMPT
    # of HTTP/2
    streams: int | None = None  # from now on the connection takes so many at once
    goodbye: bytes | None = None  # why the connection takes no more streams after this one


class Application(Protocol):
    def answer(self, request: Request) -> Reply:
        """Decide at once; the connection sees to the reply's manner. Must not raise for what a client sends."""


def to_request(method: str, target: str, headers: Mapping[bytes, bytes], body: bytes) -> Request:
    path, _, query = target.partition("?")
    return Request(method, path, query, headers, body)


def too_large(most_bytes: int) -> Reply:
    text = b'{"error":{"code":413,"message":"The request body is larger than %d MiB."}}'
    return Reply(413, text % (most_bytes // 1024**2))
