"""The window: how many recipients may be in flight, and whose they are."""

import asyncio
import time
from collections import Counter

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from shared.domain.status import Lane
from workers.window import ANSWERING_SECONDS, Share, Window

OURS, THEIRS, ANOTHER = 1, 2, 3
SINGLE, BULK = Lane.TRANSACTIONAL, Lane.BULK


def _answering(window: Window, provider_seq: int) -> Share:
    """The share of an account that has just answered, alone in its project."""
    share = window.share_of(provider_seq, project_seq=provider_seq)
    share.note_answer()
    return share


async def _wait(share: Share, lane: Lane, wanted: int) -> asyncio.Task[int]:
    """A taker that finds nothing and stands in line."""
    task = asyncio.create_task(share.take(lane, wanted))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not task.done()
    return task


async def test_no_account_takes_every_slot() -> None:
    window = Window(24)

    assert await _answering(window, OURS).take(SINGLE, 100) == 16
    assert await _answering(window, THEIRS).take(SINGLE, 100) == 5


async def test_the_last_slots_are_for_accounts_that_hold_few() -> None:
    window = Window(24)
    await _answering(window, OURS).take(SINGLE, 100)
    await _answering(window, THEIRS).take(SINGLE, 100)

    assert window.share_of(OURS).room(SINGLE) <= 0
    assert await _answering(window, ANOTHER).take(SINGLE, 100) == 3


async def test_an_account_that_has_not_answered_yet_holds_no_more_than_a_beginner() -> None:
    window = Window(640)
    silent = window.share_of(OURS)

    assert await silent.take(SINGLE, 1_000) == window.beginners_part == 10
    waiting = await _wait(silent, SINGLE, 1_000)
    silent.note_answer()

    assert await waiting == 416


async def test_an_account_that_fell_silent_gets_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    window = Window(640)
    share = _answering(window, OURS)
    assert await share.take(SINGLE, 300) == 300
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + ANSWERING_SECONDS)

    assert share.room(SINGLE) < 0
    assert window.share_of(THEIRS).room(SINGLE) == window.beginners_part


@pytest.mark.parametrize("lane", [SINGLE, BULK])
async def test_any_number_of_silent_accounts_of_a_project_leaves_another_project_something(lane: Lane) -> None:
    window = Window(4_000)
    for silent in range(100, 300):
        share = window.share_of(silent, OURS)
        if share.room(lane) > 0:
            await share.take(lane, 1_000)

    theirs = window.share_of(ANOTHER, THEIRS)
    assert await theirs.take(lane, 1_000) == window.beginners_part
    theirs.give_back(lane, window.beginners_part)
    theirs.note_answer()
    assert theirs.room(lane) >= window.beginners_part


async def test_any_number_of_silent_accounts_leaves_an_answering_one_most_of_the_window() -> None:
    window = Window(4_000)
    for silent in range(100, 110):
        await window.share_of(silent).take(BULK, 1_000)

    assert await _answering(window, OURS).take(BULK, 2_500) == 2_500


async def test_bulk_sendings_together_leave_a_share_to_the_other_lanes() -> None:
    window = Window(24)
    ours, theirs = _answering(window, OURS), _answering(window, THEIRS)

    assert await ours.take(BULK, 100) == 16
    assert await theirs.take(BULK, 100) == 4
    assert window.share_of(ANOTHER).room(BULK) == 0
    assert await window.share_of(ANOTHER).take(SINGLE, 100) == 4


async def test_a_campaign_that_fills_its_account_leaves_room_there_for_single_messages() -> None:
    share = _answering(Window(1_000), OURS)
    share.set_limit(100)

    assert await share.take(BULK, 1_000) == 100
    assert await share.take(SINGLE, 1_000) == 20


async def test_limits_of_one_account_are_no_others() -> None:
    window = Window(100)
    ours, theirs = _answering(window, OURS), _answering(window, THEIRS)
    ours.set_limit(5)

    assert await ours.take(BULK, 100) == 5
    assert theirs.most(BULK) > 5


@pytest.mark.parametrize("lane", [SINGLE, BULK])
async def test_the_smallest_window_still_moves(lane: Lane) -> None:
    assert await Window(1).share_of(OURS).take(lane, 100) == 1


async def test_accounts_that_wait_take_turns() -> None:
    window = Window(4)
    holder = _answering(window, ANOTHER)
    holder.charge(SINGLE, 4)
    ours, theirs = _answering(window, OURS), _answering(window, THEIRS)
    takers = [await _wait(share, SINGLE, 1) for share in (ours, ours, theirs)]

    holder.give_back(SINGLE, 2)
    await asyncio.sleep(0.01)

    assert [task.done() for task in takers] == [True, False, True]
    holder.give_back(SINGLE, 1)
    assert await takers[1] == 1


async def test_who_waits_for_a_full_account_holds_up_nobody_else() -> None:
    window = Window(24)
    ours = _answering(window, OURS)
    await ours.take(SINGLE, 16)
    waiting = await _wait(ours, SINGLE, 1)

    assert await window.share_of(THEIRS).take(SINGLE, 2) == 2

    ours.give_back(SINGLE, 1)
    assert await waiting == 1


async def test_a_lane_that_waits_holds_up_no_other_of_its_account() -> None:
    share = _answering(Window(1_000), OURS)
    share.set_limit(10)
    await share.take(BULK, 10)
    waiting = await _wait(share, BULK, 1)

    assert await share.take(SINGLE, 1) == 1

    share.give_back(BULK, 2)
    assert await waiting == 1


async def test_a_wider_limit_lets_the_waiting_in() -> None:
    share = _answering(Window(100), OURS)
    share.set_limit(1)
    await share.take(BULK, 1)
    waiting = await _wait(share, BULK, 3)

    share.set_limit(4)

    assert await waiting == 3


async def test_a_narrower_limit_takes_effect_as_slots_come_back() -> None:
    share = _answering(Window(100), OURS)
    await share.take(BULK, 4)
    share.set_limit(2)
    waiting = await _wait(share, BULK, 1)

    share.give_back(BULK, 2)
    await asyncio.sleep(0.01)
    assert not waiting.done()

    share.give_back(BULK, 1)
    assert await waiting == 1


async def test_recipients_that_end_without_a_call_are_charged_beyond_the_capacity() -> None:
    window = Window(4)
    ours, theirs = window.share_of(OURS), window.share_of(THEIRS)

    ours.charge(SINGLE, 10)
    waiting = await _wait(theirs, SINGLE, 1)
    ours.give_back(SINGLE, 10)

    assert await waiting == 1
    assert window.taken == 1


async def test_a_taker_that_is_cancelled_while_it_waits_leaves_the_line() -> None:
    window = Window(4)
    ours, theirs = window.share_of(OURS), window.share_of(THEIRS)
    ours.charge(SINGLE, 4)
    cancelled, next_in_line = await _wait(theirs, SINGLE, 1), await _wait(theirs, SINGLE, 1)

    cancelled.cancel()
    ours.give_back(SINGLE, 1)  # before the cancelled one had its say

    with pytest.raises(asyncio.CancelledError):
        await cancelled
    assert await next_in_line == 1


async def test_slots_granted_to_a_taker_that_is_cancelled_come_back() -> None:
    window = Window(4)
    ours, theirs = window.share_of(OURS), window.share_of(THEIRS)
    ours.charge(SINGLE, 4)
    granted = await _wait(theirs, SINGLE, 1)

    ours.give_back(SINGLE, 1)
    await asyncio.sleep(0)
    granted.cancel()

    with pytest.raises(asyncio.CancelledError):
        await granted
    assert window.taken == 3


async def test_the_share_of_an_account_is_forgotten_once_nothing_of_it_is_under_way() -> None:
    window = Window(100)
    share = window.share_of(OURS)
    await share.take(SINGLE, 1)

    window.forget(OURS)
    assert window.share_of(OURS) is share

    share.give_back(SINGLE, 1)
    window.forget(OURS)
    assert window.share_of(OURS) is not share


class AnyUse(RuleBasedStateMachine):
    """Takers, leavers and limits in any order: the capacity holds but for charges, nobody waits for ever, and nothing
    leaks.
    """

    @initialize(capacity=st.integers(1, 30))
    def open_window(self, capacity: int) -> None:
        self.runner = asyncio.Runner(loop_factory=asyncio.new_event_loop)
        self.window = Window(capacity)
        self.takers: list[tuple[Share, Lane, asyncio.Task[int]]] = []
        self.held: Counter[tuple[Share, Lane]] = Counter()
        self.charged = 0

    @rule(account=st.integers(1, 3), lane=st.sampled_from([SINGLE, BULK]), wanted=st.integers(1, 20))
    def take(self, account: int, lane: Lane, wanted: int) -> None:
        async def begin() -> asyncio.Task[int]:
            return asyncio.ensure_future(share.take(lane, wanted))

        share = self.window.share_of(account)
        self.takers.append((share, lane, self.runner.run(begin())))
        self.settle()

    @precondition(lambda self: self.takers)
    @rule(data=st.data(), is_giving=st.booleans())
    def cancel(self, data: st.DataObject, *, is_giving: bool) -> None:
        _, _, task = data.draw(st.sampled_from(self.takers))
        task.cancel()
        if is_giving:
            self.give_back(data)
        self.settle()

    @rule(data=st.data())
    def give_back(self, data: st.DataObject) -> None:
        held = [key for key, count in self.held.items() if count]
        if not held:
            return
        share, lane = data.draw(st.sampled_from(held))
        count = data.draw(st.integers(1, self.held[share, lane]))
        self.held[share, lane] -= count
        self.charged = max(0, self.charged - count)
        self.do(lambda: share.give_back(lane, count))

    @rule(account=st.integers(1, 3), lane=st.sampled_from([SINGLE, BULK]), count=st.integers(1, 20))
    def charge(self, account: int, lane: Lane, count: int) -> None:
        share = self.window.share_of(account)
        share.charge(lane, count)
        self.held[share, lane] += count
        self.charged += count

    @rule(account=st.integers(1, 3), limit=st.integers(1, 20))
    def limit(self, account: int, limit: int) -> None:
        self.do(lambda: self.window.share_of(account).set_limit(limit))

    @rule(account=st.integers(1, 3))
    def answer(self, account: int) -> None:
        self.do(self.window.share_of(account).note_answer)

    def do(self, change: object) -> None:
        async def run() -> None:
            assert callable(change)
            change()

        self.runner.run(run())

    def settle(self) -> None:
        """Let every task have its say, and note who got slots."""
        self.runner.run(asyncio.sleep(0.001))
        for share, lane, task in [taker for taker in self.takers if taker[2].done()]:
            if not task.cancelled():
                assert task.result() >= 1
                self.held[share, lane] += task.result()
        self.takers = [taker for taker in self.takers if not taker[2].done()]

    @invariant()
    def the_capacity_holds(self) -> None:
        assert self.window.taken <= self.window.capacity + self.charged

    def teardown(self) -> None:
        if not hasattr(self, "runner"):
            return
        with self.runner:
            while self.takers or any(self.held.values()):
                self.settle()
                for (share, lane), count in self.held.items():
                    self.do(lambda share=share, lane=lane, count=count: share.give_back(lane, count))
                self.held.clear()
            assert self.window.taken == self.window._taken_in_bulk == 0
            assert not any(share.taken or share.waiters for share in self.window._shares.values())


TestAnyUse = AnyUse.TestCase
TestAnyUse.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
