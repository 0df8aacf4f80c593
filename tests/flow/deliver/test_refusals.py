"""What a provider refuses for good: the reason is told in the contract's words, and nobody else suffers."""

from tests.flow.deliver.conftest import Desk


def test_dead_tokens_fail_and_expire_their_targets(desk: Desk) -> None:
    alive, dead = desk.people(20, channel="push"), desk.people(3, channel="push", word="dead")

    run = desk.send(alive, dead, channel="push")
    verdict = desk.finish(run)

    assert (verdict.sent, verdict.failed) == (20, 3)
    status, errors = desk.message(run)
    assert status == "failed"
    assert sorted(errors) == [
        f"Failed sending to target token-{dead}-{n} with error: Expired device token" for n in (1, 2, 3)
    ]
    assert desk.ask("SELECT DISTINCT expired FROM targets WHERE id LIKE %s", f"{dead}-%") == [(True,)]
    assert desk.ask("SELECT DISTINCT expired FROM targets WHERE id LIKE %s", f"{alive}-%") == [(False,)]


def test_an_expired_target_is_skipped_by_the_next_message(desk: Desk) -> None:
    alive, dead = desk.people(5, channel="push"), desk.people(1, channel="push", word="dead")
    desk.finish(desk.send(dead, channel="push"))

    run = desk.send(alive, dead, channel="push")
    desk.finish(run)

    assert desk.states(run) == {"sent": 5, "skipped": 1}
    assert desk.message(run) == ("sent", [])


def test_refused_mail_addresses_fail_with_the_server_s_reason(desk: Desk) -> None:
    alive, refused = desk.people(20, channel="email"), desk.people(2, channel="email", word="full")

    run = desk.send(alive, refused, channel="email")
    verdict = desk.finish(run)

    assert (verdict.sent, verdict.failed) == (20, 2)
    status, errors = desk.message(run)
    assert status == "failed"
    assert all(error.startswith(f"Failed sending to target {refused}") for error in errors)
    assert all("552 5.2.2" in error for error in errors)
    assert desk.ask("SELECT DISTINCT expired FROM targets WHERE id LIKE %s", f"{refused}-%") == [(False,)]
