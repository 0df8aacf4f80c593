"""One project on an empty database, and the pipeline's own queries to play a worker with."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from shared.db.queries.claim import ClaimedBatch, Turn, claim_batches
from shared.db.queries.record import BatchChange, Recorded, Recording, record
from shared.db.queries.recover import Recovered, recover_expired_batches
from shared.db.session import create_engine, hot_transaction
from shared.domain.outcome import UnknownRule
from shared.domain.status import DeliveryState
from shared.settings import Settings
from tests.factories import Factory
from workers.fan_out import Planner

QUEUE = "push.fcm.bulk"
LEASE_SECONDS = 60.0

Rows = list[Any]
"""Tuples as the question asked for them."""

_names = count(1)


async def plan_next(planner: Planner) -> set[str] | None:
    """A transaction's worth of small messages, else of a large one; None: nothing is due."""
    planned = await planner.plan_due(is_bulk=False)
    return await planner.plan_due(is_bulk=True) if planned is None else planned


@dataclass(slots=True)
class Bench:
    """Rows laid out by hand, queries run one at a time, and what the tables say afterwards."""

    settings: Settings
    factory: Factory
    engine: AsyncEngine
    provider_seq: int = field(init=False)

    def __post_init__(self) -> None:
        self.provider_seq = self.factory.provider("fcm", "fcm", credentials={})

    def ask(self, question: str, *parameters: object) -> Rows:
        with self.factory.connect() as connection:
            return connection.execute(question.encode(), parameters).fetchall()

    def do(self, statement: str, *parameters: object) -> None:
        with self.factory.connect() as connection:
            connection.execute(statement.encode(), parameters)

    def progress(self, run: int, columns: str) -> tuple[Any, ...]:
        row: tuple[Any, ...]
        (row,) = self.ask(f"SELECT {columns} FROM message_progress WHERE run = %s", run)  # noqa: S608
        return row

    def status(self, run: int) -> str:
        ((status,),) = self.ask("SELECT status FROM messages WHERE run = %s", run)
        return str(status)

    def states(self, run: int) -> dict[str, int]:
        """How many recipients of the run are in which state, open ones included."""
        rows = self.ask("SELECT state, count(*) FROM recipients WHERE run = %s GROUP BY state", run)
        return {str(state): int(str(number)) for state, number in rows}

    def campaign(self, recipients: int, *, lane: str = "bulk") -> int:
        """A push message to that many people of its own, not planned yet; its run."""
        name = f"campaign{next(_names)}"
        topic = self.factory.topic(name)
        self.factory.audience(recipients, channel="push", prefix=name)
        self.factory.subscribe(topic, prefix=name)
        return self.factory.message(name, channel="push", topics=[name], lane=lane)

    async def plan(self, *, page_size: int = 10_000, batch_size: int | None = None) -> set[str]:
        """Plan all that is due; the queues that got work."""
        settings = self.settings.model_copy(update={"page_size": page_size, "batch_size": batch_size})
        planner, rung = Planner(self.engine, settings), set[str]()
        while (queues := await plan_next(planner)) is not None:
            rung |= queues
        return rung

    async def planned_campaign(self, recipients: int, *, batch_size: int | None = None) -> int:
        run = self.campaign(recipients)
        await self.plan(batch_size=batch_size)
        return run

    async def claim(
        self,
        *,
        queue: str = QUEUE,
        turns: int = 8,
        room: int = 1_000,
        excluded_providers: Sequence[int] = (),
        worker: str = "worker",
    ) -> list[ClaimedBatch]:
        async with hot_transaction(self.engine) as connection:
            claim = await claim_batches(
                connection,
                queue=queue,
                after=Turn(),
                turns=turns,
                room=room,
                lease_seconds=LEASE_SECONDS,
                worker=worker,
                excluded_providers=excluded_providers,
            )
        return claim.batches

    async def claim_one(self) -> ClaimedBatch:
        (batch,) = await self.claim(turns=1, room=1)
        return batch

    async def record(self, recording: Recording) -> Recorded:
        async with hot_transaction(self.engine) as connection:
            return await record(connection, recording, lease_seconds=LEASE_SECONDS)

    async def mark(self, batch: ClaimedBatch, to: int) -> Recorded:
        recording = Recording()
        change(recording, batch, marked=to)
        return await self.record(recording)

    async def finish_batch(self, batch: ClaimedBatch) -> Recorded:
        """Accepted, all of them."""
        recording = Recording()
        change(recording, batch, sent=batch.targets, closes=True)
        return await self.record(recording)

    async def wait_for_a_blocked_statement(self) -> None:
        """Until somebody waits for a lock in this database."""
        blocked = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        async with asyncio.timeout(5):
            while not self.ask(blocked):  # noqa: ASYNC110  # Postgres sends no event
                await asyncio.sleep(0.005)

    def run_out(self, batch: ClaimedBatch) -> None:
        """Its lease."""
        self.do("UPDATE batches SET lease_until = now() - interval '1 second' WHERE seq = %s", batch.seq)

    async def recover(
        self, rule: UnknownRule = UnknownRule.RESEND, *, max_resends: int = 3, database_up_seconds: float = 0.0
    ) -> Recovered:
        """A sweep; nothing expires until the database has been up for so long."""
        rule_of: Callable[[str], UnknownRule] = lambda _kind: rule  # noqa: E731  # a constant as a function
        async with hot_transaction(self.engine) as connection:
            return await recover_expired_batches(
                connection, lease_seconds=database_up_seconds, rule_of=rule_of, max_resends=max_resends
            )


def change(
    recording: Recording,
    batch: ClaimedBatch,
    *,
    marked: int | None = None,
    before: int = 0,
    sent: Sequence[int] = (),
    closes: bool = False,
) -> BatchChange:
    """Add to a recording: marks up to `marked` (all, if it closes), and acceptances after `before` earlier ones."""
    made = BatchChange(
        seq=batch.seq,
        token=batch.token,
        run=batch.run,
        recorded_before=before,
        attempted_to=len(batch.targets) if marked is None else marked,
        recorded_total=before + len(sent),
        sums={DeliveryState.SENT: len(sent)} if sent else {},
        is_closed=closes,
    )
    recording.changes.append(made)
    recording.ledger[batch.seq] += [
        (batch.run, target_seq, batch.project_seq, "sent", batch.provider_seq, "", batch.attempt, batch.resends, "")
        for target_seq in sent
    ]
    return made


@pytest.fixture
async def bench(settings: Settings) -> AsyncIterator[Bench]:
    engine = create_engine(settings, role="test")
    yield Bench(settings, Factory(settings), engine)
    await engine.dispose()
