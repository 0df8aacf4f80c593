"""Claim and load: batches under our lease with everything needed to send them, or settled at once where nobody can."""

import os
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final, Literal, TypeVar

from sqlalchemy.ext.asyncio import AsyncEngine

from shared import metrics
from shared.db.queries.claim import (
    MOST_OF_ACCOUNT,
    Claim,
    ClaimedBatch,
    LoadedMessage,
    LoadedProvider,
    LoadedTarget,
    Turn,
    claim_batches,
    find_unchanged_providers,
    load_messages,
    load_providers,
    load_targets,
    resolve_roles,
)
from shared.db.queries.suppressions import suppressed_among
from shared.db.session import HotConnection, hot_statements
from shared.domain.clock import DatabaseClock
from shared.domain.queues import parse_delivery_queue
from shared.domain.status import Channel
from shared.providers.contract import Content
from shared.providers.registry import adapter_facts
from workers.batch import OpenBatch
from workers.window import Window

FURTHER_LOOKS: Final = 10

Value = TypeVar("Value")

Role = Literal["cc", "bcc"]
_ROLES: tuple[Role, ...] = ("bcc", "cc")


@dataclass(slots=True)
class _Loaded:
    """What one claim needs to know."""

    messages: dict[int, LoadedMessage]
    providers: list[LoadedProvider]
    targets: dict[int, LoadedTarget]
    roles: dict[int, dict[int, Role]] = field(default_factory=dict)  # key: message_seq, then target_seq
    suppressed: dict[int, str] = field(default_factory=dict)  # why; key: target_seq


class Claimer:
    """Claims in turns: each queue remembers the message it visited last."""

    def __init__(self, engine: AsyncEngine, clock: DatabaseClock, window: Window, *, lease_seconds: float) -> None:
        self._engine = engine
        self._window = window
        self._clock = clock
        self._lease_seconds = lease_seconds
        self._worker = f"{socket.gethostname()}/{os.getpid()}"
        self._turns: dict[str, Turn] = {}

    async def claim(
        self, queue: str, *, turns: int, room: int, excluded_providers: Sequence[int] = ()
    ) -> list[OpenBatch]:
        """Batches of at most `turns` messages, for `room` recipients, committed as ours before they are loaded.

        A single batch may be larger than the room. `excluded_providers`: accounts that can send nothing now.
        """
        began = time.monotonic()
        async with hot_statements(self._engine) as connection:
            claimed = await self._claim(
                connection, queue, turns=turns, room=room, excluded_providers=excluded_providers
            )
        return await self._load_claimed(claimed, began)

    async def claim_of(self, provider: LoadedProvider, queue: str) -> list[OpenBatch]:
        """A batch that is due of one account, out of turn: of its oldest message that has one."""
        began = time.monotonic()
        after = Turn(provider.project_seq, provider.seq)
        async with hot_statements(self._engine) as connection:
            claim = await self._claim_some(connection, queue, after, turns=1, room=1, only_provider=provider.seq)
        return await self._load_claimed(claim.batches, began)

    async def _load_claimed(self, claimed: Sequence[ClaimedBatch], began: float) -> list[OpenBatch]:
        metrics.CLAIM_SECONDS.labels("some" if claimed else "none").observe(time.monotonic() - began)
        if not claimed:
            return []
        self._clock.read(claimed[0].claimed_at)
        async with hot_statements(self._engine) as connection:
            unsent = {batch.seq: batch.targets[batch.attempted_to :] for batch in claimed}
            loaded = await self._load(connection, claimed, unsent)
        return [self._open(batch, loaded, began) for batch in claimed]

    async def refresh(self, batches: Sequence[OpenBatch]) -> None:
        """Load again what may have changed since these were claimed. A batch that would go another way now is stopped:
        its rest is given back, and the next claim decides.
        """
        claimed = [batch.claimed for batch in batches]
        unsent = {batch.claimed.seq: batch.claimed.targets[batch.mark_to :] for batch in batches}
        async with hot_statements(self._engine) as connection:
            loaded = await self._load(connection, claimed, unsent)
        for batch in batches:
            own, batch.fallback = _providers_of(batch.claimed, batch.message.channel, loaded)
            if loaded.messages[batch.claimed.message_seq].is_deleted or not _is_same(own, batch.provider):
                batch.is_stopping = True
            # in place: what was marked meanwhile is read from these as well
            for seq in unsent[batch.claimed.seq]:
                _replace(batch.targets, seq, loaded.targets.get(seq))
                _replace(batch.suppressed, seq, loaded.suppressed.get(seq))

    async def find_unchanged(self, providers: Sequence[LoadedProvider]) -> set[int]:
        """provider_seqs of those whose row is still as it was loaded."""
        async with hot_statements(self._engine) as connection:
            return await find_unchanged_providers(connection, providers)

    async def _claim(
        self, connection: HotConnection, queue: str, *, turns: int, room: int, excluded_providers: Sequence[int]
    ) -> list[ClaimedBatch]:
        """Go on with the round; where it ends before turns and room are used, start the next. Once all accounts had
        their share in one, whoever has most may have what is left.
        """
        claim_after = partial(self._claim_some, connection, queue, excluded_providers=excluded_providers)
        after = self._turns.get(queue, Turn())
        claim = await claim_after(after, turns=turns, room=room)
        claimed = claim.batches
        if claim.next == Turn() and (after != Turn() or claim.has_passed):
            turns -= len({(batch.message_seq, batch.provider_seq) for batch in claimed})
            room -= sum(batch.unmarked for batch in claimed)
            if turns > 0 and room > 0:
                of_account = turns if claim.has_passed and after == Turn() else MOST_OF_ACCOUNT
                claim = await claim_after(Turn(), turns=turns, room=room, of_account=of_account)
                claimed += claim.batches
        self._turns[queue] = claim.next
        return claimed

    async def _claim_some(
        self,
        connection: HotConnection,
        queue: str,
        after: Turn,
        *,
        turns: int,
        room: int,
        of_account: int = MOST_OF_ACCOUNT,
        excluded_providers: Sequence[int] = (),
        only_provider: int | None = None,
    ) -> Claim:
        """Where nothing was found among all that a claim may look at, look behind that, some times: much may wait there
        for nothing but its time.
        """
        for _ in range(1 + FURTHER_LOOKS):
            claim = await claim_batches(
                connection,
                queue=queue,
                after=after,
                turns=turns,
                room=room,
                of_account=of_account,
                lease_seconds=self._lease_seconds,
                worker=self._worker,
                excluded_providers=excluded_providers,
                only_provider=only_provider,
            )
            after = claim.next
            if claim.batches or after == Turn():
                break
        return claim

    async def _load(
        self, connection: HotConnection, claimed: Sequence[ClaimedBatch], unsent: Mapping[int, Sequence[int]]
    ) -> _Loaded:
        """`unsent`: the target_seqs of each batch that are still to be sent, by its seq."""
        messages = await load_messages(connection, list({batch.message_seq for batch in claimed}))
        loaded = _Loaded(
            messages=messages,
            providers=await load_providers(connection, list({batch.project_seq for batch in claimed})),
            targets=await load_targets(connection, [seq for batch in claimed for seq in unsent[batch.seq]]),
        )
        loaded.suppressed = await suppressed_among(
            connection,
            [
                seq
                for batch in claimed
                if messages[batch.message_seq].channel != Channel.PUSH  # dead tokens expire their targets
                for seq in unsent[batch.seq]
            ],
        )
        for batch in claimed:
            message = messages[batch.message_seq]
            if batch.message_seq not in loaded.roles and (message.data.get("cc") or message.data.get("bcc")):
                loaded.roles[batch.message_seq] = await _load_roles(connection, batch.project_seq, message)
        return loaded

    def _open(self, claimed: ClaimedBatch, loaded: _Loaded, began: float) -> OpenBatch:
        queue = parse_delivery_queue(claimed.queue)
        message = loaded.messages[claimed.message_seq]
        own, fallback = _providers_of(claimed, message.channel, loaded)
        return OpenBatch(
            claimed=claimed,
            queue=queue,
            message=message,
            provider=own,
            fallback=fallback,
            content=Content(
                run=claimed.run,
                channel=Channel(message.channel),
                data=message.data,
                expires_at=message.expires_at.timestamp(),
            ),
            targets=loaded.targets,
            suppressed=loaded.suppressed,
            roles=loaded.roles.get(claimed.message_seq, {}),
            unknown_rule=adapter_facts(queue.kind).unknown_rule,
            share=self._window.share_of(claimed.provider_seq, claimed.project_seq),
            lease_deadline=began + self._lease_seconds,
            attempted_to=claimed.attempted_to,
            recorded_total=claimed.recorded_total,
            mark_to=claimed.attempted_to,
        )


def _providers_of(
    claimed: ClaimedBatch, channel: str, loaded: _Loaded
) -> tuple[LoadedProvider | None, LoadedProvider | None]:
    """The batch's own provider, None where it is disabled or gone, and another one to go on with."""
    siblings = [
        provider
        for provider in loaded.providers
        if provider.project_seq == claimed.project_seq and provider.channel == channel and provider.enabled
    ]
    own = next((provider for provider in siblings if provider.seq == claimed.provider_seq), None)
    others = [provider for provider in siblings if provider is not own]
    # after a fault only a faultless one helps; a provider that is gone is replaced by the default, the oldest
    return own, next((other for other in others if own is None or not other.has_fault), None)


def _replace(values: dict[int, Value], key: int, value: Value | None) -> None:
    if value is None:
        values.pop(key, None)
    else:
        values[key] = value


def _is_same(provider: LoadedProvider | None, earlier: LoadedProvider | None) -> bool:
    """Whether an account is used as it was; that it is at fault, or no longer, is no change of it."""
    if provider is None or earlier is None:
        return provider is earlier
    return (provider.version, provider.is_live) == (earlier.version, earlier.is_live)


async def _load_roles(connection: HotConnection, project_seq: int, message: LoadedMessage) -> dict[int, Role]:
    """Who is cc or bcc rather than To. Named in `targets` as well: To wins, as deduplication has it."""
    roles: dict[int, Role] = {}
    for role in _ROLES:
        seqs = await resolve_roles(connection, project_seq=project_seq, target_ids=message.data.get(role) or [])
        roles |= dict.fromkeys(seqs.values(), role)
    return roles
