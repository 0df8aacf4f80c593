"""Recovery: what a dead worker may have sent is unknown, the rest was surely not sent."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import pytest

from shared.db.queries.claim import ClaimedBatch
from shared.db.queries.record import Recording
from shared.domain.outcome import UnknownRule
from shared.domain.retry import RetryPolicy, goes_one_by_one
from tests.integration.pipeline.conftest import Bench, change
from tests.unit.workers.batches import POLICY


async def _crash(
    bench: Bench, *, marked: int, sent: int = 0, rule: UnknownRule = UnknownRule.RESEND, max_resends: int = 3
) -> ClaimedBatch:
    """A worker claims, marks, records some acceptances, dies, and is swept up."""
    batch = await bench.claim_one()
    recording = Recording()
    change(recording, batch, marked=marked, sent=batch.targets[:sent])
    await bench.record(recording)
    bench.run_out(batch)
    await bench.recover(rule, max_resends=max_resends)
    return batch


def _due(bench: Bench) -> list[tuple[object, ...]]:
    """What each open batch still has to send, and how often that may have been sent before."""
    return bench.ask("SELECT targets[attempted_to + 1:], resends, crashes FROM batches ORDER BY seq")


async def test_marked_recipients_without_an_outcome_are_sent_again_apart_from_the_rest(bench: Bench) -> None:
    run = await bench.planned_campaign(6)

    batch = await _crash(bench, marked=4, sent=1)

    assert _due(bench) == [(batch.targets[4:], 0, 0), (batch.targets[1:4], 1, 1)]
    assert bench.progress(run, "batches_left, resends") == (2, 3)
    assert bench.states(run) == {"sent": 1, "queued": 5}
    assert bench.ask("SELECT target_seq, outcome, decision FROM attempts ORDER BY 1") == [
        (target, "crashed", "resend") for target in batch.targets[1:4]
    ]


async def test_recipients_that_moved_on_to_a_retry_are_not_unknown(bench: Bench) -> None:
    await bench.planned_campaign(3)
    batch = await bench.claim_one()
    throttled = batch.targets[0]
    recording = Recording()
    change(recording, batch, marked=2).recorded_total = 1
    recording.attempts[batch.seq].append(
        (batch.run, batch.seq, throttled, batch.provider_seq, 1, "retry", "retry", "busy", None)
    )
    await bench.record(recording)
    bench.run_out(batch)

    recovered = await bench.recover()

    assert (recovered.batches, recovered.resent) == (1, 1)
    assert _due(bench) == [(batch.targets[2:], 0, 0), ([batch.targets[1]], 1, 1)]


async def test_a_claim_without_marks_is_simply_due_again(bench: Bench) -> None:
    await bench.planned_campaign(3)

    batch = await _crash(bench, marked=0)

    assert _due(bench) == [(batch.targets, 0, 0)]
    assert bench.ask("SELECT count(*) FROM attempts") == [(0,)]


async def test_a_batch_whose_workers_die_before_they_mark_anything_waits_longer_each_time(bench: Bench) -> None:
    await bench.planned_campaign(3)
    waits = []
    for _ in range(10):
        await _crash(bench, marked=0)
        ((wait,),) = bench.ask("SELECT round(extract(epoch FROM due_at - now()))::int FROM batches")
        waits.append(wait)
        bench.do("UPDATE batches SET due_at = now()")

    assert waits == [0, 5, 10, 20, 40, 80, 160, 320, 600, 600]

    await _crash(bench, marked=1, sent=1)
    assert bench.ask("SELECT false_starts, due_at <= now() FROM batches") == [(0, True)]


async def test_where_the_rule_says_leave_nobody_is_sent_again(bench: Bench) -> None:
    run = await bench.planned_campaign(3)

    batch = await _crash(bench, marked=2, rule=UnknownRule.LEAVE)
    assert _due(bench) == [(batch.targets[2:], 0, 0)]
    rest = await bench.claim_one()
    recording = Recording()
    change(recording, rest, before=2, sent=rest.targets[2:], closes=True)
    await bench.record(recording)

    assert bench.states(run) == {"unknown": 2, "sent": 1}
    assert bench.progress(run, "unknown, sent, resends") == (2, 1, 0)
    assert bench.status(run) == "failed"


async def test_a_batch_whose_last_recipients_are_left_unknown_is_closed(bench: Bench) -> None:
    run = await bench.planned_campaign(2)

    await _crash(bench, marked=2, rule=UnknownRule.LEAVE)

    assert bench.progress(run, "unknown, batches_left, finished_at IS NOT NULL") == (2, 0, True)
    assert bench.progress(run, "errors") == (
        ["Failed sending to targets with error: the worker died before it could record the outcome"],
    )


async def test_whoever_is_in_flight_at_a_crash_is_resent_no_more_often_than_the_setting_says(bench: Bench) -> None:
    run = await bench.planned_campaign(5)
    crashes = 0
    while _due(bench):
        await _crash(bench, marked=5, max_resends=3)
        crashes += 1

    assert (crashes, bench.states(run)) == (4, {"unknown": 5})
    assert bench.progress(run, "resends, batches_left, finished_at IS NOT NULL") == (15, 0, True)
    assert bench.ask("SELECT DISTINCT resends, reason FROM deliveries") == [
        (3, "the worker died before it could record the outcome; sent again 3 times before, which is the most")
    ]


async def test_resends_after_unknown_outcomes_and_after_crashes_are_one_count(bench: Bench) -> None:
    run = await bench.planned_campaign(2)
    bench.do("UPDATE batches SET resends = 3")  # as after three unknown outcomes

    await _crash(bench, marked=1, max_resends=3)

    assert bench.states(run) == {"unknown": 1, "queued": 1}


async def test_nobody_is_sent_again_where_no_resend_is_allowed(bench: Bench) -> None:
    run = await bench.planned_campaign(2)

    await _crash(bench, marked=2, max_resends=0)

    assert bench.states(run) == {"unknown": 2}
    assert bench.progress(run, "resends") == (0,)


async def test_what_was_not_marked_keeps_its_place_before_those_in_flight(bench: Bench) -> None:
    await bench.planned_campaign(3)
    ((due_at,),) = bench.ask("SELECT due_at FROM batches")

    batch = await _crash(bench, marked=2)

    assert bench.ask("SELECT due_at FROM batches WHERE seq = %s", batch.seq) == [(due_at,)]
    assert (await bench.claim_one()).seq == batch.seq


async def test_a_suspect_alone_at_a_crash_is_counted_by_itself_and_the_others_are_not(bench: Bench) -> None:
    await bench.planned_campaign(5)
    for _ in range(2):
        await _crash(bench, marked=5)
    assert _due(bench)[0][1:] == (2, 2)

    batch = await _crash(bench, marked=1)  # one at a time now

    assert _due(bench) == [(batch.targets[1:], 2, 2), (batch.targets[:1], 3, 1)]


async def test_a_recipient_alone_in_three_crashes_is_given_up(bench: Bench) -> None:
    run = await bench.planned_campaign(1)
    for _ in range(3):
        await _crash(bench, marked=1)

    assert bench.states(run) == {"failed": 1}
    assert bench.progress(run, "resends, batches_left") == (2, 0)
    ((reason,),) = bench.ask("SELECT reason FROM deliveries")
    assert str(reason).startswith("poison: ")


@dataclass(slots=True)
class Copies:
    """Workers that send what is due, suspects one at a time; a kill leaves what is in flight accepted, not recorded."""

    bench: Bench
    policy: RetryPolicy
    accepted: Counter[int] = field(default_factory=Counter)  # by target

    async def work(self, is_killed: Callable[[Sequence[int]], bool]) -> bool:
        """One claim. True: the worker was killed while these were in flight."""
        batch = await self.bench.claim_one()
        is_suspect = goes_one_by_one(self.policy, crashes=batch.crashes, resends=batch.resends)
        step = 1 if is_suspect else len(batch.targets)
        for start in range(batch.attempted_to, len(batch.targets), step):
            in_flight = batch.targets[start : start + step]
            recording = Recording()
            done = batch.targets[max(batch.attempted_to, start - step) : start]
            change(recording, batch, marked=start + len(in_flight), before=start - len(done), sent=done)
            await self.bench.record(recording)
            self.accepted.update(in_flight)
            if is_killed(in_flight):
                self.bench.run_out(batch)
                await self.bench.recover(max_resends=self.policy.max_resends)
                return True
        last = batch.targets[max(batch.attempted_to, len(batch.targets) - step) :]
        recording = Recording()
        change(recording, batch, before=len(batch.targets) - len(last), sent=last, closes=True)
        await self.bench.record(recording)
        return False


@pytest.mark.parametrize("max_resends", [1, 2, 3, 5])
async def test_a_poisonous_recipient_is_the_only_one_that_is_not_sent(bench: Bench, max_resends: int) -> None:
    run = await bench.planned_campaign(20)
    ((poison,),) = bench.ask("SELECT seq FROM targets ORDER BY seq OFFSET 5 LIMIT 1")
    copies = Copies(bench, replace(POLICY, max_resends=max_resends))
    crashes = 0

    while bench.states(run).keys() & {"queued", "claimed"}:
        crashes += await copies.work(lambda in_flight: poison in in_flight)

    ((state, reason),) = bench.ask("SELECT state, reason FROM deliveries WHERE target_seq = %s", poison)
    assert (state, str(reason).split(":")[0]) in {("unknown", reason), ("failed", "poison")}
    assert bench.states(run) == {"sent": 19, state: 1}
    assert crashes <= 1 + max_resends
    assert max(copies.accepted.values()) <= 1 + max_resends
    assert max(copies.accepted[target] for target in copies.accepted if target != poison) <= 3


async def test_fourteen_kills_in_a_row_cost_nobody_more_copies_than_the_setting_says(bench: Bench) -> None:
    run = await bench.planned_campaign(20)
    copies = Copies(bench, replace(POLICY, max_resends=3))
    for _ in range(14):
        assert await copies.work(lambda _in_flight: True)

    while bench.states(run).keys() & {"queued", "claimed"}:
        await copies.work(lambda _in_flight: False)

    assert bench.states(run) == {"sent": 20}
    assert max(copies.accepted.values()) <= 1 + 3
    assert bench.progress(run, "resends") == (copies.accepted.total() - 20,)


async def test_a_worker_that_is_always_killed_comes_to_an_end(bench: Bench) -> None:
    run = await bench.planned_campaign(6)
    copies = Copies(bench, replace(POLICY, max_resends=3))

    while bench.states(run).keys() & {"queued", "claimed"}:
        await copies.work(lambda _in_flight: True)

    assert bench.states(run) == {"unknown": 6}
    assert set(copies.accepted.values()) == {1 + 3}


async def test_a_recipient_waiting_for_mended_credentials_keeps_its_patience_over_a_crash(bench: Bench) -> None:
    await bench.planned_campaign(2)
    bench.do("UPDATE batches SET waiting_since = now() - interval '5 minutes'")
    ((since,),) = bench.ask("SELECT waiting_since FROM batches")

    await _crash(bench, marked=1)

    assert bench.ask("SELECT waiting_since FROM batches") == [(since,), (since,)]


@pytest.mark.parametrize("seconds_left", [30.0, 0.5])
async def test_nothing_is_taken_before_its_lease_has_run_out(bench: Bench, seconds_left: float) -> None:
    await bench.planned_campaign(1)
    batch = await bench.claim_one()
    bench.do("UPDATE batches SET lease_until = now() + %s * interval '1 second'", seconds_left)

    assert (await bench.recover()).batches == 0
    assert (await bench.mark(batch, 1)).stale == set()


async def test_nothing_is_taken_before_the_database_has_been_up_for_a_lease(bench: Bench) -> None:
    await bench.planned_campaign(1)
    bench.run_out(await bench.claim_one())

    assert (await bench.recover(database_up_seconds=86_400)).batches == 0
    assert (await bench.recover()).batches == 1


async def test_a_write_that_comes_after_the_sweep_is_refused(bench: Bench) -> None:
    run = await bench.planned_campaign(2)
    batch = await _crash(bench, marked=2)

    assert (await bench.finish_batch(batch)).stale == {batch.seq}
    assert bench.states(run) == {"queued": 2}
