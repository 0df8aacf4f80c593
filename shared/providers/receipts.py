"""What reads a provider's receipts: a call from outside in, checked, and our words out."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Final, Protocol

from shared.aside import aside
from shared.domain.receipt import Receipt
from shared.providers.contract import Account
from shared.providers.transport import Transport

LARGEST_BODY: Final = 256 * 1024
"""Bytes of a call about one message or a few. SNS has the same limit for what it hands on."""

LARGEST_BATCH: Final = 1024 * 1024
"""Bytes of a call of those who gather events: SendGrid does up to 768 kB."""

REPLAY_WINDOW_SECONDS: Final = 300.0
"""A signature older or newer than this is refused, where the provider signs the time."""


@dataclass(frozen=True, slots=True)
class ReceiptCall:
    """The HTTP request as it came."""

    url: str  # as the provider called it, query included
    headers: Mapping[str, str]  # names in lower case
    body: bytes  # raw: signatures are over these bytes
    received_at: float  # Unix seconds


class ReceiptRefused(Exception):  # it states what happened
    """Not signed by the provider, too old, or not readable; its text says which, for the log, and holds no secret."""


class FetchForbidden(Exception):  # it states what happened
    """A reader would have to fetch something first, and may not."""


class ReceiptReader(Protocol):
    async def __call__(
        self, account: Account, call: ReceiptCall, *, transport: Transport | None, endpoint: str | None
    ) -> Sequence[Receipt]:
        """Check the signature and read the events. Raises ReceiptRefused, and FetchForbidden without a transport.

        Events about nothing we follow (opens, clicks) are left out. `transport` is for what must be fetched first
        (certificates), None: nothing may be, as the installation is not live; `endpoint` is the origin that takes the
        provider's place, as for adapters.
        """


def reads_by_itself(read: Callable[[Account, ReceiptCall], Sequence[Receipt]]) -> ReceiptReader:
    """A reader that fetches nothing, so that all of its work can be done beside the event loop: what it reads is as
    long as bodies may be, says what somebody else likes, and is looked at before it is known whose it is.
    """

    @wraps(read)
    async def read_aside(
        account: Account, call: ReceiptCall, *, transport: Transport | None, endpoint: str | None
    ) -> Sequence[Receipt]:
        del transport, endpoint
        return await aside(read, account, call)

    return read_aside
