"""The retry policy as a table."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.domain.retry import RetryPolicy, due_step_seconds, goes_one_by_one, retry_delay_seconds

POLICY = RetryPolicy(
    quick_retries=3,
    base_seconds=2.0,
    cap_seconds=600.0,
    max_resends=3,
    account_fault_patience_seconds=600.0,
    account_fault_retry_seconds=15.0,
)

chances = st.floats(0, 1)
attempts = st.integers(1, 10_000)


@pytest.mark.parametrize(
    ("attempt", "step_seconds"),
    [(1, 2), (2, 2), (3, 2), (4, 4), (5, 8), (11, 512), (12, 600), (13, 600), (10_000, 600)],
)
def test_three_quick_tries_then_steps_that_double_up_to_the_cap(attempt: int, step_seconds: float) -> None:
    longest = retry_delay_seconds(POLICY, attempt=attempt, after_seconds=None, chance=1.0)

    assert longest == step_seconds


@settings(deadline=None)
@given(attempt=attempts, chance=chances)
def test_without_a_word_of_the_provider_the_jitter_is_full(attempt: int, chance: float) -> None:
    longest = retry_delay_seconds(POLICY, attempt=attempt, after_seconds=None, chance=1.0)

    assert retry_delay_seconds(POLICY, attempt=attempt, after_seconds=None, chance=chance) == longest * chance


@pytest.mark.parametrize(
    ("after_seconds", "chance", "delay_seconds"),
    [(0.0, 0.0, 1.0), (0.0, 1.0, 2.0), (1.5, 0.0, 1.5), (1.5, 1.0, 2.0), (7.0, 0.0, 7.0), (7.0, 1.0, 7.0)],
)
def test_a_named_delay_is_kept_and_its_jitter_never_falls_to_zero(
    after_seconds: float, chance: float, delay_seconds: float
) -> None:
    assert retry_delay_seconds(POLICY, attempt=1, after_seconds=after_seconds, chance=chance) == delay_seconds


@settings(deadline=None)
@given(attempt=attempts, chance=chances, after_seconds=st.none() | st.floats(0, 86_400))
def test_no_delay_is_negative_or_longer_than_cap_and_provider_ask(
    attempt: int, chance: float, after_seconds: float | None
) -> None:
    delay = retry_delay_seconds(POLICY, attempt=attempt, after_seconds=after_seconds, chance=chance)

    assert (after_seconds or 0) <= delay <= max(POLICY.cap_seconds, after_seconds or 0)


@pytest.mark.parametrize(
    ("delay_seconds", "step_seconds"),
    [(0, 0.5), (15, 0.5), (16, 1), (31, 1), (32, 2), (600, 32), (86_400, 4096)],
)
def test_what_is_due_far_ahead_is_due_in_longer_steps(delay_seconds: float, step_seconds: float) -> None:
    assert due_step_seconds(delay_seconds) == step_seconds


@pytest.mark.parametrize(
    ("crashes", "resends", "is_alone"),
    [(0, 0, False), (0, 3, False), (1, 1, False), (1, 3, True), (2, 2, True), (2, 0, True)],
)
def test_suspects_and_whoever_has_a_last_chance_after_a_crash_go_one_by_one(
    crashes: int,
    resends: int,
    is_alone: bool,  # noqa: FBT001  # a parameter of the table
) -> None:
    assert goes_one_by_one(POLICY, crashes=crashes, resends=resends) == is_alone
