"""Each outcome turns into its rows: ledger, attempts, sums, errors and the batch that carries on."""

from dataclasses import replace
from datetime import timedelta

import pytest

from shared.domain.outcome import (
    Accepted,
    AccountFault,
    DeadAddress,
    Outcome,
    Refused,
    Retry,
    Unknown,
    UnknownRule,
)
from shared.domain.status import DeliveryState
from tests.unit.workers.batches import FALLBACK, NOW, POLICY, PROVIDER, Settled, open_batch, provider, settle
from workers.batch import Ended, Rebound

NO_JITTER = replace(POLICY, base_seconds=0.0)
"""Every delay is what the provider named, or nothing, rounded up to the next half second."""


def _sums(settled: Settled) -> dict[str, int]:
    return {state.value: count for state, count in settled.change.sums.items()}


def test_an_acceptance_is_a_row_of_the_ledger_with_the_provider_s_id() -> None:
    settled = settle(open_batch(attempt=2, resends=1), (1, "token-1", Accepted("id-1")))

    assert settled.recording.ledger[settled.change.seq] == [(7, 1, 1, "sent", PROVIDER, "id-1", 2, 1, "")]
    assert (settled.attempts, settled.following, settled.change.errors) == ([], [], [])
    assert (_sums(settled), settled.change.recorded_total) == ({"sent": 1}, 1)


@pytest.mark.parametrize(
    ("outcome", "word"), [(Refused("no such field"), "refused"), (DeadAddress("no such field"), "dead_address")]
)
def test_a_refusal_is_final_and_an_error_of_the_message(outcome: Outcome, word: str) -> None:
    settled = settle(open_batch(), (1, "token-1", outcome))

    assert settled.ledger == [(1, "failed", 1, "no such field")]
    assert settled.attempts == [(1, word, "final", "no such field")]
    assert settled.change.errors == ["Failed sending to target token-1 with error: no such field"]
    assert (_sums(settled), settled.following) == ({"failed": 1}, [])


@pytest.mark.parametrize(("kind", "expired"), [("fcm", {2: "address"}), ("smtp", {})])
def test_a_dead_push_token_expires_its_target(kind: str, expired: dict[int, str]) -> None:
    settled = settle(open_batch(kind=kind), (2, "address", DeadAddress("gone")))

    assert settled.recording.dead_targets == expired


def test_a_retry_moves_to_a_batch_of_the_next_attempt() -> None:
    settled = settle(open_batch(attempt=2, resends=1), (3, "", Retry("busy", after_seconds=7.0)), policy=NO_JITTER)

    assert settled.following == [([3], 3, 1, 7.3)]  # from .2 past the second up to .5
    assert settled.attempts == [(3, "retry", "retry", "busy")]
    assert (settled.ledger, _sums(settled), settled.change.recorded_total) == ([], {}, 1)


def test_retries_due_within_the_same_half_second_share_a_batch() -> None:
    waits = (1.0, 1.2, 1.4, 1.6)

    settled = settle(
        open_batch(targets=4), *((n, "", Retry("busy", wait)) for n, wait in enumerate(waits, 1)), policy=NO_JITTER
    )

    assert settled.following == [([1, 2], 2, 0, 1.3), ([3, 4], 2, 0, 1.8)]


def test_retries_far_ahead_share_longer_steps() -> None:
    waits = (608.0, 625.0)

    settled = settle(
        open_batch(targets=2), *((n, "", Retry("busy", wait)) for n, wait in enumerate(waits, 1)), policy=NO_JITTER
    )

    ((targets, _, _, due_seconds),) = settled.following
    assert targets == [1, 2]
    assert 625 <= due_seconds < 608 + 32


def test_a_shared_step_never_ends_a_recipient_that_still_had_time() -> None:
    batch = open_batch(time_to_live=timedelta(seconds=600.1))

    settled = settle(batch, (1, "", Retry("busy", 600.0)), policy=NO_JITTER)

    assert settled.following == [([1], 2, 0, 600.0)]


def test_a_retry_beyond_the_time_to_live_is_the_end() -> None:
    batch = open_batch(time_to_live=timedelta(seconds=5))

    settled = settle(batch, (1, "a", Retry("busy", 4.0)), (2, "b", Retry("busy", 5.0)), policy=NO_JITTER)

    assert [targets for targets, *_ in settled.following] == [[1]]
    assert settled.ledger == [(2, "expired", 1, "busy")]
    assert settled.attempts == [(1, "retry", "retry", "busy"), (2, "retry", "final", "busy")]
    assert settled.change.errors == ["Failed sending to target b with error: busy"]


def test_a_delay_beyond_every_calendar_is_the_end_too() -> None:
    settled = settle(open_batch(), (1, "a", Retry("quota", 1e300)), (2, "b", Retry("quota", float("inf"))))

    assert settled.following == []
    assert settled.ledger == [(1, "expired", 1, "quota"), (2, "expired", 1, "quota")]


def test_an_unknown_outcome_is_sent_again_where_the_rule_allows_it() -> None:
    settled = settle(open_batch(attempt=2, resends=1), (1, "", Unknown("timed out")), policy=NO_JITTER)

    assert [following[:3] for following in settled.following] == [([1], 3, 2)]
    assert settled.attempts == [(1, "unknown", "resend", "timed out")]
    assert settled.recording.resends[settled.change.seq] == 1


@pytest.mark.parametrize(
    ("rule", "resends"),
    [(UnknownRule.LEAVE, 0), (UnknownRule.RESEND, POLICY.max_resends)],
    ids=["left", "often enough"],
)
def test_an_unknown_outcome_that_is_not_sent_again_stays_unknown(rule: UnknownRule, resends: int) -> None:
    settled = settle(open_batch(unknown_rule=rule, resends=resends), (1, "a", Unknown("timed out")))

    assert settled.ledger == [(1, "unknown", 1, "timed out")]
    assert settled.attempts == [(1, "unknown", "final", "timed out")]
    assert settled.change.errors == ["Failed sending to target a with error: timed out"]
    assert settled.following == []


def test_an_account_at_fault_makes_its_recipients_wait_without_using_up_a_try() -> None:
    settled = settle(open_batch(attempt=2), (1, "", AccountFault("bad key")), (2, "", AccountFault("bad key")))

    (following,) = settled.recording.following[settled.change.seq]
    assert settled.following == [([1, 2], 2, 0, 15.3)]
    assert following.waiting_since == NOW.replace(microsecond=0)  # as whoever waits since the same half second
    assert settled.attempts == [(n, "account_fault", "wait", "bad key") for n in (1, 2)]
    assert settled.recording.faults == {PROVIDER: "bad key"}


def test_patience_is_counted_from_the_first_fault() -> None:
    since = NOW - timedelta(seconds=599)

    settled = settle(open_batch(waiting_since=since), (1, "", AccountFault("bad key")))

    (following,) = settled.recording.following[settled.change.seq]
    assert following.waiting_since == since.replace(microsecond=0)


def test_when_patience_ends_another_account_takes_over_at_once() -> None:
    batch = open_batch(waiting_since=NOW - timedelta(seconds=600), fallback=provider(FALLBACK, kind="apns"))

    settled = settle(batch, (1, "", AccountFault("bad key")))

    (following,) = settled.recording.following[settled.change.seq]
    assert (following.provider_seq, following.queue) == (FALLBACK, "push.apns.bulk")
    assert (following.due_at, following.attempt, following.waiting_since) == (NOW, 1, None)
    assert settled.attempts == [(1, "account_fault", "fail_over", "bad key")]


def test_when_patience_ends_and_there_is_no_other_account_they_fail() -> None:
    settled = settle(open_batch(waiting_since=NOW - timedelta(seconds=600)), (1, "a", AccountFault("bad key")))

    assert settled.ledger == [(1, "failed", 1, "bad key")]
    assert settled.change.errors == ["Failed sending to target a with error: bad key"]


@pytest.mark.parametrize(("has_fault", "faults"), [(True, {PROVIDER: None}), (False, {})])
def test_an_acceptance_mends_an_account_that_was_at_fault(has_fault: bool, faults: dict[int, None]) -> None:  # noqa: FBT001  # a parameter of the table
    settled = settle(open_batch(has_fault=has_fault), (1, "", Accepted()))

    assert settled.recording.faults == faults


@pytest.mark.parametrize("state", [DeliveryState.CANCELLED, DeliveryState.EXPIRED, DeliveryState.FAILED])
def test_who_ends_without_a_call_has_no_attempt_of_this_batch(state: DeliveryState) -> None:
    settled = settle(open_batch(attempt=3), (1, "a", Ended(state, "why")))

    assert settled.ledger == [(1, state.value, 2, "why")]
    assert (settled.attempts, _sums(settled)) == ([], {state.value: 1})
    assert settled.change.errors == ["Failed sending to target a with error: why"]


def test_a_skipped_recipient_is_no_error() -> None:
    settled = settle(open_batch(), (1, "", Ended(DeliveryState.SKIPPED, "the target was deleted")))

    assert (settled.ledger, settled.change.errors) == ([(1, "skipped", 0, "the target was deleted")], [])


@pytest.mark.parametrize("state", [state for state in DeliveryState if state is not DeliveryState.SENT])
def test_who_may_have_got_it_before_is_unknown_when_nothing_more_is_tried(state: DeliveryState) -> None:
    settled = settle(open_batch(attempt=2, resends=1), (1, "a", Ended(state, "why")))

    assert settled.ledger == [(1, "unknown", 1, "why")]
    assert settled.change.errors == ["Failed sending to target a with error: why"]


@pytest.mark.parametrize("outcome", [Retry("busy", 60.0), AccountFault("busy")])
def test_who_may_have_got_it_before_is_unknown_when_time_or_patience_ends(outcome: Outcome) -> None:
    batch = open_batch(
        attempt=2, resends=1, time_to_live=timedelta(seconds=5), waiting_since=NOW - timedelta(seconds=600)
    )

    settled = settle(batch, (1, "a", outcome))

    assert settled.ledger == [(1, "unknown", 2, "busy")]


def test_recipients_of_a_provider_that_is_gone_carry_on_with_the_fallback() -> None:
    batch = open_batch(attempt=2, resends=1, fallback=provider(FALLBACK))

    settled = settle(batch, (1, "a", Rebound()), (2, "b", Rebound()))

    (following,) = settled.recording.following[settled.change.seq]
    assert (following.provider_seq, following.targets, following.due_at) == (FALLBACK, [1, 2], NOW)
    assert (following.attempt, following.resends) == (2, 1)
    assert (settled.ledger, settled.change.errors) == ([], [])


def test_the_provider_s_words_are_cut_and_freed_of_what_no_text_column_takes() -> None:
    settled = settle(open_batch(), (1, "a", Refused("\x00bad\x00\ud800" + "x" * 1_000)))

    reason = "bad?" + "x" * 496
    assert settled.ledger == [(1, "failed", 1, reason)]
    assert settled.attempts == [(1, "refused", "final", reason)]
    assert settled.change.errors == [f"Failed sending to target a with error: {reason}"[:500]]


def test_so_are_the_ids_it_gives_and_what_it_says_of_the_account() -> None:
    accepted, faulty = Accepted("\x00id\ud800" + "x" * 1_000), AccountFault("\x00bad\ud800")
    settled = settle(open_batch(), (1, "a", accepted), (2, "b", faulty))

    assert [row[5] for row in settled.recording.ledger[settled.change.seq]] == ["id?" + "x" * 497]
    assert settled.recording.faults == {PROVIDER: "bad?"}


def test_a_batch_hands_over_its_first_hundred_errors() -> None:
    settled = settle(open_batch(targets=150), *((n, f"a{n}", Refused("no")) for n in range(1, 151)))

    assert len(settled.change.errors) == 100
    assert settled.change.errors[0] == "Failed sending to target a1 with error: no"
    assert _sums(settled) == {"failed": 150}


def test_marks_closing_and_release_are_told_by_the_batch() -> None:
    marked, closing, released = open_batch(), open_batch(), open_batch()
    marked.mark_to = 2
    closing.is_closing = True
    released.release_at = released.waiting_since = NOW

    assert settle(marked).change.attempted_to == 2
    assert settle(closing).change.is_closed
    assert (settle(released).change.release_at, settle(released).change.waiting_since) == (NOW, NOW)


def test_every_change_names_the_token_and_the_count_it_builds_on() -> None:
    batch = open_batch()
    batch.recorded_total = 2

    change = settle(batch, (3, "", Accepted())).change

    assert (change.seq, change.token) == (batch.claimed.seq, batch.claimed.token)
    assert (change.recorded_before, change.recorded_total) == (2, 3)
