"""When an address is called bad: believed, doubted, or taken for a fault of the account."""

import random

from shared.domain.outcome import AccountFault, DeadAddress, Outcome, Refused, Retry
from workers.breaker import LIMIT, TRIES, Breaker

BAD = DeadAddress("BadDeviceToken", is_suspicious=True)


def story(breaker: Breaker, answers: str, *, attempt: int = 1, is_vouched_for: bool = False) -> list[Outcome]:
    """`+` is an acceptance, `-` a bad address; what the bad ones are worth."""
    worth = []
    for answer in answers:
        if answer == "+":
            breaker.note_acceptance()
        else:
            worth.append(breaker.judge(BAD, attempt=attempt, is_vouched_for=is_vouched_for))
    return worth


def test_an_acceptance_vouches_for_one_bad_address() -> None:
    assert story(Breaker(), "+-+-++--") == [BAD] * 4


def test_without_an_acceptance_no_address_is_believed() -> None:
    worth = story(Breaker(), "-" * 100)

    assert worth[: LIMIT - 1] == [Retry("BadDeviceToken")] * (LIMIT - 1)
    assert {type(outcome) for outcome in worth[LIMIT - 1 :]} == {AccountFault}


def test_a_doubted_address_is_refused_in_the_end_and_its_target_kept() -> None:
    assert story(Breaker(), "-", attempt=TRIES) == [Refused("BadDeviceToken")]


def test_where_the_account_has_proved_itself_of_late_the_addresses_are_at_fault_and_no_target_ends() -> None:
    assert story(Breaker(), "-" * 100, is_vouched_for=True) == [Retry("BadDeviceToken")] * 100
    assert story(Breaker(), "-" * 100, attempt=TRIES, is_vouched_for=True) == [Refused("BadDeviceToken")] * 100


def test_an_account_that_turns_wrong_costs_at_most_so_many_targets() -> None:
    breaker = Breaker()
    story(breaker, "+" * 10_000)

    assert story(breaker, "-" * 1_000).count(BAD) == LIMIT


def test_an_account_that_was_put_right_is_believed_again() -> None:
    breaker = Breaker()
    story(breaker, "-" * 100)

    assert not isinstance(story(breaker, "++-")[0], AccountFault)
    story(breaker, "+" * 2 * LIMIT)
    assert story(breaker, "-") == [BAD]


def test_a_third_of_bad_addresses_is_believed_two_thirds_are_not() -> None:
    """In the long run, whatever the order."""
    chance = random.Random(7)
    third, most = Breaker(), Breaker()

    believed = story(third, "".join(chance.choices("+-", (2, 1), k=3_000)))
    doubted = story(most, "".join(chance.choices("+-", (1, 2), k=3_000)))

    assert believed.count(BAD) > 0.95 * len(believed)
    assert sum(isinstance(outcome, AccountFault) for outcome in doubted) > 0.4 * len(doubted)
    assert doubted.count(BAD) < LIMIT
