"""Recording: one commit for marks, outcomes and settlements, guarded by token and count."""

import asyncio
from datetime import UTC, datetime, timedelta

from shared.db.queries.claim import ClaimedBatch
from shared.db.queries.record import BatchChange, FollowingBatch, Recording, record
from shared.db.session import hot_transaction
from shared.domain.status import DeliveryState
from tests.integration.pipeline.conftest import LEASE_SECONDS, Bench, change


def _fail(recording: Recording, batch: ClaimedBatch, errors: list[str]) -> BatchChange:
    """The whole batch, refused for good."""
    made = change(recording, batch, closes=True)
    made.sums[DeliveryState.FAILED] = len(batch.targets)
    made.errors = errors
    recording.ledger[batch.seq] += [
        (batch.run, target, batch.project_seq, "failed", batch.provider_seq, "", 1, 0, "no") for target in batch.targets
    ]
    return made


def _follow(
    recording: Recording,
    batch: ClaimedBatch,
    targets: list[int],
    *,
    due_at: datetime | None = None,
    resends: int = 0,
    crashes: int = 0,
) -> None:
    """These recipients are tried again, by default now."""
    due_at = due_at or datetime.now(UTC)
    recording.following[batch.seq].append(
        FollowingBatch(
            batch.run,
            batch.project_seq,
            batch.message_seq,
            batch.queue,
            batch.provider_seq,
            targets,
            due_at=due_at,
            attempt=batch.attempt + 1,
            resends=resends,
            crashes=crashes,
        )
    )
    recording.attempts[batch.seq] += [
        (batch.run, batch.seq, target, batch.provider_seq, batch.attempt, "retry", "retry", "busy", due_at)
        for target in targets
    ]


async def _turn_away(
    bench: Bench, batch: ClaimedBatch, *, before: int, count: int = 1, due_at: datetime, resends: int = 0
) -> None:
    """The next `count` recipients of a batch are refused for now, in a commit of their own; the last one closes it."""
    recording = Recording()
    targets = batch.targets[before : before + count]
    change(recording, batch, before=before, closes=before + count == len(batch.targets)).recorded_total += count
    _follow(recording, batch, targets, due_at=due_at, resends=resends)
    assert not (await bench.record(recording)).stale


async def test_marks_and_outcomes_are_committed_together(bench: Bench) -> None:
    run = await bench.planned_campaign(4)
    batch = await bench.claim_one()
    recording = Recording()
    change(recording, batch, marked=3, sent=batch.targets[:1])

    recorded = await bench.record(recording)

    assert recorded.stale == set()
    assert bench.ask("SELECT attempted_to, recorded_total, sent FROM batches") == [(3, 1, 1)]
    assert bench.states(run) == {"sent": 1, "claimed": 2, "queued": 1}


async def test_a_rolled_back_recording_leaves_nothing(bench: Bench) -> None:
    run = await bench.planned_campaign(2)
    batch = await bench.claim_one()
    recording = Recording()
    change(recording, batch, sent=batch.targets, closes=True)

    async with hot_transaction(bench.engine) as connection:
        await record(connection, recording, lease_seconds=LEASE_SECONDS)
        await connection.rollback()

    assert bench.states(run) == {"queued": 2}
    assert bench.progress(run, "batches_left, sent") == (1, 0)


async def test_a_lost_token_writes_nothing_of_its_batch_and_all_of_the_others(bench: Bench) -> None:
    run = await bench.planned_campaign(6, batch_size=2)
    lost, kept, closed = [await bench.claim_one() for _ in range(3)]
    bench.do("UPDATE batches SET token = nextval('fence_tokens') WHERE seq = %s", lost.seq)
    recording = Recording()
    change(recording, lost, sent=lost.targets[:1])
    _follow(recording, lost, lost.targets[1:])
    change(recording, kept, sent=kept.targets[:1])
    change(recording, closed, sent=closed.targets, closes=True)

    recorded = await bench.record(recording)

    assert recorded.stale == {lost.seq}
    assert bench.ask("SELECT attempted_to, recorded_total FROM batches WHERE seq = %s", lost.seq) == [(0, 0)]
    assert bench.ask("SELECT count(*) FROM attempts") == [(0,)]
    assert bench.states(run) == {"sent": 3, "claimed": 1, "queued": 2}
    assert bench.progress(run, "batches_left, sent") == (2, 2)


async def test_a_late_closing_is_refused_like_any_write(bench: Bench) -> None:
    run = await bench.planned_campaign(2)
    batch = await bench.claim_one()
    bench.do("UPDATE batches SET token = nextval('fence_tokens')")

    recorded = await bench.finish_batch(batch)

    assert recorded.stale == {batch.seq}
    assert bench.progress(run, "batches_left, sent") == (1, 0)


async def test_outcomes_that_follow_on_a_count_that_moved_are_refused(bench: Bench) -> None:
    run = await bench.planned_campaign(3)
    batch = await bench.claim_one()
    recording = Recording()
    change(recording, batch, sent=batch.targets[:1])
    await bench.record(recording)

    repeated = await bench.record(recording)

    assert repeated.stale == {batch.seq}
    assert bench.states(run) == {"sent": 1, "claimed": 2}


async def test_closing_settles_once(bench: Bench) -> None:
    run = await bench.planned_campaign(4, batch_size=2)
    first, second = [await bench.claim_one() for _ in range(2)]
    await bench.finish_batch(first)
    assert bench.progress(run, "batches_left, sent, finished_at") == (1, 2, None)

    assert (await bench.finish_batch(first)).stale == {first.seq}
    assert (await bench.finish_batch(second)).finished == 1

    assert bench.progress(run, "batches_left, sent, finished_at IS NOT NULL") == (0, 4, True)
    assert bench.ask("SELECT count(*) FROM batches") == [(0,)]


async def test_a_message_does_not_finish_while_recipients_wait_in_a_following_batch(bench: Bench) -> None:
    run = await bench.planned_campaign(3)
    batch = await bench.claim_one()
    recording = Recording()
    change(recording, batch, sent=batch.targets[:2], closes=True)
    _follow(recording, batch, batch.targets[2:])

    assert (await bench.record(recording)).finished == 0
    assert bench.states(run) == {"sent": 2, "queued": 1}
    assert (await bench.finish_batch(await bench.claim_one())).finished == 1

    assert bench.progress(run, "planned, sent, batches_left") == (3, 3, 0)


async def test_retries_due_at_the_same_moment_travel_together_whenever_they_were_decided(bench: Bench) -> None:
    run = await bench.planned_campaign(6, batch_size=3)
    due_at = datetime.now(UTC)
    first, second = [await bench.claim_one() for _ in range(2)]
    for before in range(3):
        for batch in (first, second):
            await _turn_away(bench, batch, before=before, due_at=due_at)
            assert bench.states(run).keys() <= {"queued", "claimed"}
            assert sum(bench.states(run).values()) == 6

    (retries,) = await bench.claim()

    assert sorted(retries.targets) == sorted(first.targets + second.targets)
    assert bench.progress(run, "batches_left") == (1,)
    assert (await bench.finish_batch(retries)).finished == 1
    assert bench.progress(run, "planned, sent, batches_left") == (6, 6, 0)


async def test_retries_of_one_recording_are_gathered_over_its_batches(bench: Bench) -> None:
    run = await bench.planned_campaign(4, batch_size=2)
    due_at = datetime.now(UTC)
    recording = Recording()
    for batch in await bench.claim(turns=8):
        change(recording, batch, closes=True).recorded_total = 2
        _follow(recording, batch, batch.targets[:1], due_at=due_at)
        _follow(recording, batch, batch.targets[1:], due_at=due_at)

    await bench.record(recording)

    assert bench.ask("SELECT cardinality(targets) FROM batches") == [(4,)]
    assert bench.progress(run, "batches_left") == (1,)


async def test_what_differs_in_time_tries_or_suspicion_travels_apart(bench: Bench) -> None:
    run = await bench.planned_campaign(5)
    batch = await bench.claim_one()
    now = datetime.now(UTC)
    await _turn_away(bench, batch, before=0, due_at=now)
    await _turn_away(bench, batch, before=1, due_at=now + timedelta(seconds=1))
    await _turn_away(bench, batch, before=2, due_at=now, resends=1)
    recording = Recording()
    change(recording, batch, before=3, closes=True).recorded_total = 5
    _follow(recording, batch, batch.targets[3:4], due_at=now, crashes=1)
    _follow(recording, batch, batch.targets[4:], due_at=now, crashes=1)
    await bench.record(recording)

    assert bench.ask("SELECT targets FROM batches ORDER BY targets") == [([target],) for target in batch.targets]
    assert bench.progress(run, "batches_left") == (5,)


async def test_a_batch_that_others_join_is_full_at_two_hundred(bench: Bench) -> None:
    run = await bench.planned_campaign(330)
    batch = await bench.claim_one()
    due_at = datetime.now(UTC)
    for before in range(0, 330, 110):
        await _turn_away(bench, batch, before=before, count=110, due_at=due_at)

    assert bench.ask("SELECT cardinality(targets) FROM batches ORDER BY seq") == [(110,)] * 3
    assert bench.progress(run, "batches_left") == (3,)


async def test_what_was_claimed_tried_or_given_back_is_not_joined(bench: Bench) -> None:
    run = await bench.planned_campaign(4)
    batch = await bench.claim_one()
    due_at = datetime.now(UTC)
    await _turn_away(bench, batch, before=0, due_at=due_at)
    claimed = await bench.claim_one()
    await _turn_away(bench, batch, before=1, count=2, due_at=due_at)
    tried = await bench.claim_one()
    recording = Recording()
    change(recording, tried, marked=1, sent=tried.targets[:1]).release_at = due_at
    await bench.record(recording)
    await _turn_away(bench, batch, before=3, due_at=due_at)

    assert bench.ask("SELECT targets FROM batches ORDER BY seq") == [
        (claimed.targets,),
        (tried.targets,),
        (batch.targets[3:],),
    ]
    assert bench.progress(run, "batches_left") == (3,)


async def test_a_batch_that_somebody_holds_is_not_waited_for(bench: Bench) -> None:
    run = await bench.planned_campaign(2)
    batch = await bench.claim_one()
    due_at = datetime.now(UTC)
    await _turn_away(bench, batch, before=0, due_at=due_at)

    async with hot_transaction(bench.engine) as connection:
        await connection.execute("SELECT FROM batches WHERE state = 'due' FOR UPDATE")
        await _turn_away(bench, batch, before=1, due_at=due_at)

    assert bench.ask("SELECT targets FROM batches ORDER BY seq") == [([target],) for target in batch.targets]
    assert bench.progress(run, "batches_left") == (2,)


async def test_two_recorders_that_gather_for_the_same_moment_never_wait_for_each_other_in_a_circle(
    bench: Bench,
) -> None:
    run = await bench.planned_campaign(60, batch_size=30)
    due_at = datetime.now(UTC)
    batches = [await bench.claim_one() for _ in range(2)]

    async def turn_away_all(batch: ClaimedBatch) -> None:
        for before in range(30):
            await _turn_away(bench, batch, before=before, due_at=due_at)

    await asyncio.gather(*(turn_away_all(batch) for batch in batches))

    rows = bench.ask("SELECT targets FROM batches")
    assert sorted(target for (targets,) in rows for target in targets) == sorted(
        target for batch in batches for target in batch.targets
    )
    assert bench.progress(run, "batches_left") == (len(rows),)


async def test_claims_and_recorders_at_once_lose_and_double_nobody(bench: Bench) -> None:
    run = await bench.planned_campaign(160, batch_size=40)
    due_at = datetime.now(UTC)
    batches = [await bench.claim_one() for _ in range(4)]
    sent: list[int] = []

    async def turn_away_all(batch: ClaimedBatch) -> None:
        for before in range(40):
            await _turn_away(bench, batch, before=before, due_at=due_at)

    async def send_what_is_due() -> None:
        while len(sent) < 160:
            for batch in await bench.claim(room=50):
                await bench.finish_batch(batch)
                sent.extend(batch.targets)
            assert sum(bench.states(run).values()) == 160

    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        group.create_task(send_what_is_due())
        for batch in batches:
            group.create_task(turn_away_all(batch))

    assert sorted(sent) == sorted(target for batch in batches for target in batch.targets)
    assert bench.progress(run, "sent, batches_left, finished_at IS NOT NULL") == (160, 0, True)


async def test_a_repeated_recording_joins_nothing_twice(bench: Bench) -> None:
    run = await bench.planned_campaign(3)
    batch = await bench.claim_one()
    due_at = datetime.now(UTC)
    await _turn_away(bench, batch, before=0, due_at=due_at)
    recording = Recording()
    change(recording, batch, before=1).recorded_total = 2
    _follow(recording, batch, batch.targets[1:2], due_at=due_at)
    await bench.record(recording)

    assert (await bench.record(recording)).stale == {batch.seq}

    assert bench.ask("SELECT targets FROM batches WHERE state = 'due'") == [(batch.targets[:2],)]
    assert bench.progress(run, "batches_left") == (2,)


async def test_a_batch_given_back_is_due_again_and_has_no_owner(bench: Bench) -> None:
    await bench.planned_campaign(3)
    batch = await bench.claim_one()
    recording = Recording()
    given_back = change(recording, batch, marked=1, sent=batch.targets[:1])
    given_back.release_at = given_back.waiting_since = datetime.now(UTC)
    await bench.record(recording)

    again = await bench.claim_one()

    assert (again.seq, again.attempted_to, again.recorded_total) == (batch.seq, 1, 1)
    assert again.waiting_since == given_back.waiting_since
    assert (await bench.mark(batch, 2)).stale == {batch.seq}


async def test_a_message_without_errors_is_sent(bench: Bench) -> None:
    run = await bench.planned_campaign(2)
    await bench.finish_batch(await bench.claim_one())

    assert bench.status(run) == "sent"
    assert bench.ask("SELECT delivered_at IS NOT NULL FROM messages") == [(True,)]


async def test_a_message_with_an_error_is_failed_though_some_were_reached(bench: Bench) -> None:
    run = await bench.planned_campaign(4, batch_size=2)
    reached, refused = [await bench.claim_one() for _ in range(2)]
    await bench.finish_batch(reached)
    recording = Recording()
    _fail(recording, refused, ["first", "second"])
    await bench.record(recording)

    assert bench.status(run) == "failed"
    assert bench.progress(run, "sent, failed, errors") == (2, 2, ["first", "second"])


async def test_a_message_that_reached_nobody_without_an_error_says_so(bench: Bench) -> None:
    run = await bench.planned_campaign(1)
    batch = await bench.claim_one()
    recording = Recording()
    change(recording, batch, closes=True).sums[DeliveryState.SKIPPED] = 1
    await bench.record(recording)

    assert bench.status(run) == "failed"
    assert bench.progress(run, "errors") == (["Unknown error"],)


async def test_the_first_hundred_errors_are_kept_in_the_order_of_their_batches(bench: Bench) -> None:
    run = await bench.planned_campaign(2, batch_size=1)
    for letter in "ab":
        recording = Recording()
        _fail(recording, await bench.claim_one(), [f"{letter}{n}" for n in range(70)])
        await bench.record(recording)

    assert bench.progress(run, "errors") == ([f"a{n}" for n in range(70)] + [f"b{n}" for n in range(30)],)


async def test_batches_of_many_messages_settle_in_one_recording(bench: Bench) -> None:
    runs = [await bench.planned_campaign(1) for _ in range(5)]
    recording = Recording()
    for batch in reversed(await bench.claim()):
        change(recording, batch, sent=batch.targets, closes=True)

    assert (await bench.record(recording)).finished == 5
    assert {bench.status(run) for run in runs} == {"sent"}


async def test_dead_tokens_expire_their_targets(bench: Bench) -> None:
    await bench.planned_campaign(2)
    batch = await bench.claim_one()
    addresses = [address for (address,) in bench.ask("SELECT identifier FROM targets ORDER BY seq")]
    recording = Recording(dead_targets={batch.targets[1]: addresses[1]})
    change(recording, batch, sent=batch.targets, closes=True)
    await bench.record(recording)

    assert bench.ask("SELECT expired FROM targets ORDER BY seq") == [(False,), (True,)]


async def test_a_device_that_registered_anew_while_its_old_token_was_tried_lives_on(bench: Bench) -> None:
    await bench.planned_campaign(1)
    batch = await bench.claim_one()
    ((address,),) = bench.ask("SELECT identifier FROM targets")
    bench.do("UPDATE targets SET identifier = 'fresh'")
    recording = Recording(dead_targets={batch.targets[0]: address})
    change(recording, batch, sent=batch.targets, closes=True)
    await bench.record(recording)

    assert bench.ask("SELECT expired FROM targets") == [(False,)]


async def test_an_account_fault_is_on_file_since_its_first_report_until_it_is_mended(bench: Bench) -> None:
    question = "SELECT fault_reason, fault_since FROM providers"
    await bench.record(Recording(faults={bench.provider_seq: "wrong key"}))
    ((reason, since),) = bench.ask(question)
    await bench.record(Recording(faults={bench.provider_seq: "still wrong"}))

    assert (reason, bench.ask(question)) == ("wrong key", [("still wrong", since)])
    await bench.record(Recording(faults={bench.provider_seq: None}))
    assert bench.ask(question) == [(None, None)]
