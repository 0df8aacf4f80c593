"""Fan out: due messages, a page of recipients, batches per provider, and the moved cursor, in one commit.

Safe to repeat: the cursor commits with the batches, and the rows are locked while a page is planned.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from shared import metrics
from shared.db.queries.claim import LoadedProvider, load_providers
from shared.db.queries.fan_out import (
    DueFanOut,
    NewBatch,
    PlannedPage,
    PlannedRecipient,
    insert_planned_batches,
    lock_due_fan_outs,
    lock_fan_out,
    move_fan_out_cursors,
    postpone_fan_out,
    read_recipient_page,
    start_fan_outs,
)
from shared.db.queries.finish import NO_PROVIDER, fail_unplanned_runs, finish_runs
from shared.db.session import HotConnection, hot_transaction
from shared.domain.queues import DeliveryQueue
from shared.domain.status import Lane
from shared.providers.registry import adapter_facts
from shared.settings import Settings
from workers.recorder import DATABASE_AWAY

MESSAGES_AT_ONCE = 200
"""Small messages planned in one transaction."""

MAX_CRASHES = 3
RETRY_SECONDS = 2.0

log = structlog.get_logger()


class Planner:
    """Plans due messages: many small ones together, or a page of a large one."""

    def __init__(self, engine: AsyncEngine, settings: Settings) -> None:
        self._engine = engine
        self._page_size = settings.page_size
        self._batch_size = settings.batch_size

    async def plan_due(self, *, is_bulk: bool) -> set[str] | None:
        """One transaction's worth of planning: the queues that got work, to be rung. None: nothing was due."""
        due: list[DueFanOut] = []
        try:
            async with hot_transaction(self._engine) as connection:
                due = await self._lock_due(connection, is_bulk=is_bulk)
                return await self._plan(connection, due) if due else None
        except DATABASE_AWAY:
            raise
        except Exception as error:
            if not due:
                raise
            log.exception("planning failed, each message is tried alone", error=type(error).__name__)
            return await self._plan_each(due)

    async def _plan_each(self, due: Sequence[DueFanOut]) -> set[str]:
        """A message that cannot be planned must not hold up its neighbours; the third failure ends it."""
        rung: set[str] = set()
        for fan_out in due:
            try:
                async with hot_transaction(self._engine) as connection:
                    locked = await lock_fan_out(connection, fan_out.run)
                    rung |= await self._plan(connection, locked)
            except DATABASE_AWAY:
                raise
            except Exception as error:
                log.exception("message cannot be planned", run=fan_out.run, crashes=fan_out.crashes + 1)
                async with hot_transaction(self._engine) as connection:
                    if fan_out.crashes + 1 >= MAX_CRASHES:
                        reason = f"The message could not be planned: {type(error).__name__}."
                        await fail_unplanned_runs(connection, [fan_out.run], error=reason)
                    else:
                        await postpone_fan_out(connection, fan_out.run, delay_seconds=RETRY_SECONDS)
        return rung

    async def _lock_due(self, connection: HotConnection, *, is_bulk: bool) -> list[DueFanOut]:
        """Many small messages of one channel, or a large one."""
        due = await lock_due_fan_outs(connection, is_bulk=is_bulk, limit=1 if is_bulk else MESSAGES_AT_ONCE)
        return [fan_out for fan_out in due if fan_out.channel == due[0].channel]

    async def _plan(self, connection: HotConnection, due: Sequence[DueFanOut]) -> set[str]:
        """All of one channel."""
        cancelled = [fan_out.run for fan_out in due if fan_out.is_deleted]
        if cancelled:
            await fail_unplanned_runs(connection, cancelled, error="The message was deleted.")
        live = await self._start(connection, [fan_out for fan_out in due if not fan_out.is_deleted])
        if not live:
            return set()
        return await self._plan_page(connection, live)

    async def _start(self, connection: HotConnection, due: list[DueFanOut]) -> list[DueFanOut]:
        fresh = [fan_out.run for fan_out in due if fan_out.bound is None]
        if not fresh:
            return due
        audiences = await start_fan_outs(connection, fresh)
        return [
            replace(fan_out, bound=audience.bound) if (audience := audiences.get(fan_out.run)) else fan_out
            for fan_out in due
        ]

    async def _plan_page(self, connection: HotConnection, due: Sequence[DueFanOut]) -> set[str]:
        providers = await load_providers(connection, list({fan_out.project_seq for fan_out in due}))
        page = await read_recipient_page(
            connection, [fan_out.run for fan_out in due], channel=due[0].channel, limit=self._page_size
        )
        recipients: defaultdict[int, list[PlannedRecipient]] = defaultdict(list)
        for recipient in page:
            recipients[recipient.run].append(recipient)
        batches: list[NewBatch] = []
        pages: list[PlannedPage] = []
        without_provider: list[int] = []
        for fan_out in due:
            walked = recipients[fan_out.run]
            planned = [recipient for recipient in walked if not recipient.is_gone]
            usable = _usable_providers(providers, fan_out)
            if planned and not usable:
                without_provider.append(fan_out.run)
                continue
            cut = self._cut(fan_out, planned, usable)
            batches += cut
            pages.append(
                PlannedPage(
                    run=fan_out.run,
                    cursor=walked[-1].target_seq if walked else 0,
                    planned=len(planned),
                    batches=len(cut),
                    is_last=len(walked) < self._page_size,
                )
            )
            metrics.RECIPIENTS_PLANNED.labels(fan_out.channel, fan_out.lane).inc(len(planned))
        await insert_planned_batches(connection, batches)
        await move_fan_out_cursors(connection, pages)
        await finish_runs(connection, [planned.run for planned in pages if planned.is_last and not planned.batches])
        if without_provider:
            await fail_unplanned_runs(connection, without_provider, error=NO_PROVIDER)
        return {batch.queue for batch in batches}

    def _cut(
        self, fan_out: DueFanOut, planned: Sequence[PlannedRecipient], usable: dict[str | None, LoadedProvider]
    ) -> list[NewBatch]:
        """Recipients grouped by provider and cut to its batch size. `usable[None]` is the default."""
        if not planned:
            return []
        default = usable[None]
        kinds = {provider.seq: provider.kind for provider in usable.values()}
        groups: defaultdict[int, list[int]] = defaultdict(list)
        for recipient in planned:
            groups[usable.get(recipient.provider_id, default).seq].append(recipient.target_seq)
        batches = []
        for provider_seq, target_seqs in groups.items():
            kind = kinds[provider_seq]
            size = self._batch_size or adapter_facts(kind).batch_size
            queue = DeliveryQueue(kind, Lane(fan_out.lane)).name
            batches += [
                NewBatch(
                    fan_out.run,
                    fan_out.project_seq,
                    fan_out.message_seq,
                    queue,
                    provider_seq,
                    target_seqs[start : start + size],
                )
                for start in range(0, len(target_seqs), size)
            ]
        return batches


def _usable_providers(providers: Sequence[LoadedProvider], fan_out: DueFanOut) -> dict[str | None, LoadedProvider]:
    """Enabled providers of the message's project and channel by public id; None: the oldest, the default."""
    usable: dict[str | None, LoadedProvider] = {}
    for provider in providers:  # oldest first
        if provider.enabled and provider.project_seq == fan_out.project_seq and provider.channel == fan_out.channel:
            usable.setdefault(None, provider)
            usable[provider.id] = provider
    return usable
