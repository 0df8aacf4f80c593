"""What the tests of mailers' receipts share: the simulator's signed calls, as our endpoint would see them."""

import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from shared.providers.curl import CurlTransport
from shared.providers.receipts import ReceiptCall
from shared.simulator.keyring import Keyring
from shared.simulator.mailer import Mailer, News, Taken
from shared.simulator.outgoing import OutgoingCall
from shared.simulator.record import Record

URL = "https://tidings.example.com/v1/tidings/receipts/place"

NOWHERE = CurlTransport(timeout_seconds=0.1)
"""For readers that fetch nothing."""

M = TypeVar("M", bound=Mailer)


def mailer(kind: type[M], directory: Path) -> M:
    """A simulated mailer without its server, told to post receipts to URL."""
    provider = kind(Record(directory / "record.jsonl"), Keyring(directory / "accounts.key"))
    provider.receipts_url = URL
    return provider


def taken(news: Iterable[News] = (News.DELIVERED,)) -> list[Taken]:
    return [
        Taken(f"person.{number}@example.com", f"message{number}", f"1700000000000-{number}", said, time.time())
        for number, said in enumerate(news)
    ]


def as_received(call: OutgoingCall) -> ReceiptCall:
    headers = {name.lower(): value for name, value in call.headers}
    return ReceiptCall(call.url, headers, call.body, time.time())


def with_headers(call: ReceiptCall, **headers: str) -> ReceiptCall:
    """Names with underscores for hyphens."""
    return replace(call, headers={**call.headers, **{name.replace("_", "-"): value for name, value in headers.items()}})
