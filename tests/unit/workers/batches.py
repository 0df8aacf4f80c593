"""An open batch as a claim would have made it, and what its results turn into."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from shared.db.queries.claim import ClaimedBatch, LoadedMessage, LoadedProvider
from shared.db.queries.record import BatchChange, Recording
from shared.domain.outcome import UnknownRule
from shared.domain.queues import PROVIDER_KINDS, DeliveryQueue
from shared.domain.retry import RetryPolicy
from shared.domain.status import Channel, Lane
from shared.providers.contract import Content
from workers.batch import OpenBatch, Result
from workers.settle import Settling
from workers.window import Window

NOW = datetime(2026, 7, 1, 12, 0, 0, 200_000, tzinfo=UTC)
RUN = 7
PROVIDER = 11
FALLBACK = 12
BATCH = 99

POLICY = RetryPolicy(
    quick_retries=3,
    base_seconds=2.0,
    cap_seconds=600.0,
    max_resends=2,
    account_fault_patience_seconds=600.0,
    account_fault_retry_seconds=15.0,
)


def provider(seq: int = PROVIDER, *, kind: str = "fcm", has_fault: bool = False) -> LoadedProvider:
    return LoadedProvider(
        seq=seq,
        project_seq=1,
        id=f"provider-{seq}",
        kind=kind,
        channel=PROVIDER_KINDS[kind],
        enabled=True,
        credentials_encrypted="",
        options={},
        version=1,
        has_fault=has_fault,
        is_live=False,
    )


def open_batch(
    *,
    kind: str = "fcm",
    targets: int = 3,
    attempt: int = 1,
    resends: int = 0,
    waiting_since: datetime | None = None,
    unknown_rule: UnknownRule = UnknownRule.RESEND,
    fallback: LoadedProvider | None = None,
    has_fault: bool = False,
    time_to_live: timedelta = timedelta(days=1),
) -> OpenBatch:
    """Targets 1, 2, 3 ... of one message, claimed and not marked."""
    queue = DeliveryQueue(kind, Lane.BULK)
    channel = PROVIDER_KINDS[kind]
    data: dict[str, Any] = {"title": "t"}
    message = LoadedMessage(5, "m", channel, data, expires_at=NOW + time_to_live, is_deleted=False)
    return OpenBatch(
        claimed=ClaimedBatch(
            seq=BATCH,
            run=RUN,
            project_seq=1,
            message_seq=5,
            queue=queue.name,
            provider_seq=PROVIDER,
            targets=list(range(1, targets + 1)),
            attempt=attempt,
            resends=resends,
            crashes=0,
            attempted_to=0,
            recorded_total=0,
            token=1000,
            waiting_since=waiting_since,
            claimed_at=NOW,
        ),
        queue=queue,
        message=message,
        provider=provider(kind=kind, has_fault=has_fault),
        content=Content(RUN, Channel(channel), data, message.expires_at.timestamp()),
        targets={},
        suppressed={},
        roles={},
        unknown_rule=unknown_rule,
        share=Window(100).share_of(PROVIDER),
        fallback=fallback,
        lease_deadline=0.0,
    )


@dataclass(slots=True)
class Settled:
    """The rows one batch's results turned into."""

    change: BatchChange
    recording: Recording

    @property
    def ledger(self) -> list[tuple[int, str, int, str]]:
        """target, state, attempts, reason"""
        return [(row[1], row[3], row[6], row[8]) for row in self.recording.ledger[BATCH]]

    @property
    def attempts(self) -> list[tuple[int, str, str, str]]:
        """target, outcome, decision, reason"""
        return [(row[2], row[5], row[6], row[7]) for row in self.recording.attempts[BATCH]]

    @property
    def following(self) -> list[tuple[list[int], int, int, float]]:
        """targets, attempt, resends, seconds until they are due"""
        return [
            (batch.targets, batch.attempt, batch.resends, (batch.due_at - NOW).total_seconds())
            for batch in self.recording.following[BATCH]
        ]


def settle(batch: OpenBatch, *results: Result, policy: RetryPolicy = POLICY) -> Settled:
    recording = Recording()
    return Settled(Settling(recording, batch, policy, NOW).settle(list(results)), recording)
