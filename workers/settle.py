"""Outcomes become rows: ledger, attempts, sums, and the batches that carry on with who is not done."""

import random
from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import assert_never

from shared import metrics
from shared.db.queries.finish import MAX_ERRORS
from shared.db.queries.record import BatchChange, FollowingBatch, Recording
from shared.db.queries.suppressions import Verdict
from shared.domain.outcome import (
    Accepted,
    AccountFault,
    DeadAddress,
    Refused,
    Retry,
    Unknown,
    UnknownRule,
)
from shared.domain.queues import DeliveryQueue
from shared.domain.retry import RetryPolicy, due_step_seconds, retry_delay_seconds
from shared.domain.status import Channel, DeliveryState
from shared.domain.storable import storable
from workers.batch import Ended, OpenBatch, Rebound, Result


@dataclass(frozen=True, slots=True)
class _Following:
    """What recipients must have in common to carry on in one batch."""

    queue: str
    provider_seq: int
    due_at: datetime
    attempt: int
    resends: int
    waiting_since: datetime | None


class Settling:
    """Turns the results of one open batch into rows of one recording."""

    def __init__(self, recording: Recording, batch: OpenBatch, policy: RetryPolicy, now: datetime) -> None:
        self._recording = recording
        self._batch = batch
        self._claimed = batch.claimed
        self._policy = policy
        self._now = now
        self._change = BatchChange(
            seq=batch.claimed.seq,
            token=batch.claimed.token,
            run=batch.claimed.run,
            recorded_before=batch.recorded_total,
            attempted_to=max(batch.attempted_to, batch.mark_to),
            recorded_total=batch.recorded_total,
        )
        self._following: defaultdict[_Following, list[int]] = defaultdict(list)
        self._outcomes: defaultdict[str, int] = defaultdict(int)

    def settle(self, results: list[Result]) -> BatchChange:
        """Write the rows of these results and of how the batch goes on."""
        ledger = self._recording.ledger[self._claimed.seq]
        sums = self._change.sums
        accepted = (
            self._claimed.project_seq,
            DeliveryState.SENT.value,
            self._claimed.provider_seq,
        )
        run, attempt, resends = self._claimed.run, self._claimed.attempt, self._claimed.resends
        sent = 0
        for target_seq, identifier, outcome in results:
            if isinstance(outcome, Accepted):  # the one that is counted in millions
                provider_message_id = storable(outcome.provider_message_id)
                ledger.append((run, target_seq, *accepted, provider_message_id, attempt, resends, ""))
                sent += 1
            else:
                self._settle_other(target_seq, identifier, outcome)
        if sent:
            sums[DeliveryState.SENT] = sums.get(DeliveryState.SENT, 0) + sent
            self._outcomes["accepted"] = sent
            if self._batch.provider is not None and self._batch.provider.has_fault:
                self._recording.faults[self._claimed.provider_seq] = None
        self._change.recorded_total += len(results)
        self._dispose()
        self._carry_on()
        self._count()
        return self._change

    def _settle_other(
        self,
        target_seq: int,
        identifier: str,
        outcome: Refused | DeadAddress | Retry | AccountFault | Unknown | Ended | Rebound,
    ) -> None:
        match outcome:
            case Ended():
                state = self._untried(outcome.state)
                self._end(target_seq, state, outcome.reason, attempts=self._claimed.attempt - 1)
                if state is not DeliveryState.SKIPPED:
                    self._add_error(identifier, outcome.reason)
            case Rebound():
                self._attempt(target_seq, "rebound", "fail_over", "the provider is disabled or deleted", self._now)
                self._follow(target_seq, self._now, attempt=self._claimed.attempt, fail_over=True)
            case Refused():
                self._refuse(target_seq, identifier, "refused", outcome.reason)
            case DeadAddress():
                self._refuse(target_seq, identifier, "dead_address", outcome.reason)
                self._bury(target_seq, identifier, outcome.reason)
            case Retry():
                self._retry(target_seq, identifier, outcome)
            case Unknown():
                self._settle_unknown(target_seq, identifier, outcome)
            case AccountFault():
                self._wait(target_seq, identifier, outcome)
            case _:
                assert_never(outcome)

    def _bury(self, target_seq: int, identifier: str, reason: str) -> None:
        """A dead token expires its target; a dead address is suppressed, whoever has it."""
        if self._batch.message.channel == Channel.PUSH:
            self._recording.dead_targets[target_seq] = identifier
        else:
            claimed = self._claimed
            verdict = Verdict(claimed.project_seq, claimed.provider_seq, "dead_address", storable(reason), target_seq)
            self._recording.suppressions.append(verdict)

    def _refuse(self, target_seq: int, identifier: str, outcome: str, reason: str) -> None:
        self._attempt(target_seq, outcome, "final", reason)
        self._end(target_seq, DeliveryState.FAILED, reason)
        self._add_error(identifier, reason)

    def _retry(self, target_seq: int, identifier: str, outcome: Retry) -> None:
        delay = retry_delay_seconds(
            self._policy,
            attempt=self._claimed.attempt,
            after_seconds=outcome.after_seconds,
            chance=random.random(),  # noqa: S311  # jitter
        )
        expires_at = self._batch.message.expires_at
        if delay >= (expires_at - self._now).total_seconds():  # a provider may name delays past every calendar
            self._attempt(target_seq, "retry", "final", outcome.reason)
            self._end(target_seq, self._untried(DeliveryState.EXPIRED), outcome.reason)
            self._add_error(identifier, outcome.reason)
            return
        due_at = self._due_after(delay)
        self._attempt(target_seq, "retry", "retry", outcome.reason, due_at)
        self._follow(target_seq, due_at, attempt=self._claimed.attempt + 1)

    def _settle_unknown(self, target_seq: int, identifier: str, outcome: Unknown) -> None:
        may_resend = self._batch.unknown_rule is UnknownRule.RESEND and self._claimed.resends < self._policy.max_resends
        if not may_resend:
            self._attempt(target_seq, "unknown", "final", outcome.reason)
            self._end(target_seq, DeliveryState.UNKNOWN, outcome.reason)
            self._add_error(identifier, outcome.reason)
            return
        delay = retry_delay_seconds(
            self._policy,
            attempt=self._claimed.attempt,
            after_seconds=None,
            chance=random.random(),  # noqa: S311  # jitter
        )
        due_at = self._due_after(delay)
        self._attempt(target_seq, "unknown", "resend", outcome.reason, due_at)
        self._recording.resends[self._claimed.seq] += 1
        self._follow(target_seq, due_at, attempt=self._claimed.attempt + 1, resends=self._claimed.resends + 1)

    def _wait(self, target_seq: int, identifier: str, outcome: AccountFault) -> None:
        """The account is at fault, not the recipient: wait, then fail over, then fail."""
        self._recording.faults[self._claimed.provider_seq] = storable(outcome.reason)
        since = self._claimed.waiting_since or self._now
        if (self._now - since).total_seconds() < self._policy.account_fault_patience_seconds:
            due_at = self._due_after(self._policy.account_fault_retry_seconds)
            self._attempt(target_seq, "account_fault", "wait", outcome.reason, due_at)
            # the call said nothing about the recipient, so it does not count as one of its tries
            since_step = due_step_seconds(0.0)  # whoever waits since the same moment waits in one batch
            waiting_since = datetime.fromtimestamp(since.timestamp() // since_step * since_step, UTC)
            self._follow(target_seq, due_at, attempt=self._claimed.attempt, waiting_since=waiting_since)
        elif self._batch.fallback is not None:
            self._attempt(target_seq, "account_fault", "fail_over", outcome.reason, self._now)
            self._follow(target_seq, self._now, attempt=self._claimed.attempt, fail_over=True)
        else:
            self._attempt(target_seq, "account_fault", "final", outcome.reason)
            self._end(target_seq, self._untried(DeliveryState.FAILED), outcome.reason)
            self._add_error(identifier, outcome.reason)

    def _untried(self, state: DeliveryState) -> DeliveryState:
        """The state of a recipient that no further try is made for. One that may have got a copy already is unknown,
        whatever the end is called: it is neither untouched nor refused.
        """
        return DeliveryState.UNKNOWN if self._claimed.resends else state

    def _end(self, target_seq: int, state: DeliveryState, reason: str, *, attempts: int | None = None) -> None:
        claimed = self._claimed
        self._recording.ledger[claimed.seq].append(
            (
                claimed.run,
                target_seq,
                claimed.project_seq,
                state.value,
                self._claimed.provider_seq,
                "",
                claimed.attempt if attempts is None else attempts,
                claimed.resends,
                storable(reason),
            )
        )
        self._change.sums[state] = self._change.sums.get(state, 0) + 1

    def _attempt(
        self, target_seq: int, outcome: str, decision: str, reason: str, due_at: datetime | None = None
    ) -> None:
        claimed = self._claimed
        self._outcomes[outcome] += 1
        self._recording.attempts[claimed.seq].append(
            (
                claimed.run,
                claimed.seq,
                target_seq,
                self._claimed.provider_seq,
                claimed.attempt,
                outcome,
                decision,
                storable(reason),
                due_at,
            )
        )
        if outcome == "unknown":
            metrics.RECIPIENTS_UNKNOWN.labels(self._batch.queue.kind, decision).inc()

    def _add_error(self, identifier: str, reason: str) -> None:
        if len(self._change.errors) < MAX_ERRORS:
            self._change.errors.append(storable(f"Failed sending to target {identifier} with error: {reason}"))

    def _follow(
        self,
        target_seq: int,
        due_at: datetime,
        *,
        attempt: int,
        resends: int | None = None,
        waiting_since: datetime | None = None,
        fail_over: bool = False,
    ) -> None:
        provider_seq, queue = self._claimed.provider_seq, self._batch.queue
        if fail_over and self._batch.fallback is not None:
            provider_seq = self._batch.fallback.seq
            queue = DeliveryQueue(self._batch.fallback.kind, queue.lane)
        key = _Following(
            queue.name,
            provider_seq,
            due_at,
            attempt,
            self._claimed.resends if resends is None else resends,
            waiting_since,
        )
        self._following[key].append(target_seq)

    def _dispose(self) -> None:
        batch, change = self._batch, self._change
        if batch.is_closing:
            change.is_closed = True
        elif batch.release_at is not None:
            change.release_at = batch.release_at
            change.waiting_since = batch.waiting_since

    def _carry_on(self) -> None:
        claimed = self._claimed
        self._recording.following[claimed.seq] += [
            FollowingBatch(
                run=claimed.run,
                project_seq=claimed.project_seq,
                message_seq=claimed.message_seq,
                queue=key.queue,
                provider_seq=key.provider_seq,
                targets=targets,
                due_at=key.due_at,
                attempt=key.attempt,
                resends=key.resends,
                waiting_since=key.waiting_since,
            )
            for key, targets in self._following.items()
        ]

    def _count(self) -> None:
        kind = self._batch.queue.kind
        for outcome, count in self._outcomes.items():
            metrics.ATTEMPTS.labels(kind, outcome).inc(count)
        for state, count in self._change.sums.items():
            metrics.DELIVERIES.labels(kind, state.value).inc(count)

    def _due_after(self, delay_seconds: float) -> datetime:
        """That much later, on a step that others share, as far as the message lives so long."""
        moment = self._now + timedelta(seconds=delay_seconds)
        step = due_step_seconds(delay_seconds)
        due_at = datetime.fromtimestamp(-(-moment.timestamp() // step) * step, UTC)
        expires_at = self._batch.message.expires_at
        return due_at if due_at < expires_at else min(moment, expires_at)
