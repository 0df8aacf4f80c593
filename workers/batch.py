"""A claimed batch in this process: what was loaded for it, and what is recorded of it so far."""

import asyncio
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from shared.db.queries.claim import ClaimedBatch, LoadedMessage, LoadedProvider, LoadedTarget
from shared.domain.outcome import Outcome, UnknownRule
from shared.domain.queues import DeliveryQueue
from shared.domain.status import DeliveryState
from shared.providers.contract import Content
from workers.window import Share


@dataclass(frozen=True, slots=True)
class Ended:
    """A recipient that came to its end without a provider call."""

    state: DeliveryState
    reason: str


@dataclass(frozen=True, slots=True)
class Rebound:
    """A recipient whose provider is disabled or gone: it carries on with the fallback."""


Result = tuple[int, str, Outcome | Ended | Rebound]
"""target_seq, identifier, what became of it"""


@dataclass(slots=True, eq=False)
class OpenBatch:
    """`targets[:attempted_to]` are marked in the database; `recorded_total` of them have an outcome there."""

    claimed: ClaimedBatch
    queue: DeliveryQueue
    message: LoadedMessage
    provider: LoadedProvider | None  # None: disabled or deleted since the batch was planned
    content: Content  # without files until it is about to be sent
    targets: dict[int, LoadedTarget]  # key: target_seq; a deleted one is missing
    suppressed: dict[int, str]  # targets whose address must not be used, and why; key: target_seq
    roles: dict[int, Literal["cc", "bcc"]]  # cc and bcc recipients of a mail; key: target_seq
    unknown_rule: UnknownRule
    share: Share  # its account's, of the window
    fallback: LoadedProvider | None  # another enabled provider of the channel to go on with
    lease_deadline: float  # monotonic seconds until which we may call the provider
    attempted_to: int = 0
    recorded_total: int = 0
    # wanted from the next recording
    mark_to: int = 0
    results: list[Result] = field(default_factory=list)
    is_closing: bool = False
    release_at: datetime | None = None
    waiting_since: datetime | None = None
    waiters: list[asyncio.Future[None]] = field(default_factory=list)
    # how it goes on
    is_waiting: bool = False  # for its account: for slots, its rate, its rest or its retry budget; or for files
    is_stale: bool = False  # a newer token holds it: nothing of ours is written any more
    is_stopping: bool = False  # mark nothing further; what is in flight is still recorded

    @property
    def is_retry(self) -> bool:
        """Whether a provider was asked about these recipients before. A crash of ours is no word of its."""
        return self.claimed.attempt > 1 and not self.claimed.crashes

    @property
    def unmarked(self) -> int:
        return len(self.claimed.targets) - max(self.attempted_to, self.mark_to)
