"""Providers that take many recipients in a call, and Telesign: answers each call alike, and counts whom it named.

python -m tests.benchmarks.batch_server PORT DIRECTORY LATENCY_MS

A server in Python is fast enough where a call names fifty. It checks nothing. GET /stats says what it counted.
"""

import asyncio
import json
import re
import ssl
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, cast
from urllib.parse import parse_qs

import httptools
import uvloop


class Answer(NamedTuple):
    recipients: int
    status: int
    document: Any = None


def answer_sendgrid(body: bytes) -> Answer:
    return Answer(len(json.loads(body)["personalizations"]), 202)


_MAILGUN_TO = re.compile(rb'name="to"\r\n\r\n(.*?)\r\n', re.DOTALL)


def answer_mailgun(body: bytes) -> Answer:
    found = _MAILGUN_TO.search(body)
    assert found
    return Answer(found[1].count(b",") + 1, 200, {"id": "<1@mailgun>", "message": "Queued. Thank you."})


def answer_resend(body: bytes) -> Answer:
    total = len(json.loads(body))
    return Answer(total, 200, {"data": [{"id": f"{place}"} for place in range(total)]})


def answer_ses(body: bytes) -> Answer:
    total = len(json.loads(body)["BulkEmailEntries"])
    return Answer(total, 200, {"BulkEmailEntryResults": [{"Status": "SUCCESS", "MessageId": "1"}] * total})


def answer_ses_single(_body: bytes) -> Answer:
    return Answer(1, 200, {"MessageId": "1"})


def answer_msg91(body: bytes) -> Answer:
    return Answer(len(json.loads(body)["recipients"]), 200, {"type": "success", "message": "3763646c3058373530393938"})


def answer_textmagic(body: bytes) -> Answer:
    (phones,) = parse_qs(body)[b"phones"]
    return Answer(phones.count(b",") + 1, 201, {"id": 1, "href": "/api/v2/sessions/1", "sessionId": 1})


def answer_telesign(_body: bytes) -> Answer:
    return Answer(1, 200, {"reference_id": "1", "status": {"code": 290, "description": "Message in progress"}})


class Provider(NamedTuple):
    kind: str
    path: re.Pattern[bytes]
    answer: Callable[[bytes], Answer]


PROVIDERS = [
    Provider(kind, re.compile(path), answer)
    for kind, path, answer in (
        ("sendgrid", rb"/v3/mail/send", answer_sendgrid),
        ("mailgun", rb"/v3/[^/]+/messages", answer_mailgun),
        ("resend", rb"/emails/batch", answer_resend),
        ("ses", rb"/v2/email/outbound-bulk-emails", answer_ses),
        ("ses", rb"/v2/email/outbound-emails", answer_ses_single),
        ("msg91", rb"/api/v5/flow", answer_msg91),
        ("textmagic", rb"/api/v2/messages", answer_textmagic),
        ("telesign", rb"/v1/messaging", answer_telesign),
    )
]


class Connection(asyncio.Protocol):
    def __init__(self, counts: Counter[str], latency_seconds: float) -> None:
        self._counts = counts
        self._latency_seconds = latency_seconds
        self._parser = httptools.HttpRequestParser(self)
        self._path = b""
        self._body: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by its class

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        self._path = url

    def on_body(self, part: bytes) -> None:
        self._body.append(part)

    def on_message_complete(self) -> None:
        body = b"".join(self._body)
        self._body.clear()
        if self._path == b"/stats":
            self._reply(Answer(0, 200, self._counts))
            return
        provider = next((provider for provider in PROVIDERS if provider.path.fullmatch(self._path)), None)
        answer = provider.answer(body) if provider else Answer(0, 404, {})
        if provider:
            self._counts[provider.kind] += answer.recipients
        asyncio.get_running_loop().call_later(self._latency_seconds, self._reply, answer)

    def _reply(self, answer: Answer) -> None:
        body = b"" if answer.document is None else json.dumps(answer.document).encode()
        head = f"HTTP/1.1 {answer.status} X\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        self._transport.write(head.encode() + body)


async def serve(port: int, directory: Path, latency_seconds: float) -> None:
    counts = Counter[str]()
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(directory / "server.crt", directory / "server.key")
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: Connection(counts, latency_seconds),
        "127.0.0.1",
        port,
        ssl=tls,
        backlog=4096,  # a pool opens its connections at once: those that find no room here try again after seconds
    )
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]) / 1000))
