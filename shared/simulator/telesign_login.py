"""Whom Telesign lets in: by Basic authentication, or by a digest of the request that nobody can send again.

Read: developer.telesign.com/enterprise/docs/authentication (November 2026).
"""

import time
from base64 import b64decode, b64encode
from collections import OrderedDict
from email.utils import parsedate_to_datetime
from hmac import compare_digest, digest
from typing import Final

from shared.simulator.wire.exchange import Request

TOLERANCE_SECONDS: Final = 300
KEPT_NONCES: Final = 10_000
METHOD: Final = "HMAC-SHA256"


class Doorkeeper:
    def __init__(self, customer: str, key: str) -> None:
        """`key` is in base64."""
        self._customer = customer
        self._key = b64decode(key)
        self._basic = f"Basic {b64encode(f'{customer}:{key}'.encode()).decode()}"
        self._nonces: OrderedDict[str, None] = OrderedDict()  # used, oldest first

    def problem_of(self, request: Request) -> tuple[int, str] | None:
        """Code and words; None: it may come in."""
        given = request.header(b"authorization")
        if given.startswith("TSA "):
            return self._problem_of_digest(request, given)
        if not given:
            return 10009, "Missing required 'Authorization' header"
        if not given.startswith("Basic "):
            return 10028, "Required 'Authorization' header is not in the correct format"
        return None if compare_digest(given.encode(), self._basic.encode()) else (10022, "Invalid API Key.")

    def _problem_of_digest(self, request: Request, given: str) -> tuple[int, str] | None:
        if request.header(b"x-ts-auth-method") != METHOD:
            return 10006, "Invalid 'x-ts-auth-method' header."
        if not compare_digest(given.encode(), f"TSA {self._customer}:{self._signature(request)}".encode()):
            return 10008, "Invalid Signature."
        if not _is_fresh(request.header(b"date")):
            return 10004, "'Date' or 'x-ts-date' header is not within tolerable range"
        nonce = request.header(b"x-ts-nonce")
        if nonce in self._nonces:
            return 10002, "'x-ts-nonce' header value has been used recently"
        self._nonces[nonce] = None
        if len(self._nonces) > KEPT_NONCES:
            self._nonces.popitem(last=False)
        return None

    def _signature(self, request: Request) -> str:
        content_type, date, nonce = (request.header(name) for name in (b"content-type", b"date", b"x-ts-nonce"))
        head = f"{request.method}\n{content_type}\n{date}\nx-ts-auth-method:{METHOD}\nx-ts-nonce:{nonce}\n".encode()
        text = head + request.body + f"\n{request.path}".encode()
        return b64encode(digest(self._key, text, "sha256")).decode()


def _is_fresh(date: str) -> bool:
    try:
        return abs(parsedate_to_datetime(date).timestamp() - time.time()) <= TOLERANCE_SECONDS
    except (ValueError, OverflowError):
        return False
