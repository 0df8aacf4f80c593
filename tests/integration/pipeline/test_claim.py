"""Claims: who gets which batch, in what order, and what nobody gets."""

import asyncio
from collections import Counter

import pytest

from shared.db.queries import claim as claim_queries
from shared.db.queries.claim import MOST_OF_ACCOUNT, load_providers, renew_leases
from shared.db.session import hot_transaction
from shared.domain.clock import DatabaseClock
from tests.factories import Factory
from tests.integration.pipeline.conftest import LEASE_SECONDS, QUEUE, Bench
from workers import claim as worker_claim
from workers.claim import Claimer
from workers.window import Window


def _claimer(bench: Bench) -> Claimer:
    return Claimer(bench.engine, DatabaseClock(), Window(100), lease_seconds=LEASE_SECONDS)


async def _claimed_runs(claimer: Claimer, *, turns: int, room: int) -> list[int]:
    return [batch.claimed.run for batch in await claimer.claim(QUEUE, turns=turns, room=room)]


async def test_each_message_gets_one_turn_and_the_next_claim_goes_on_after_it(bench: Bench) -> None:
    runs = [await bench.planned_campaign(4, batch_size=2) for _ in range(3)]
    claimer = _claimer(bench)

    assert await _claimed_runs(claimer, turns=2, room=4) == runs[:2]
    assert await _claimed_runs(claimer, turns=1, room=1) == runs[2:]
    assert await _claimed_runs(claimer, turns=3, room=6) == runs  # the second round
    assert await _claimed_runs(claimer, turns=3, room=6) == []


async def test_a_claim_that_reaches_the_end_of_the_round_fills_up_from_its_start(bench: Bench) -> None:
    first = await bench.planned_campaign(4, batch_size=2)
    second = await bench.planned_campaign(4, batch_size=2)
    claimer = _claimer(bench)
    assert await _claimed_runs(claimer, turns=1, room=1) == [first]

    assert await _claimed_runs(claimer, turns=2, room=4) == [second, first]


async def test_a_second_project_is_served_by_the_first_claim_after_its_message_is_planned(bench: Bench) -> None:
    await bench.planned_campaign(100, batch_size=1)
    claimer = _claimer(bench)
    await _claimed_runs(claimer, turns=1, room=1)
    neighbour = Factory(bench.settings, project_id="neighbour")
    neighbour.provider("fcm", "fcm", credentials={})
    neighbour.audience(1, channel="push")
    run = neighbour.message("hello", channel="push", users=["person-1"])
    await bench.plan()

    assert await _claimed_runs(claimer, turns=1, room=1) == [run]


async def test_messages_that_wait_for_their_retries_starve_nobody(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(5):
        await bench.planned_campaign(1)
    bench.do("UPDATE batches SET due_at = now() + interval '1 hour'")
    due = await bench.planned_campaign(1)
    claimer = _claimer(bench)
    # a statement looks at so many messages; where none of them has anything, the next one looks behind them
    monkeypatch.setattr(claim_queries, "MOST_STEPS", 4)

    assert await _claimed_runs(claimer, turns=1, room=1) == [due]


async def test_the_due_batches_of_a_message_are_claimed_oldest_first(bench: Bench) -> None:
    await bench.planned_campaign(3, batch_size=1)
    newest, _, oldest = (seq for (seq,) in bench.ask("SELECT seq FROM batches ORDER BY seq"))
    bench.do("UPDATE batches SET due_at = now() - interval '1 hour' WHERE seq = %s", oldest)
    bench.do("UPDATE batches SET due_at = now() + interval '1 hour' WHERE seq = %s", newest)

    assert (await bench.claim_one()).seq == oldest
    assert (await bench.claim_one()).seq not in {oldest, newest}
    assert await bench.claim() == []


async def test_a_batch_that_a_neighbour_is_claiming_is_passed_over(bench: Bench) -> None:
    await bench.planned_campaign(2, batch_size=1)
    async with hot_transaction(bench.engine) as connection:
        cursor = await connection.execute("SELECT seq FROM batches ORDER BY seq LIMIT 1 FOR UPDATE")
        ((held,),) = await cursor.fetchall()

        assert (await bench.claim_one()).seq != held


async def test_claimers_at_once_never_get_the_same_batch(bench: Bench) -> None:
    for _ in range(3):
        await bench.planned_campaign(40, batch_size=1)

    rounds = [
        await asyncio.gather(*(bench.claim(turns=3, room=3, worker=worker) for worker in ("a", "b", "c", "d")))
        for _ in range(20)
    ]

    claimed = [batch.seq for claims in rounds for batches in claims for batch in batches]
    assert len(claimed) == len(set(claimed)) == 120


def _cut(bench: Bench, run: int, pieces: int) -> None:
    """So many recipients of the run's only batch get batches of their own, due before it, a second apart."""
    bench.do(
        "INSERT INTO batches (run, project_seq, message_seq, queue, provider_seq, targets, due_at)"
        " SELECT run, project_seq, message_seq, queue, provider_seq, ARRAY[target.seq],"
        "  now() - interval '1 minute' + target.position * interval '1 second'"
        " FROM batches CROSS JOIN LATERAL unnest(targets) WITH ORDINALITY AS target (seq, position)"
        " WHERE run = %s AND position <= %s",
        run,
        pieces,
    )
    bench.do("UPDATE batches SET targets = targets[%s + 1:] WHERE run = %s AND cardinality(targets) > 1", pieces, run)


async def test_small_batches_of_one_message_are_taken_together_oldest_first_as_far_as_they_fit(bench: Bench) -> None:
    run = await bench.planned_campaign(30)
    _cut(bench, run, pieces=10)
    due = [seq for (seq,) in bench.ask("SELECT seq FROM batches ORDER BY due_at")]

    assert [batch.seq for batch in await bench.claim(room=7)] == due[:7]
    assert [batch.seq for batch in await bench.claim(room=22)] == due[
        7:10
    ]  # the one of twenty does not fit beside them
    assert [batch.seq for batch in await bench.claim(room=19)] == due[10:]  # but is taken alone


async def test_what_room_is_left_after_everybody_s_turn_is_shared(bench: Bench) -> None:
    runs = [await bench.planned_campaign(6) for _ in range(3)]
    for run in runs[:2]:
        _cut(bench, run, pieces=6)

    claimed = await bench.claim(room=12)

    assert [batch.run for batch in claimed[:3]] == runs
    assert Counter(batch.run for batch in claimed) == {runs[0]: 3, runs[1]: 3, runs[2]: 1}


async def test_a_message_that_the_room_did_not_reach_has_the_next_turn(bench: Bench) -> None:
    runs = [await bench.planned_campaign(4, batch_size=2) for _ in range(3)]
    claimer = _claimer(bench)

    assert await _claimed_runs(claimer, turns=8, room=3) == runs[:1]
    assert await _claimed_runs(claimer, turns=8, room=3) == runs[1:2]
    assert await _claimed_runs(claimer, turns=8, room=4) == [runs[2], runs[0]]
    assert await _claimed_runs(claimer, turns=8, room=100) == runs[1:]


async def test_tiny_batches_of_one_message_do_not_take_the_turns_of_another(bench: Bench) -> None:
    first = await bench.planned_campaign(10)
    _cut(bench, first, pieces=10)
    second = await bench.planned_campaign(4)
    claimer = _claimer(bench)

    assert await _claimed_runs(claimer, turns=8, room=5) == [first, second]


async def test_batches_of_an_account_without_room_stay_and_hold_up_nobody(bench: Bench) -> None:
    spare = bench.factory.provider("fcm", "spare", credentials={})
    blocked = await bench.planned_campaign(2)
    mixed = await bench.planned_campaign(4, batch_size=2)
    (newest, *_) = bench.ask("SELECT seq FROM batches WHERE run = %s ORDER BY due_at DESC, seq DESC", mixed)
    bench.do("UPDATE batches SET provider_seq = %s WHERE seq = %s", spare, *newest)
    free = await bench.planned_campaign(2)
    bench.do("UPDATE batches SET provider_seq = %s WHERE run = %s", spare, free)

    claimed = await bench.claim(excluded_providers=[bench.provider_seq])

    assert [(batch.run, batch.provider_seq) for batch in claimed] == [(mixed, spare), (free, spare)]
    assert await bench.claim(excluded_providers=[bench.provider_seq, spare]) == []
    assert [batch.run for batch in await bench.claim()] == [blocked, mixed]


async def test_a_claim_tells_how_often_the_workers_of_a_batch_died(bench: Bench) -> None:
    await bench.planned_campaign(2)
    first = await bench.claim_one()
    await bench.mark(first, 2)
    bench.run_out(first)
    await bench.recover()

    assert (first.crashes, (await bench.claim_one()).crashes) == (0, 1)


async def test_a_later_claim_has_the_greater_token(bench: Bench) -> None:
    await bench.planned_campaign(1)
    first = await bench.claim_one()
    bench.run_out(first)
    await bench.recover()

    second = await bench.claim_one()

    assert second.seq == first.seq
    assert second.token > first.token


async def test_a_lease_is_renewed_under_its_token_only(bench: Bench) -> None:
    await bench.planned_campaign(2, batch_size=1)
    ours, lost = [await bench.claim_one() for _ in range(2)]
    bench.run_out(ours)

    async with hot_transaction(bench.engine) as connection:
        held = [(ours.seq, ours.token), (lost.seq, lost.token - 1)]
        renewed = await renew_leases(connection, held, lease_seconds=LEASE_SECONDS)

    assert (renewed.ours, renewed.locked) == ({ours.seq}, set())
    assert bench.ask("SELECT lease_until > now() FROM batches WHERE seq = %s", ours.seq) == [(True,)]


async def test_a_lease_whose_row_is_locked_is_not_waited_for_and_not_lost(bench: Bench) -> None:
    await bench.planned_campaign(2, batch_size=1)
    locked, free = [await bench.claim_one() for _ in range(2)]

    with bench.factory.connect() as connection, connection.transaction():
        connection.execute("SELECT FROM batches WHERE seq = %s FOR UPDATE", [locked.seq])
        async with hot_transaction(bench.engine) as renewing:
            held = [(batch.seq, batch.token) for batch in (locked, free)]
            renewed = await renew_leases(renewing, held, lease_seconds=LEASE_SECONDS)

    assert (renewed.ours, renewed.locked) == ({free.seq}, {locked.seq})


async def test_an_account_that_can_send_nothing_is_passed_over_at_once(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(6):
        await bench.planned_campaign(1)
    other = bench.factory.provider("fcm", "other", credentials={})
    due = await bench.planned_campaign(1)
    bench.do("UPDATE batches SET provider_seq = %s WHERE run = %s", other, due)
    monkeypatch.setattr(claim_queries, "MOST_STEPS", 2)
    monkeypatch.setattr(worker_claim, "FURTHER_LOOKS", 0)

    claimed = await _claimer(bench).claim(QUEUE, turns=8, room=8, excluded_providers=[bench.provider_seq])

    assert [batch.claimed.run for batch in claimed] == [due]


async def test_one_account_s_oldest_batch_can_be_claimed_out_of_turn(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(6):
        await bench.planned_campaign(1)
    other = bench.factory.provider("fcm", "other", credentials={})
    waiting, *due = [await bench.planned_campaign(1) for _ in range(3)]
    bench.do("UPDATE batches SET provider_seq = %s WHERE run = ANY(%s)", other, [waiting, *due])
    bench.do("UPDATE batches SET due_at = now() + interval '1 hour' WHERE run = %s", waiting)
    monkeypatch.setattr(claim_queries, "MOST_STEPS", 2)  # however much is due at accounts before it
    async with hot_transaction(bench.engine) as connection:
        providers = {one.seq: one for one in await load_providers(connection, [bench.factory.project_seq])}

    claims = [await _claimer(bench).claim_of(providers[other], QUEUE) for _ in range(3)]

    assert [[batch.claimed.run for batch in claim] for claim in claims] == [[due[0]], [due[1]], []]


async def test_an_account_with_many_messages_has_a_share_of_a_round_and_then_what_is_left(
    bench: Bench,
) -> None:
    for _ in range(MOST_OF_ACCOUNT + 8):
        await bench.planned_campaign(1)
    other = bench.factory.provider("fcm", "other", credentials={})
    due = await bench.planned_campaign(1)
    bench.do("UPDATE batches SET provider_seq = %s WHERE run = %s", other, due)
    claimer = _claimer(bench)

    first = await claimer.claim(QUEUE, turns=MOST_OF_ACCOUNT + 4, room=100)
    second = await claimer.claim(QUEUE, turns=MOST_OF_ACCOUNT + 4, room=100)

    assert [batch.claimed.run for batch in first].index(due) == MOST_OF_ACCOUNT
    assert (len(first), len(second)) == (MOST_OF_ACCOUNT + 4, 5)
