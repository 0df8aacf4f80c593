"""Deliver one batch: take slots, mark, hand over, have the outcomes recorded, close it or give it back.

Safe to repeat: only recipients without an outcome are sent, and every write names the token of this claim.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, ExitStack
from dataclasses import replace
from datetime import timedelta

import structlog

from shared import metrics
from shared.aside import whose
from shared.db.queries.claim import LoadedTarget
from shared.db.queries.finish import NO_PROVIDER
from shared.domain.clock import DatabaseClock
from shared.domain.outcome import Accepted, AccountFault, DeadAddress, Outcome, Refused, Retry, Unknown
from shared.domain.retry import RetryPolicy, goes_one_by_one
from shared.domain.status import DeliveryState
from shared.errors import ConfigurationError, NotReachable, StaleClaim
from shared.providers.contract import SendRequest
from workers.accounts import Accounts, OpenAccount
from workers.attachments import Attachments, AttachmentsRefused
from workers.batch import Ended, OpenBatch, Rebound
from workers.recorder import Recorder

LONG_REST_SECONDS = 1.0
"""An account that rests for longer is not waited for: its batches go back with a due time."""

RETRY_PAUSE_SECONDS = 0.1
"""How long retries wait for the answers to others that decide whether there is a budget for them."""

FILES_RETRY_SECONDS = 15.0
"""How long a batch waits whose message's attachments could not be read."""

log = structlog.get_logger()


class Deliverer:
    """Delivers the batches of this process; what they share is the recorder and the accounts."""

    def __init__(
        self,
        *,
        recorder: Recorder,
        accounts: Accounts,
        attachments: Attachments,
        clock: DatabaseClock,
        policy: RetryPolicy,
        provider_timeout_seconds: Callable[[str], float],
    ) -> None:
        self._recorder = recorder
        self._accounts = accounts
        self._attachments = attachments
        self._clock = clock
        self._policy = policy
        self._provider_timeout_seconds = provider_timeout_seconds

    async def deliver(self, batch: OpenBatch) -> None:
        """Send what is not marked yet and see the batch closed or given back. Never raises StaleClaim.

        In a task of its own, whose work aside is the project's.
        """
        whose.set(str(batch.claimed.project_seq))
        self._recorder.hold(batch)
        try:
            ending = self._ending_of(batch)
            if ending is not None:
                await self._end_all(batch, ending)
            elif batch.content.data.get("attachments"):
                await self._send_with_files(batch)
            else:
                await self._send_all(batch)
        except StaleClaim:
            log.info("claim lost", batch_seq=batch.claimed.seq, run=batch.claimed.run)
        except BaseException:
            # a bug, or a stop that took too long: the lease is to run out, so that the sweep applies the unknown rule
            self._recorder.let_go(batch)
            raise

    def _ending_of(self, batch: OpenBatch) -> Ended | Rebound | None:
        """Why nothing of this batch is sent under this claim, if so."""
        if batch.message.is_deleted:
            return Ended(DeliveryState.CANCELLED, "the message was deleted")
        if self._clock.now() >= batch.message.expires_at:
            return Ended(DeliveryState.EXPIRED, "not reached within the message's time to live")
        if batch.provider is None:
            return Rebound() if batch.fallback else Ended(DeliveryState.FAILED, NO_PROVIDER)
        return None

    async def _end_all(self, batch: OpenBatch, ending: Ended | Rebound | AccountFault) -> None:
        """End every recipient that is left without asking a provider, in one commit."""
        left = batch.claimed.targets[batch.attempted_to :]
        batch.mark_to = len(batch.claimed.targets)
        batch.share.charge(batch.queue.lane, len(left))
        for target_seq in left:
            target = batch.targets.get(target_seq)
            self._recorder.add(batch, (target_seq, target.identifier if target else "", ending))
        await self._recorder.close(batch)

    async def _send_with_files(self, batch: OpenBatch) -> None:
        """As `_send_all`, once the files are here: no transaction is open, and other batches go on meanwhile."""
        batch.is_waiting = True
        async with AsyncExitStack() as stack:
            try:
                async with asyncio.timeout(self._provider_timeout_seconds(batch.queue.kind)):
                    held = self._attachments.held(
                        batch.claimed.project_seq, batch.claimed.provider_seq, batch.content.data
                    )
                    files = await stack.enter_async_context(held)
            except AttachmentsRefused as error:
                await self._end_all(batch, Ended(DeliveryState.FAILED, str(error)))
            except (NotReachable, TimeoutError) as error:
                log.warning("attachments not readable", run=batch.claimed.run, reason=str(error) or "too slow")
                await self._give_back(batch, after_seconds=FILES_RETRY_SECONDS)
            else:
                batch.content = replace(batch.content, files=files)
                await self._send_all(batch)

    async def _send_all(self, batch: OpenBatch) -> None:
        assert batch.provider is not None
        with ExitStack() as stack:
            try:
                account = stack.enter_context(self._accounts.use(batch.provider))
            except ConfigurationError as error:
                # this process cannot read the account's credentials: the recipients wait, and the reason is told
                provider_seq = batch.claimed.provider_seq
                log.error("account unusable here", provider_seq=provider_seq, reason=error.message)  # noqa: TRY400  # it is no bug
                await self._end_all(batch, AccountFault(error.message))
                return
            await self._send_through(account, batch)

    async def _send_through(self, account: OpenAccount, batch: OpenBatch) -> None:
        groups: set[asyncio.Task[None]] = set()
        try:
            while batch.unmarked and not self._is_to_stop(batch):
                batch.is_waiting = True
                pause_seconds = self._pause_seconds(account, batch)
                if pause_seconds > LONG_REST_SECONDS:
                    break
                if pause_seconds:
                    await asyncio.sleep(pause_seconds)
                elif not account.must_probe(batch.claimed.run):
                    await self._send_some(batch, account, groups)
                elif not await self._probe(batch, account, groups):
                    break
            if groups:
                await asyncio.gather(*groups)
        except BaseException:
            for group in groups:
                group.cancel()
            raise
        await self._end_claim(account, batch)

    def _pause_seconds(self, account: OpenAccount, batch: OpenBatch) -> float:
        """How long the account may take nothing of this batch; 0: it may now."""
        pause_seconds = account.rest_seconds(batch.claimed.run)
        if batch.is_retry and not pause_seconds and account.retries.room <= 0:
            pause_seconds = max(account.retries.wait_seconds, RETRY_PAUSE_SECONDS)
        return pause_seconds

    async def _send_some(self, batch: OpenBatch, account: OpenAccount, groups: set[asyncio.Task[None]]) -> None:
        """As many as one call of the adapter should take; of those that may have killed a worker, one alone."""
        crashes, resends = batch.claimed.crashes, batch.claimed.resends
        if not goes_one_by_one(self._policy, crashes=crashes, resends=resends):
            await self._send_next(batch, account, groups, max(1, account.pace.limit // 4))
            return
        async with account.suspects:
            await self._send_next(batch, account, groups, 1)
            await asyncio.gather(*groups)

    async def _end_claim(self, account: OpenAccount, batch: OpenBatch) -> None:
        """Nothing of it is in flight: close it, or give the rest back."""
        if not batch.unmarked:
            await self._recorder.close(batch)
        elif (reason := account.fault_reason(batch.claimed.run)) and self._is_out_of_patience(batch):
            await self._end_all(batch, AccountFault(reason))
        else:
            await self._give_back_unsent(batch, account)

    def _is_to_stop(self, batch: OpenBatch) -> bool:
        """Whether nothing further of it may be sent under this claim."""
        return batch.is_stopping or self._clock.now() >= batch.message.expires_at

    async def _probe(self, batch: OpenBatch, account: OpenAccount, groups: set[asyncio.Task[None]]) -> bool:
        """Send to one recipient and wait for what it brings; False: somebody else is at it."""
        with account.probing(batch.claimed.run) as is_ours:
            if is_ours:
                await self._send_next(batch, account, groups, 1)
                await asyncio.gather(*groups)
        return is_ours

    def _is_out_of_patience(self, batch: OpenBatch) -> bool:
        """Whether a fault of the account ends the waiting; else one recipient at a time would find that out."""
        since = batch.claimed.waiting_since
        patience_seconds = self._policy.account_fault_patience_seconds
        return since is not None and (self._clock.now() - since).total_seconds() >= patience_seconds

    async def _send_next(
        self, batch: OpenBatch, account: OpenAccount, groups: set[asyncio.Task[None]], wanted: int
    ) -> None:
        """Take slots, mark that many recipients, and send them while the next ones are being marked."""
        taken = await self._take_slots(batch, account, min(batch.unmarked, wanted, account.adapter.largest_batch))
        if not taken:
            return
        start = batch.mark_to
        batch.is_waiting = False
        try:
            await self._recorder.mark(batch, start + taken)
        except BaseException:
            batch.share.give_back(batch.queue.lane, taken)
            if batch.is_retry:
                account.retries.give_back(taken)
            raise
        group = asyncio.create_task(self._send_group(batch, account, batch.claimed.targets[start : start + taken]))
        groups.add(group)
        group.add_done_callback(groups.discard)

    async def _take_slots(self, batch: OpenBatch, account: OpenAccount, wanted: int) -> int:
        """What the account's rate allows and the window has room for; 0: no token came, or meanwhile the batch is to
        stop, or the account rests.
        """
        if batch.is_retry:
            wanted = account.retries.take(wanted)
        allowed = wanted
        if account.rate and wanted:
            allowed = await account.rate.take(wanted, is_wanted=lambda: not self._is_to_stop(batch))
        taken = await batch.share.take(batch.queue.lane, allowed) if allowed else 0
        is_in_vain = self._is_to_stop(batch) or account.rest_seconds(batch.claimed.run) > 0.0
        if wanted > 1 and account.must_probe(batch.claimed.run):
            is_in_vain = True  # it was well when this began
        used = 0 if is_in_vain else taken
        if taken > used:
            batch.share.give_back(batch.queue.lane, taken - used)
        if account.rate:
            account.rate.give_back(allowed - used)
        if batch.is_retry:
            account.retries.give_back(wanted - used)
        return used

    async def _send_group(self, batch: OpenBatch, account: OpenAccount, target_seqs: Sequence[int]) -> None:
        """Every recipient handed in gets exactly one result, whatever happens."""
        requests: list[SendRequest] = []
        seqs: list[int] = []
        run = batch.claimed.run
        for target_seq in target_seqs:
            target = batch.targets.get(target_seq)
            if target is None or target.expired or target_seq in batch.suppressed:
                skipped = Ended(DeliveryState.SKIPPED, _why_skipped(target, batch.suppressed.get(target_seq)))
                self._recorder.add(batch, (target_seq, "", skipped))
                continue
            seqs.append(target_seq)
            requests.append(
                SendRequest(
                    f"{run}-{target_seq}",
                    target.identifier,
                    target.id,
                    batch.roles.get(target_seq, "to"),
                )
            )
        if batch.is_retry:
            account.retries.give_back(len(target_seqs) - len(requests))
        else:
            account.retries.note_first_tries(len(requests))
        if not requests:
            return
        if time.monotonic() > batch.lease_deadline - self._provider_timeout_seconds(batch.queue.kind):
            # frozen or cut off for too long: another worker may hold these soon, so nothing is sent any more
            if batch.is_retry:
                account.retries.give_back(len(requests))
            self._add_all(batch, seqs, requests, Retry("the lease was too short to send", after_seconds=0.0))
            return
        await self._hand_over(batch, account, seqs, requests)

    async def _hand_over(
        self, batch: OpenBatch, account: OpenAccount, seqs: list[int], requests: list[SendRequest]
    ) -> None:
        add = self._recorder.add
        open_indexes = set(range(len(requests)))
        account.begin_call()
        began = time.monotonic()
        in_flight = metrics.IN_FLIGHT.labels(batch.queue.kind)
        in_flight.inc(len(requests))
        try:
            async for index, answer in account.adapter.send(batch.content, requests):
                if len(open_indexes) == len(requests):  # the first answer of each group is the sample
                    metrics.PROVIDER_SECONDS.labels(batch.queue.kind).observe(time.monotonic() - began)
                open_indexes.discard(index)
                add(batch, (seqs[index], requests[index].identifier, self._learn(account, batch, answer)))
        except Exception as error:
            # a bug in an adapter must not lose recipients: they count as unknown, which they are
            log.exception("adapter failed", kind=batch.queue.kind, error=type(error).__name__)
        finally:
            for index in open_indexes:
                outcome = self._learn(account, batch, Unknown("the adapter gave no outcome"))
                add(batch, (seqs[index], requests[index].identifier, outcome))
            in_flight.dec(len(requests))
        account.pace.note(answers=len(requests), refusals=0)

    def _learn(self, account: OpenAccount, batch: OpenBatch, answer: Outcome) -> Outcome:
        """What an answer is worth, once the account has learnt from it."""
        if batch.is_retry:
            account.retries.note_retry(is_accepted=isinstance(answer, Accepted | Refused | DeadAddress))
        if isinstance(answer, Accepted):
            account.note_acceptance(batch.claimed.run)
            return answer
        retry_seconds = self._policy.account_fault_retry_seconds
        return account.observe(answer, retry_seconds, run=batch.claimed.run, attempt=batch.claimed.attempt)

    def _add_all(
        self, batch: OpenBatch, seqs: Sequence[int], requests: Sequence[SendRequest], outcome: Outcome
    ) -> None:
        for target_seq, request in zip(seqs, requests, strict=True):
            self._recorder.add(batch, (target_seq, request.identifier, outcome))

    async def _give_back_unsent(self, batch: OpenBatch, account: OpenAccount) -> None:
        """The process stops or the account rests: the unmarked rest becomes due again."""
        run = batch.claimed.run
        after_seconds = self._pause_seconds(account, batch)
        if account.must_probe(run) and not batch.is_stopping:
            after_seconds = max(after_seconds, LONG_REST_SECONDS)  # another batch is finding out
        if account.is_faulty or run in account.doubts:
            batch.waiting_since = batch.claimed.waiting_since or self._clock.now()
        await self._give_back(batch, after_seconds=after_seconds)

    async def _give_back(self, batch: OpenBatch, *, after_seconds: float) -> None:
        release_at = self._clock.now() + timedelta(seconds=after_seconds)
        batch.release_at = min(release_at, batch.message.expires_at)  # whoever waits longer is told then, not later
        await self._recorder.release(batch)


def _why_skipped(target: LoadedTarget | None, cause: str | None) -> str:
    if target is None:
        return "the target was deleted"
    return "the target has expired" if target.expired else f"the address is suppressed: {cause}"
