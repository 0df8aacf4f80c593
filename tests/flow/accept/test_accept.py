"""From the API's 201 to the provider: accepted is never forgotten, and never sent twice."""

import time

from tests.flow.deliver.conftest import Desk

PROMPTLY_SECONDS = 3.0


def _post(desk: Desk, message_id: str, **fields: object) -> dict[str, object]:
    answer = desk.call(
        "POST", "/messaging/messages/push", {"messageId": message_id, "title": message_id, "body": "Hello.", **fields}
    )
    assert answer.status_code == 201, answer.text
    accepted: dict[str, object] = answer.json()
    return accepted


def _await_status(desk: Desk, message_id: str, *statuses: str) -> dict[str, object]:
    deadline = time.monotonic() + 20
    while True:
        shown: dict[str, object] = desk.call("GET", f"/messaging/messages/{message_id}").json()
        if shown["status"] in statuses:
            return shown
        assert time.monotonic() < deadline, shown
        time.sleep(0.05)


def test_a_message_to_one_user_is_with_the_provider_promptly(desk: Desk) -> None:
    people = desk.people(1, channel="push")
    began = time.monotonic()

    assert _post(desk, f"prompt{people}", users=[f"{people}-1"])["status"] == "processing"
    shown = _await_status(desk, f"prompt{people}", "sent", "failed")

    assert time.monotonic() - began < PROMPTLY_SECONDS
    assert (shown["status"], shown["deliveredTotal"], shown["deliveryErrors"]) == ("sent", 1, [])
    assert shown["deliveredAt"]
    assert desk.copies(people).total() == 1


def test_an_id_that_is_posted_twice_is_sent_once(desk: Desk) -> None:
    people = desk.people(1, channel="push")
    _post(desk, f"twice{people}", topics=[people])
    body: dict[str, object] = {"messageId": f"twice{people}", "title": "Again", "body": "Hello.", "topics": [people]}

    assert desk.call("POST", "/messaging/messages/push", body).status_code == 409

    _await_status(desk, f"twice{people}", "sent")
    assert desk.copies(people).total() == 1


def test_a_message_to_nobody_fails_with_the_contract_s_words(desk: Desk) -> None:
    people = desk.people(1, channel="email")  # no push target among them

    _post(desk, f"nobody{people}", users=[f"{people}-1"])
    shown = _await_status(desk, f"nobody{people}", "sent", "failed")

    assert (shown["status"], shown["deliveryErrors"]) == ("failed", ["No valid recipients found."])
    assert (shown["deliveredTotal"], shown["deliveredAt"]) == (0, None)


def test_a_draft_is_sent_when_it_is_told_to(desk: Desk) -> None:
    people = desk.people(1, channel="push")
    _post(desk, f"draft{people}", users=[f"{people}-1"], draft=True)
    assert desk.copies(people).total() == 0

    assert desk.call("PATCH", f"/messaging/messages/push/draft{people}", {"draft": False}).ok

    _await_status(desk, f"draft{people}", "sent")
    assert desk.copies(people).total() == 1


def test_what_is_accepted_while_the_broker_is_away_is_sent_when_it_is_back(desk: Desk) -> None:
    redis = desk.installation.system.redis
    assert redis is not None
    people = desk.people(3, channel="push")
    redis.stop()
    try:
        accepted = _post(desk, f"away{people}", topics=[people])
    finally:
        redis.start()

    assert accepted["status"] == "processing"
    assert _await_status(desk, f"away{people}", "sent")["deliveredTotal"] == 3
    assert desk.copies(people).total() == 3
