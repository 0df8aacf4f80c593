"""A worker's parts on one event loop, with a provider whose answers a test decides."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import ClassVar

from shared.db.secrets import open_secret_box
from shared.domain.clock import DatabaseClock
from shared.domain.outcome import Accepted, Outcome, UnknownRule
from shared.domain.retry import RetryPolicy
from shared.domain.status import Channel
from shared.files.contents import FileContents
from shared.providers.contract import Account, Adapter, Content, SendRequest
from tests.integration.pipeline.conftest import LEASE_SECONDS, QUEUE, Bench
from tests.unit.workers.batches import POLICY
from workers.accounts import Accounts
from workers.attachments import Attachments
from workers.batch import OpenBatch
from workers.claim import Claimer
from workers.deliver import Deliverer
from workers.rate import Rate
from workers.recorder import Recorder
from workers.window import Window

PROVIDER_TIMEOUT_SECONDS = 0.05


def accept(_request: SendRequest) -> Outcome:
    return Accepted("id")


@dataclass(slots=True)
class Provider:
    """Answers each request by `answer`, once `may_answer` is set."""

    kind: ClassVar[str] = "fcm"
    channel: ClassVar[Channel] = Channel.PUSH
    largest_batch: ClassVar[int] = 10
    batch_size: ClassVar[int] = 10
    unknown_rule: ClassVar[UnknownRule] = UnknownRule.RESEND
    has_receipts: ClassVar[bool] = False

    answer: Callable[[SendRequest], Outcome] = accept
    may_answer: asyncio.Event = field(default_factory=asyncio.Event)
    is_called: asyncio.Event = field(default_factory=asyncio.Event)
    asked: list[str] = field(default_factory=list)  # addresses, in the order they were handed over
    waits_for: Callable[[SendRequest], asyncio.Event | None] = lambda _request: None  # before the answer to one request
    pause_seconds: float = 0.0  # before each call's answers

    @property
    def in_flight_limit(self) -> int:
        return 8

    async def send(self, _content: Content, requests: Sequence[SendRequest]) -> AsyncIterator[tuple[int, Outcome]]:
        self.asked += [request.identifier for request in requests]
        self.is_called.set()
        await self.may_answer.wait()
        await asyncio.sleep(self.pause_seconds)
        held = {index: event for index, request in enumerate(requests) if (event := self.waits_for(request))}
        for index, request in enumerate(requests):
            if index not in held:
                yield index, self.answer(request)
        for index, event in held.items():
            await event.wait()
            yield index, self.answer(requests[index])

    async def aclose(self) -> None:
        """Nothing is open."""


@dataclass(slots=True)
class Worker:
    bench: Bench
    window: Window
    recorder: Recorder
    accounts: Accounts
    claimer: Claimer
    deliverer: Deliverer

    async def claim(self, queue: str = QUEUE, *, turns: int = 8, room: int = 60) -> list[OpenBatch]:
        return await self.claimer.claim(queue, turns=turns, room=room)

    async def deliver_due(self, queue: str = QUEUE) -> None:
        """All that is due, side by side, until nothing is."""
        while batches := await self.claim(queue):
            async with asyncio.TaskGroup() as group:
                for batch in batches:
                    group.create_task(self.deliverer.deliver(batch))

    def slots_out(self) -> int:
        return self.window.taken

    async def come_to_rest(self) -> None:
        """Until every slot is back: whoever lost a claim does not wait for the last results to be thrown away."""
        async with asyncio.timeout(2):
            while self.slots_out():  # noqa: ASYNC110  # the window tells nobody
                await asyncio.sleep(0.005)


@asynccontextmanager
async def working(
    bench: Bench,
    provider: Provider,
    *,
    make: Callable[[str, Account, bool], Adapter] | None = None,
    rates: Mapping[int, float] | None = None,
    policy: RetryPolicy = POLICY,
    contents: FileContents | None = None,
    lease_seconds: float = LEASE_SECONDS,
) -> AsyncIterator[Worker]:
    """`provider` answers for every account, unless `make` says otherwise. `rates`: a second, by provider_seq."""
    limits = rates or {}
    clock, window = DatabaseClock(), Window(60)
    recorder = Recorder(bench.engine, clock, policy, lease_seconds=lease_seconds)
    accounts = Accounts(
        open_secret_box(bench.settings),
        window,
        make or (lambda _kind, _account, _is_live: provider),
        lambda account: Rate(bench.engine, account.seq, limits[account.seq]) if account.seq in limits else None,
    )
    deliverer = Deliverer(
        recorder=recorder,
        accounts=accounts,
        attachments=Attachments(bench.engine, contents or FileContents(bench.engine, None)),
        clock=clock,
        policy=policy,
        provider_timeout_seconds=lambda _kind: PROVIDER_TIMEOUT_SECONDS,
    )
    recorder.start()
    try:
        claimer = Claimer(bench.engine, clock, window, lease_seconds=lease_seconds)
        yield Worker(bench, window, recorder, accounts, claimer, deliverer)
    finally:
        await recorder.stop()
