"""An account in one process: how fast it may go, and when it rests."""

import time

import pytest

from shared.domain.outcome import AccountFault, Outcome, Retry, Unknown
from shared.domain.queues import DeliveryQueue
from shared.domain.status import Lane
from tests.unit.workers.batches import provider
from workers.accounts import LONGEST_REST_SECONDS, PERIOD_SECONDS, REFUSALS_THAT_HOLD, OpenAccount, Pace
from workers.window import Window

FCM = DeliveryQueue("fcm", Lane.TRANSACTIONAL)
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
def pace(window: Window) -> Pace:
    return Pace(window, "fcm", most=100)


@pytest.fixture
def account(pace: Pace) -> OpenAccount:
    return OpenAccount(provider(), adapter=None, pace=pace)  # type: ignore[arg-type]  # nothing is sent here


def _observe(account: OpenAccount, outcome: Outcome, times: int = 1) -> None:
    for _ in range(times):
        account.observe(outcome, fault_retry_seconds=15.0)


def test_a_pace_starts_at_what_the_adapter_asks_for(pace: Pace, window: Window) -> None:
    assert window.most(FCM) == 100


@pytest.mark.parametrize(("refusals", "limit"), [(5, 100), (10, 90), (40, 60), (50, 50), (100, 50)])
def test_a_period_shrinks_it_once_by_the_share_of_refusals(
    pace: Pace, window: Window, hours: Hours, refusals: int, limit: int
) -> None:
    pace.note(answers=50, refusals=refusals)
    assert window.most(FCM) == 100  # one burst is one signal
    hours.go_on(PERIOD_SECONDS)
    pace.note(answers=50, refusals=0)

    assert window.most(FCM) == limit


def test_a_refusal_among_many_acceptances_changes_nothing(pace: Pace, window: Window, hours: Hours) -> None:
    pace.note(answers=1_000, refusals=1)
    hours.go_on(PERIOD_SECONDS)
    pace.note(answers=1, refusals=0)

    assert window.most(FCM) == 100


def test_it_falls_to_one_and_grows_back_step_by_step(pace: Pace, window: Window, hours: Hours) -> None:
    limits = []
    for refusals in [1] * 8 + [0] * 25:
        hours.go_on(PERIOD_SECONDS)
        pace.note(answers=1, refusals=refusals)
        limits.append(window.most(FCM))

    assert limits[:8] == [50, 25, 12, 6, 3, 1, 1, 1]
    assert limits[8:11] == [6, 11, 16]
    assert limits[-1] == 100


def test_one_throttled_recipient_holds_up_nobody_else(account: OpenAccount) -> None:
    _observe(account, THROTTLED, times=REFUSALS_THAT_HOLD - 1)
    account.note_acceptance()
    _observe(account, THROTTLED, times=REFUSALS_THAT_HOLD - 1)

    assert account.held_seconds == 0


def test_an_account_that_is_refused_again_and_again_rests_as_long_as_the_provider_says(
    account: OpenAccount, hours: Hours
) -> None:
    _observe(account, THROTTLED, times=REFUSALS_THAT_HOLD)
    assert account.held_seconds == 30

    hours.go_on(31)
    assert account.held_seconds == 0


def test_no_word_of_a_provider_holds_an_account_for_ever(account: OpenAccount) -> None:
    _observe(account, Retry("quota", after_seconds=float("inf"), scope="provider"), times=REFUSALS_THAT_HOLD)

    assert account.held_seconds == LONGEST_REST_SECONDS


@pytest.mark.parametrize("outcome", [Retry("busy", after_seconds=30.0), Unknown("timed out")])
def test_what_concerns_one_recipient_does_not_hold_the_account(account: OpenAccount, outcome: Outcome) -> None:
    _observe(account, outcome, times=2 * REFUSALS_THAT_HOLD)

    assert account.held_seconds == 0


def test_a_fault_holds_the_account_until_the_next_probe_and_an_acceptance_mends_it(
    account: OpenAccount, hours: Hours
) -> None:
    _observe(account, AccountFault("bad key"))
    assert (account.is_faulty, account.fault_reason, account.held_seconds) == (True, "bad key", 15)

    hours.go_on(15)
    account.note_acceptance()

    assert (account.is_faulty, account.fault_reason, account.held_seconds) == (False, "", 0)
