"""What every provider adapter is: facts as fields, one `send`, typed outcomes."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Protocol

from shared.domain.outcome import Outcome, UnknownRule
from shared.domain.status import Channel


@dataclass(frozen=True, slots=True)
class SendRequest:
    """One message to one recipient. Adapters answer per request, by its index in the sequence handed over."""

    delivery_id: str  # stable over resends of the same delivery: "<run>-<target_seq>", at most 41 characters
    identifier: str  # the address: e-mail, phone number, device token
    target_id: str = ""  # public id, for the provider's own reference fields
    role: Literal["to", "cc", "bcc"] = "to"  # e-mail: how the recipient was named; each still gets a mail of its own


@dataclass(frozen=True, slots=True)
class ContentFile:
    """An attachment."""

    name: str
    mime_type: str
    content: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Content:
    """What is sent, the same for every recipient of a batch: the message's `data`, checked by the API.

    `data` has the keys of contract §8.1 for its channel. Adapters treat it as read-only, and may keep what they
    rendered from it: an equal object is passed for every group of requests of all batches of a run.
    """

    run: int
    channel: Channel
    data: Mapping[str, Any]
    expires_at: float  # Unix seconds: the end of the message's time to live, for providers that hold messages
    files: tuple[ContentFile, ...] = ()  # what `data` names as attachments, in their order


@dataclass(frozen=True, slots=True)
class Account:
    """A configured provider: its row, with credentials in clear. Never logged; `repr` hides the secrets."""

    provider_seq: int
    version: int  # changes with every update of the row: connections and tokens are keyed by (provider_seq, version)
    credentials: Mapping[str, Any] = field(repr=False)
    options: Mapping[str, Any] = field(repr=False, default_factory=dict)
    receipts_secret: str = field(repr=False, default="")  # what the provider signs receipts with, where we were told
    receipts_url: str = ""  # where the provider can reach us with its receipts; "": nowhere

    @property
    def owner(self) -> str:
        """Whose connections: no other account's requests travel on them, nor an older version's of this one."""
        return f"{self.provider_seq}.{self.version}"


class TokenStore(Protocol):
    """Short-lived credentials shared by all workers (OAuth access tokens, APNs JWTs), encrypted at rest."""

    async def get(self, account: Account, purpose: str) -> tuple[str, float] | None:
        """The stored token and the Unix second it expires at, or None. May be expired: the caller checks."""

    async def renew(
        self, account: Account, purpose: str, *, stale: str | None, make: "TokenMaker", margin_seconds: float
    ) -> str:
        """Make and store a new token, once over all workers.

        One caller at a time runs `make`; the others wait and get what it made. Where the stored token differs from
        `stale` and lives longer than `margin_seconds`, it is returned without calling `make`.
        """


class TokenMaker(Protocol):
    async def __call__(self) -> tuple[str, float]:
        """A fresh token and the Unix second it expires at. Raises CredentialsRefused or TokenUnavailable."""


class CredentialsRefused(Exception):  # it states what happened, as our errors do
    """The provider does not accept these credentials: an account fault."""


class TokenUnavailable(Exception):  # see above
    """The token endpoint did not answer properly; worth another try."""


class Adapter(Protocol):
    """Speaks one provider's API. One instance per account and process, made and closed in the worker's event loop.

    An adapter never cuts requests (the caller cuts by `largest_batch`), never retries, opens no transaction, does not
    know Celery, and logs neither content nor credentials.
    """

    kind: ClassVar[str]  # the contract's word: "smtp", "fcm"
    channel: ClassVar[Channel]
    largest_batch: ClassVar[int]  # recipients one `send` may take
    batch_size: ClassVar[int]  # recipients a planned batch should hold
    unknown_rule: ClassVar[UnknownRule]
    has_receipts: ClassVar[bool]

    @property
    def in_flight_limit(self) -> int:
        """Recipients one process should keep in flight at this provider."""

    def send(self, content: Content, requests: Sequence[SendRequest]) -> AsyncIterator[tuple[int, Outcome]]:
        """Send all, yielding (index, outcome) once per request in the order they finish.

        Never raises for what a provider or the network does: that is an outcome. Cancelling the iteration abandons
        what is in flight; the caller treats requests without an outcome as unknown.
        """

    async def aclose(self) -> None:
        """Close the connections. Safe to call twice."""
