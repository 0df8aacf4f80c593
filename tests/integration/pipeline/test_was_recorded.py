"""After a lost connection: did that commit happen?"""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from shared.db.queries.claim import ClaimedBatch
from shared.db.queries.record import FollowingBatch, Recording, record, was_recorded
from shared.db.session import hot_transaction
from tests.integration.pipeline.conftest import LEASE_SECONDS, Bench, change

DUE_AT = datetime(2026, 7, 1, tzinfo=UTC)

Change = Callable[[Recording, ClaimedBatch], None]


async def _ask(bench: Bench, recording: Recording) -> bool:
    async with hot_transaction(bench.engine) as connection:
        return await was_recorded(connection, recording)


async def _claim_two(bench: Bench) -> list[ClaimedBatch]:
    await bench.planned_campaign(4, batch_size=2)
    return [await bench.claim_one() for _ in range(2)]


def _mark(recording: Recording, batch: ClaimedBatch) -> None:
    change(recording, batch, marked=1)


def _outcome(recording: Recording, batch: ClaimedBatch) -> None:
    change(recording, batch, marked=2, sent=batch.targets[:1])


def _closing(recording: Recording, batch: ClaimedBatch) -> None:
    change(recording, batch, sent=batch.targets, closes=True)


def _release(recording: Recording, batch: ClaimedBatch) -> None:
    change(recording, batch, marked=0).release_at = datetime.now(UTC)


def _retry(recording: Recording, batch: ClaimedBatch) -> None:
    """One recipient moves on, into a batch that the other one's retry joins."""
    change(recording, batch, marked=1).recorded_total = 1
    recording.following[batch.seq].append(
        FollowingBatch(
            batch.run,
            batch.project_seq,
            batch.message_seq,
            batch.queue,
            batch.provider_seq,
            batch.targets[:1],
            due_at=DUE_AT,
            attempt=2,
            resends=0,
        )
    )


@pytest.mark.parametrize(
    "changes",
    [
        (_mark, _outcome),
        (_outcome, _closing),
        (_closing, _mark),
        (_closing, _closing),
        (_mark, _release),
        (_retry, _retry),
    ],
)
async def test_a_recording_is_known_by_any_of_its_batches(bench: Bench, changes: tuple[Change, Change]) -> None:
    recording = Recording()
    for make, batch in zip(changes, await _claim_two(bench), strict=True):
        make(recording, batch)
    assert not await _ask(bench, recording)  # as after a rollback

    await bench.record(recording)

    assert await _ask(bench, recording)


async def test_a_batch_that_was_taken_from_us_says_nothing_about_the_others(bench: Bench) -> None:
    taken, ours = await _claim_two(bench)
    recording = Recording()
    _mark(recording, taken)
    _outcome(recording, ours)
    bench.do("DELETE FROM batches WHERE seq = %s", taken.seq)  # another worker closed it

    assert not await _ask(bench, recording)


async def test_a_commit_that_is_still_under_way_is_waited_for(bench: Bench) -> None:
    batch, _ = await _claim_two(bench)
    recording = Recording()
    _outcome(recording, batch)

    async with hot_transaction(bench.engine) as connection:
        await record(connection, recording, lease_seconds=LEASE_SECONDS)
        answer = asyncio.create_task(_ask(bench, recording))
        await bench.wait_for_a_blocked_statement()

    assert await answer
