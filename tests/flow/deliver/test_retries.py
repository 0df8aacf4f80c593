"""What a provider takes at the second try, and what it may have taken at the first."""

from tests.flow.deliver.conftest import Desk


def test_throttled_pushes_are_sent_again_after_the_time_the_provider_named(desk: Desk) -> None:
    prompt, throttled = desk.people(10, channel="push"), desk.people(2, channel="push", word="throttled")

    run = desk.send(prompt, throttled, channel="push")
    verdict = desk.finish(run)

    assert (verdict.sent, verdict.copies, verdict.resends) == (12, 0, 0)
    assert desk.attempts(run) == {("retry", "retry"): 2}
    # the simulator said: one second
    ((seconds,),) = desk.ask("SELECT min(extract(epoch FROM due_at - recorded_at)) FROM attempts WHERE run = %s", run)
    assert seconds > 0.9


def test_greylisted_mails_are_accepted_at_the_second_try(desk: Desk) -> None:
    greylisted = desk.people(5, channel="email", word="greylist")

    run = desk.send(greylisted, channel="email")
    verdict = desk.finish(run)

    assert (verdict.sent, verdict.copies, verdict.resends) == (5, 0, 0)
    assert desk.attempts(run) == {("retry", "retry"): 5}
    assert desk.ask("SELECT DISTINCT attempts FROM deliveries WHERE run = %s", run) == [(2,)]


def test_a_reply_that_is_lost_leads_to_a_copy_that_is_on_file(desk: Desk) -> None:
    people = desk.people(40, channel="push")
    desk.installation.set_faults(fcm={"dropped_rate": 0.3})

    run = desk.send(people, channel="push")
    verdict = desk.finish(run)

    # whoever was dropped was accepted as well: each resend is a copy
    assert 0 < verdict.copies == verdict.resends
    assert verdict.sent + verdict.unknown == 40
    assert desk.attempts(run)["unknown", "resend"] == verdict.resends
    ((resends,),) = desk.ask("SELECT sum(resends) FROM deliveries WHERE run = %s", run)
    assert resends == verdict.resends


def test_a_mail_whose_reply_never_comes_is_sent_so_often_and_then_left_unknown(desk: Desk) -> None:
    people = desk.people(1, channel="email", word="dropped")

    run = desk.send(people, channel="email")
    verdict = desk.finish(run)

    assert desk.states(run) == {"unknown": 1}
    assert (verdict.resends, verdict.copies) == (3, 3)
    assert len({entry["message"] for entry in desk.captured(people)}) == 1  # the same Message-ID
    assert desk.message(run)[0] == "failed"


def test_who_cannot_be_reached_within_the_time_to_live_is_expired(desk: Desk) -> None:
    people = desk.people(5, channel="email")
    desk.installation.set_faults(smtp={"server_error_rate": 1.0})
    run = desk.send(people, channel="email")
    desk.until("SELECT FROM attempts WHERE run = %s LIMIT 1", run)
    desk.do("UPDATE messages SET expires_at = now() + interval '0.5 seconds' WHERE run = %s", run)

    verdict = desk.finish(run)

    assert (desk.states(run), verdict.accepted) == ({"expired": 5}, 0)
    assert desk.message(run)[0] == "failed"
