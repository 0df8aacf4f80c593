"""The retry budget over a clock that the test turns."""

from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workers.retry_budget import FLOOR, PERIOD_SECONDS, SHORTEST_WAIT_SECONDS, RetryBudget


@dataclass(slots=True)
class Clock:
    now: float = 1_000.5

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def budget(clock: Clock) -> RetryBudget:
    return RetryBudget(clock)


def _fail(budget: RetryBudget, wanted: int) -> int:
    """Have so many retries refused; how many of them were let through."""
    taken = budget.take(wanted)
    for _ in range(taken):
        budget.note_retry(is_accepted=False)
    return taken


def test_a_few_retries_are_let_through_without_any_first_try(budget: RetryBudget) -> None:
    assert _fail(budget, 5) == 5
    assert _fail(budget, 1_000) == FLOOR - 5
    assert budget.take(1) == 0


def test_a_tenth_of_the_first_tries_may_be_retried_in_vain(budget: RetryBudget) -> None:
    budget.note_first_tries(1_000)

    assert _fail(budget, 1_000) == FLOOR + 100


def test_what_is_in_flight_counts_until_it_is_answered_or_given_back(budget: RetryBudget) -> None:
    assert budget.take(FLOOR) == FLOOR
    assert (budget.take(1), budget.wait_seconds) == (0, 0.0)

    budget.give_back(3)
    budget.note_retry(is_accepted=True)

    assert budget.take(FLOOR) == 4


def test_retries_that_are_accepted_are_never_used_up(budget: RetryBudget) -> None:
    for _ in range(100_000):
        assert budget.take(1) == 1
        budget.note_retry(is_accepted=True)


def test_what_an_outage_left_drains_within_a_few_dozen_round_trips(budget: RetryBudget) -> None:
    left, round_trips = 10_000, 0
    while left:
        taken = budget.take(left)
        for _ in range(taken):
            budget.note_retry(is_accepted=True)
        left -= taken
        round_trips += 1

    assert round_trips <= 50


def test_one_in_ten_refused_once_or_again_is_within_the_budget(budget: RetryBudget) -> None:
    for _ in range(100):
        budget.note_first_tries(100)
        assert budget.take(11) == 11
        for number in range(11):
            budget.note_retry(is_accepted=number > 0)


def test_what_came_to_nothing_is_forgotten_after_the_period(budget: RetryBudget, clock: Clock) -> None:
    _fail(budget, FLOOR)
    clock.now += PERIOD_SECONDS / 2
    assert budget.take(1) == 0
    assert budget.wait_seconds == pytest.approx(PERIOD_SECONDS / 2 - 0.5)

    clock.now += budget.wait_seconds

    assert (budget.wait_seconds, budget.take(1_000)) == (0.0, FLOOR)


def test_what_waits_is_not_looked_at_all_the_time(budget: RetryBudget, clock: Clock) -> None:
    _fail(budget, FLOOR)
    clock.now += PERIOD_SECONDS - 1

    assert budget.wait_seconds == SHORTEST_WAIT_SECONDS


def test_first_tries_vouch_no_longer_than_the_period(budget: RetryBudget, clock: Clock) -> None:
    budget.note_first_tries(1_000)
    clock.now += PERIOD_SECONDS

    assert budget.take(1_000) == FLOOR


steps = st.lists(
    st.tuples(st.floats(0, 20), st.integers(0, 200), st.integers(0, 200), st.integers(0, 100)), max_size=60
)


@settings(deadline=None, derandomize=True)
@given(steps)
def test_nothing_is_let_through_beyond_the_floor_and_a_tenth_of_the_useful_tries(
    steps: list[tuple[float, int, int, int]],
) -> None:
    clock = Clock()
    budget = RetryBudget(clock)
    useful: list[tuple[float, int]] = []
    in_vain: list[tuple[float, int]] = []
    for pause_seconds, first_tries, wanted, accepted_percent in steps:
        clock.now += pause_seconds
        budget.note_first_tries(first_tries)
        taken = budget.take(wanted)
        accepted = taken * accepted_percent // 100
        useful.append((clock.now, first_tries))
        # judged before their answers: what is in flight might all come to nothing
        recent = clock.now - PERIOD_SECONDS - 1
        allowed = FLOOR + sum(count for at, count in useful if at > recent) / 10
        assert not taken or taken + sum(count for at, count in in_vain if at > recent + 2) <= allowed
        for number in range(taken):
            budget.note_retry(is_accepted=number < accepted)
        useful.append((clock.now, accepted))
        in_vain.append((clock.now, taken - accepted))
