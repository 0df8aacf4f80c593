"""The window: how many recipients may be in flight, and who gets the slots."""

import asyncio
from collections import Counter

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from shared.domain.queues import DeliveryQueue
from shared.domain.status import Lane
from workers.window import Window

FCM = DeliveryQueue("fcm", Lane.TRANSACTIONAL)
FCM_BULK = DeliveryQueue("fcm", Lane.BULK)
SMTP = DeliveryQueue("smtp", Lane.TRANSACTIONAL)
SMTP_BULK = DeliveryQueue("smtp", Lane.BULK)
QUEUES = (FCM, FCM_BULK, SMTP, SMTP_BULK)


async def _wait(window: Window, queue: DeliveryQueue, wanted: int) -> asyncio.Task[int]:
    """A taker that finds nothing and stands in line."""
    task = asyncio.create_task(window.take(queue, wanted))
    await asyncio.sleep(0)
    assert not task.done()
    return task


async def test_no_queue_takes_every_slot() -> None:
    window = Window(12)

    assert await window.take(SMTP, 100) == 8
    assert await window.take(FCM, 100) == 4


async def test_bulk_queues_together_leave_a_share_to_the_other_lanes() -> None:
    window = Window(12)

    assert await window.take(SMTP_BULK, 100) == 8
    assert await window.take(FCM_BULK, 100) == 2
    assert window.room(FCM_BULK) == 0
    assert await window.take(FCM, 100) == 2


async def test_a_provider_kind_gets_no_more_than_its_limit_in_each_lane() -> None:
    window = Window(100)
    window.set_limit("smtp", 5)

    assert await window.take(SMTP, 100) == await window.take(SMTP_BULK, 100) == 5
    assert window.most(FCM) > 5


@pytest.mark.parametrize("queue", QUEUES)
async def test_the_smallest_window_still_moves(queue: DeliveryQueue) -> None:
    assert await Window(1).take(queue, 100) == 1


async def test_first_come_first_served() -> None:
    window = Window(3)
    assert await window.take(FCM, 2) == 2
    assert await window.take(SMTP, 1) == 1
    first, second = await _wait(window, SMTP, 1), await _wait(window, FCM, 1)

    window.give_back(FCM, 1)
    assert await first == 1
    assert not second.done()

    window.give_back(FCM, 1)
    assert await second == 1


async def test_who_waits_for_a_full_queue_holds_up_nobody_else() -> None:
    window = Window(12)
    await window.take(SMTP, 8)
    waiting = await _wait(window, SMTP, 1)

    assert await window.take(FCM, 2) == 2

    window.give_back(SMTP, 1)
    assert await waiting == 1


async def test_a_wider_limit_lets_the_waiting_in() -> None:
    window = Window(12)
    window.set_limit("smtp", 1)
    await window.take(SMTP, 1)
    waiting = await _wait(window, SMTP, 3)

    window.set_limit("smtp", 4)

    assert await waiting == 3


async def test_a_narrower_limit_takes_effect_as_slots_come_back() -> None:
    window = Window(12)
    await window.take(SMTP, 4)
    window.set_limit("smtp", 2)
    waiting = await _wait(window, SMTP, 1)

    window.give_back(SMTP, 2)
    await asyncio.sleep(0)
    assert not waiting.done()

    window.give_back(SMTP, 1)
    assert await waiting == 1


async def test_recipients_that_end_without_a_call_are_charged_beyond_the_capacity() -> None:
    window = Window(3)

    window.charge(FCM, 10)
    waiting = await _wait(window, SMTP, 1)
    window.give_back(FCM, 10)

    assert await waiting == 1
    assert window.room(FCM) == 2


async def test_a_taker_that_is_cancelled_while_it_waits_leaves_the_line() -> None:
    window = Window(3)
    await window.take(FCM, 2)
    await window.take(SMTP, 1)
    cancelled, next_in_line = await _wait(window, SMTP, 1), await _wait(window, SMTP, 1)

    cancelled.cancel()
    window.give_back(SMTP, 1)  # before the cancelled one had its say

    with pytest.raises(asyncio.CancelledError):
        await cancelled
    assert await next_in_line == 1


async def test_slots_granted_to_a_taker_that_is_cancelled_come_back() -> None:
    window = Window(3)
    await window.take(FCM, 2)
    await window.take(SMTP, 1)
    granted = await _wait(window, SMTP, 1)

    window.give_back(SMTP, 1)
    granted.cancel()

    with pytest.raises(asyncio.CancelledError):
        await granted
    assert window.room(SMTP) == 1


class AnyUse(RuleBasedStateMachine):
    """Takers, leavers and limits in any order: the capacity holds but for charges, and nothing leaks."""

    @initialize(capacity=st.integers(1, 30))
    def open_window(self, capacity: int) -> None:
        self.runner = asyncio.Runner(loop_factory=asyncio.new_event_loop)
        self.window = Window(capacity)
        self.takers: list[tuple[DeliveryQueue, asyncio.Task[int]]] = []
        self.held: Counter[DeliveryQueue] = Counter()
        self.charged = 0

    @rule(queue=st.sampled_from(QUEUES), wanted=st.integers(1, 20))
    def take(self, queue: DeliveryQueue, wanted: int) -> None:
        async def begin() -> asyncio.Task[int]:
            return asyncio.ensure_future(self.window.take(queue, wanted))

        self.takers.append((queue, self.runner.run(begin())))
        self.settle()

    @precondition(lambda self: self.takers)
    @rule(data=st.data(), is_giving=st.booleans())
    def cancel(self, data: st.DataObject, *, is_giving: bool) -> None:
        _, task = data.draw(st.sampled_from(self.takers))
        task.cancel()
        if is_giving:
            self.give_back(data)
        self.settle()

    @rule(data=st.data())
    def give_back(self, data: st.DataObject) -> None:
        held = [queue for queue, count in self.held.items() if count]
        if not held:
            return
        queue = data.draw(st.sampled_from(held))
        count = data.draw(st.integers(1, self.held[queue]))
        self.held[queue] -= count
        self.charged = max(0, self.charged - count)
        self.window.give_back(queue, count)

    @rule(queue=st.sampled_from(QUEUES), count=st.integers(1, 20))
    def charge(self, queue: DeliveryQueue, count: int) -> None:
        self.window.charge(queue, count)
        self.held[queue] += count
        self.charged += count

    @rule(kind=st.sampled_from(["smtp", "fcm"]), limit=st.integers(1, 20))
    def limit(self, kind: str, limit: int) -> None:
        self.window.set_limit(kind, limit)

    def settle(self) -> None:
        """Let every task have its say, and note who got slots."""
        self.runner.run(asyncio.sleep(0))
        for queue, task in [pair for pair in self.takers if pair[1].done()]:
            if not task.cancelled():
                assert task.result() >= 1
                self.held[queue] += task.result()
        self.takers = [pair for pair in self.takers if not pair[1].done()]

    @invariant()
    def the_capacity_holds(self) -> None:
        assert self.window._taken_in_all <= self.window.capacity + self.charged

    def teardown(self) -> None:
        if not hasattr(self, "runner"):
            return
        with self.runner:
            while self.takers or any(self.held.values()):
                self.settle()
                for queue, count in self.held.items():
                    self.window.give_back(queue, count)
                self.held.clear()
            assert self.window._taken_in_all == self.window._taken_in_bulk == 0
            assert not any(self.window._taken.values())


TestAnyUse = AnyUse.TestCase
TestAnyUse.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)
