"""An account in one process: how fast it may go, and when it rests."""

import time
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from shared.domain.outcome import AccountFault, DeadAddress, Outcome, Retry, Unknown
from shared.domain.status import Lane
from tests.unit.workers.batches import RUN, provider
from workers.accounts import (
    FAILURES_THAT_REST,
    LONGEST_REST_SECONDS,
    LONGEST_WISH_SECONDS,
    PATIENCE_WITH_NO_TIME,
    PERIOD_SECONDS,
    OpenAccount,
    Pace,
)
from workers.breaker import LIMIT
from workers.window import ANSWERING_SECONDS, Share, Window

UNREACHABLE = Retry("no connection", scope="provider")
BAD = DeadAddress("SENDER_ID_MISMATCH", is_suspicious=True)
THROTTLED = Retry("quota", after_seconds=30.0, scope="provider")


class Hours:
    """Time that passes when it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._now = 1_000.0
        monkeypatch.setattr(time, "monotonic", lambda: self._now)

    def go_on(self, seconds: float) -> None:
        self._now += seconds


@pytest.fixture
def hours(monkeypatch: pytest.MonkeyPatch) -> Hours:
    return Hours(monkeypatch)


@pytest.fixture
def window(hours: Hours) -> Window:
    return Window(1_000)


@pytest.fixture
def share(window: Window) -> Share:
    return window.share_of(1)


@pytest.fixture
def pace(share: Share) -> Pace:
    return Pace(share, most=100)


@pytest.fixture
def account(pace: Pace) -> OpenAccount:
    return OpenAccount(provider(), adapter=None, pace=pace)  # type: ignore[arg-type]  # nothing is sent here


def _observe(account: OpenAccount, outcome: Outcome, times: int = 1, *, run: int = RUN) -> None:
    """The answers to so many calls."""
    for _ in range(times):
        account.observe(replace(outcome), fault_retry_seconds=15.0, run=run)


def test_a_pace_starts_at_what_the_adapter_asks_for(pace: Pace, share: Share) -> None:
    assert share.limit == 100


@pytest.mark.parametrize(("refusals", "limit"), [(5, 100), (10, 90), (40, 60), (50, 50), (100, 50)])
def test_a_period_shrinks_it_once_by_the_share_of_refusals(
    pace: Pace, share: Share, hours: Hours, refusals: int, limit: int
) -> None:
    pace.note(answers=50, refusals=refusals)
    assert share.limit == 100  # one burst is one signal
    hours.go_on(PERIOD_SECONDS)
    pace.note(answers=50, refusals=0)

    assert share.limit == limit


def test_a_refusal_among_many_acceptances_changes_nothing(pace: Pace, share: Share, hours: Hours) -> None:
    pace.note(answers=1_000, refusals=1)
    hours.go_on(PERIOD_SECONDS)
    pace.note(answers=1, refusals=0)

    assert share.limit == 100


def test_it_falls_to_one_and_grows_back_step_by_step(pace: Pace, share: Share, hours: Hours) -> None:
    limits = []
    for refusals in [1] * 8 + [0] * 25:
        hours.go_on(PERIOD_SECONDS)
        pace.note(answers=1, refusals=refusals)
        limits.append(share.limit)

    assert limits[:8] == [50, 25, 12, 6, 3, 1, 1, 1]
    assert limits[8:11] == [6, 11, 16]
    assert limits[-1] == 100


def test_one_throttled_recipient_holds_up_nobody_else(account: OpenAccount) -> None:
    _observe(account, THROTTLED, times=FAILURES_THAT_REST - 1)
    account.note_acceptance(RUN)
    _observe(account, THROTTLED, times=FAILURES_THAT_REST - 1)

    assert account.rest_seconds(RUN) == 0
    assert not account.must_probe(RUN)


def test_an_account_that_is_refused_again_and_again_rests_as_long_as_the_provider_says(
    account: OpenAccount, hours: Hours
) -> None:
    _observe(account, THROTTLED, times=FAILURES_THAT_REST)
    assert account.rest_seconds(RUN) == 30

    account.note_acceptance(RUN)  # of what was under way
    assert account.rest_seconds(RUN) == 30
    hours.go_on(31)
    assert account.rest_seconds(RUN) == 0


def test_a_call_for_many_that_is_turned_away_is_one_failure(account: OpenAccount) -> None:
    for _ in range(10 * FAILURES_THAT_REST):
        account.observe(THROTTLED, fault_retry_seconds=15.0, run=RUN)

    assert account.rest_seconds(RUN) == 0


def test_a_provider_that_says_to_come_back_at_once_is_believed_for_a_while(account: OpenAccount) -> None:
    at_once = Retry("busy", after_seconds=0.0, scope="provider")
    _observe(account, at_once, times=PATIENCE_WITH_NO_TIME * FAILURES_THAT_REST - 1)
    assert account.rest_seconds(RUN) == 0

    _observe(account, at_once)
    assert account.rest_seconds(RUN) == 1


def test_no_word_of_a_provider_makes_an_account_rest_for_ever(account: OpenAccount) -> None:
    _observe(account, Retry("quota", after_seconds=float("inf"), scope="provider"), times=FAILURES_THAT_REST)

    assert account.rest_seconds(RUN) == LONGEST_WISH_SECONDS


@pytest.mark.parametrize("failure", [UNREACHABLE, Unknown("timed out")])
def test_a_provider_that_is_away_is_probed_at_growing_intervals(
    account: OpenAccount, hours: Hours, failure: Outcome
) -> None:
    _observe(account, failure, times=FAILURES_THAT_REST + 50)  # all that was under way
    rests = []
    for _ in range(8):
        rests.append(account.rest_seconds(RUN))
        hours.go_on(rests[-1])
        assert account.must_probe(RUN)
        _observe(account, failure)

    assert rests == [1, 2, 4, 8, LONGEST_REST_SECONDS, LONGEST_REST_SECONDS, LONGEST_REST_SECONDS, LONGEST_REST_SECONDS]


def test_one_acceptance_ends_the_rest(account: OpenAccount, hours: Hours) -> None:
    _observe(account, UNREACHABLE, times=FAILURES_THAT_REST)
    hours.go_on(1)
    account.note_acceptance(RUN)

    assert not account.must_probe(RUN)
    _observe(account, UNREACHABLE, times=FAILURES_THAT_REST)
    assert account.rest_seconds(RUN) == 1  # as at first


def test_only_one_batch_probes_at_a_time(account: OpenAccount, hours: Hours) -> None:
    _observe(account, UNREACHABLE, times=FAILURES_THAT_REST)
    hours.go_on(1)

    with account.probing(RUN) as first:
        with account.probing(RUN + 1) as second:
            assert (first, second) == (True, False)
        assert not account.is_open_for(Lane.BULK, 0)
    with account.probing(RUN) as again:
        assert again


def test_a_word_about_one_recipient_rests_nobody(account: OpenAccount) -> None:
    _observe(account, Retry("busy", after_seconds=30.0), times=2 * FAILURES_THAT_REST)

    assert account.rest_seconds(RUN) == 0


def test_a_fault_rests_the_account_until_the_next_probe_and_an_acceptance_mends_it(
    account: OpenAccount, hours: Hours
) -> None:
    _observe(account, AccountFault("bad key"))
    assert (account.is_faulty, account.fault_reason(RUN), account.rest_seconds(RUN)) == (True, "bad key", 15)

    hours.go_on(15)
    account.note_acceptance(RUN)

    assert (account.is_faulty, account.fault_reason(RUN), account.rest_seconds(RUN)) == (False, "", 0)


def test_addresses_that_look_foreign_hold_up_their_own_message_alone(account: OpenAccount, hours: Hours) -> None:
    _observe(account, BAD, times=LIMIT)

    assert account.rest_seconds(RUN) == 15
    assert "another environment" in account.fault_reason(RUN)
    assert (account.rest_seconds(RUN + 1), account.must_probe(RUN + 1), account.fault_reason(RUN + 1)) == (0, False, "")
    hours.go_on(15)
    assert account.rest_seconds(RUN) == 0
    assert account.must_probe(RUN)


def test_an_account_that_has_proved_itself_is_not_doubted_for_foreign_addresses(account: OpenAccount) -> None:
    account.note_acceptance(RUN + 1)
    _observe(account, BAD, times=10 * LIMIT)

    assert account.rest_seconds(RUN) == 0


def test_what_was_under_way_and_is_accepted_ends_no_rest_that_the_provider_named(
    account: OpenAccount, hours: Hours
) -> None:
    _observe(account, THROTTLED, FAILURES_THAT_REST)
    account.note_acceptance(RUN)

    assert not account.is_open_for(Lane.BULK, 0)
    hours.go_on(30.1)
    assert account.is_open_for(Lane.BULK, 0)


def test_an_account_whose_slots_are_out_unanswered_is_given_no_more_than_waits_already(
    account: OpenAccount, hours: Hours
) -> None:
    share = account.pace.share
    share.note_answer()
    share.charge(Lane.BULK, share.most(Lane.BULK))
    assert account.is_open_for(Lane.BULK, 1)

    hours.go_on(ANSWERING_SECONDS + 0.1)

    assert account.is_open_for(Lane.BULK, 0)
    assert not account.is_open_for(Lane.BULK, 1)


def test_what_comes_back_is_told_once(account: OpenAccount, hours: Hours) -> None:
    with capture_logs() as logs:
        for _ in range(3):
            _observe(account, UNREACHABLE, times=FAILURES_THAT_REST)
            hours.go_on(60)
        account.note_acceptance(RUN)
        account.note_acceptance(RUN)

    assert [entry["event"] for entry in logs] == ["account rests", "account recovered"]
    assert logs[0]["reason"] == UNREACHABLE.reason
