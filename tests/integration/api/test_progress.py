"""/v1/tidings/messages/{messageId}: counts that always add up, and every recipient in one place."""

from typing import Any

import pytest

from tests.integration.api.conftest import Caller

STATES = ("queued", "claimed", "sent", "failed", "skipped", "cancelled", "expired", "unknown")


def progress(caller: Caller, message_id: str) -> dict[str, Any]:
    answer = caller.get(f"/v1/tidings/messages/{message_id}/progress".removeprefix("/v1"))
    assert answer.status == 200, answer.body
    return dict(answer.body)


def recipients(caller: Caller, message_id: str, **parameters: Any) -> dict[str, Any]:
    answer = caller.get(f"/tidings/messages/{message_id}/recipients", params=parameters)
    assert answer.status == 200, answer.body
    return dict(answer.body)


@pytest.fixture
def underway(caller: Caller) -> Caller:
    """A push to 20 targets: a closed batch, one in flight, one with a recipient that moved on, and where it went."""
    caller.factory.provider("fcm", "push", credentials={})
    caller.factory.audience(20, channel="push", prefix="p")
    caller.create_push("m", topics=["news"])
    with caller.factory.connect() as connection:
        ids = {"project": caller.factory.project_seq}
        connection.execute(
            "UPDATE message_progress SET planned = 20, batches_left = 3, sent = 3, failed = 1, skipped = 1,"
            " resends = 2, errors = '{first}', planned_at = now() WHERE project_seq = %(project)s",
            ids,
        )
        connection.execute(
            "WITH m AS (SELECT * FROM messages WHERE project_seq = %(project)s),"
            " t AS (SELECT array_agg(seq ORDER BY seq) AS seqs FROM targets WHERE project_seq = %(project)s),"
            " p AS (SELECT seq FROM providers WHERE project_seq = %(project)s), rows (first, last, state, attempt,"
            "   attempted_to, recorded_total, sent, unknown, errors) AS (VALUES"
            "   (6, 10, 'claimed', 1, 4, 2, 1, 1, ARRAY['second']),"
            "   (11, 15, 'claimed', 1, 1, 1, 0, 0, ARRAY[]::text[]),"  # its first recipient goes on in the next one
            "   (11, 11, 'due', 2, 0, 0, 0, 0, ARRAY[]::text[]),"
            "   (16, 20, 'due', 1, 0, 0, 0, 0, ARRAY[]::text[]))"
            " INSERT INTO batches (run, project_seq, message_seq, queue, provider_seq, targets, state, attempt,"
            "   attempted_to, recorded_total, sent, unknown, errors)"
            " SELECT m.run, m.project_seq, m.seq, 'push.fcm.bulk', p.seq, t.seqs[first:last], rows.state, attempt,"
            "   attempted_to, recorded_total, sent, unknown, errors FROM rows, m, t, p",
            ids,
        )
        connection.execute(
            "INSERT INTO deliveries (run, target_seq, project_seq, state, provider_seq, attempts, resends, reason)"
            " SELECT m.run, t.seq, m.project_seq, s.state, p.seq, CASE s.state WHEN 'skipped' THEN 0 ELSE 1 END, 0,"
            "   CASE s.state WHEN 'failed' THEN 'refused' ELSE '' END"
            " FROM (VALUES (1,'sent'),(2,'sent'),(3,'sent'),(4,'failed'),(5,'skipped'),(6,'sent'),(7,'unknown'))"
            "   AS s (n, state), messages AS m, providers AS p, targets AS t"
            " WHERE m.project_seq = %(project)s AND p.project_seq = m.project_seq AND t.project_seq = m.project_seq"
            "   AND t.id = 'p-' || s.n",
            ids,
        )
        connection.execute(
            "INSERT INTO attempts (run, batch_seq, target_seq, provider_seq, number, outcome, decision, reason)"
            " SELECT run, seq, targets[1], provider_seq, 1, 'retry', 'retry', 'busy' FROM batches"
            " WHERE project_seq = %(project)s AND cardinality(targets) = 5 AND recorded_total = 1",
            ids,
        )
    return caller


def test_counts_of_closed_and_open_batches_add_up(underway: Caller) -> None:
    told = progress(underway, "m")
    assert {state: told[state] for state in STATES} == {
        "queued": 11,
        "claimed": 2,
        "sent": 4,
        "failed": 1,
        "skipped": 1,
        "cancelled": 0,
        "expired": 0,
        "unknown": 1,
    }
    assert told["planned"] == sum(told[state] for state in STATES) == 20
    assert (told["messageId"], told["status"], told["resends"]) == ("m", "processing", 2)
    assert told["errors"] == ["first", "second"]
    assert told["startedAt"] <= told["plannedAt"]
    assert told["finishedAt"] is None


@pytest.mark.parametrize("status", ["draft", "scheduled"])
def test_a_message_that_has_not_started_counts_nothing(caller: Caller, status: str) -> None:
    later = {"scheduledAt": "2100-01-01"} if status == "scheduled" else {"draft": True}
    caller.create_push("m", users=["ada"], **later)
    told = progress(caller, "m")
    assert told["status"] == status
    assert {told[name] for name in ("planned", "resends", *STATES)} == {0}
    assert (told["startedAt"], told["errors"]) == (None, [])
    assert recipients(caller, "m") == {"recipients": [], "cursor": None}


def test_every_recipient_is_shown_once_with_its_state(underway: Caller) -> None:
    page = recipients(underway, "m")
    shown = {recipient["targetId"]: recipient for recipient in page["recipients"]}
    assert page["cursor"] is None
    assert list(shown) == [f"p-{number}" for number in range(1, 21)]
    counts = {state: sum(recipient["state"] == state for recipient in shown.values()) for state in STATES}
    assert counts == {state: progress(underway, "m")[state] for state in STATES}
    assert shown["p-4"] == {
        "targetId": "p-4",
        "userId": "p-4",
        "providerId": "push",
        "state": "failed",
        "attempts": 1,
        "resends": 0,
        "reason": "refused",
        "recordedAt": shown["p-4"]["recordedAt"],
        "receipt": None,
        "receiptAt": None,
    }
    assert (shown["p-8"]["state"], shown["p-8"]["recordedAt"]) == ("claimed", None)
    assert (shown["p-11"]["state"], shown["p-11"]["attempts"]) == ("queued", 1)
    assert (shown["p-12"]["state"], shown["p-12"]["attempts"]) == ("queued", 0)


@pytest.mark.parametrize(
    ("state", "numbers"),
    [("sent", [1, 2, 3, 6]), ("failed", [4]), ("unknown", [7]), ("claimed", [8, 9]), ("expired", [])],
)
def test_recipients_by_state(underway: Caller, state: str, numbers: list[int]) -> None:
    page = recipients(underway, "m", state=state)
    assert [recipient["targetId"] for recipient in page["recipients"]] == [f"p-{number}" for number in numbers]


@pytest.mark.parametrize("state", [None, "queued", "sent"])
def test_pages_follow_each_other(underway: Caller, state: str | None) -> None:
    asked = {"state": state} if state else {}
    whole = recipients(underway, "m", **asked)["recipients"]
    pages: list[list[dict[str, Any]]] = []
    cursor = None
    while not pages or cursor:
        page = recipients(underway, "m", limit=3, **asked, **({"cursor": cursor} if cursor else {}))
        pages.append(page["recipients"])
        cursor = page["cursor"]
    assert [recipient for page in pages for recipient in page] == whole
    assert all(len(page) == 3 for page in pages[:-1])


def test_a_deleted_target_is_still_a_recipient(underway: Caller) -> None:
    underway.delete("/users/p-1")
    first = recipients(underway, "m")["recipients"][0]
    assert (first["targetId"], first["userId"], first["state"]) == (None, None, "sent")


def test_refusals(underway: Caller, stranger: Caller) -> None:
    for what in ("progress", "recipients"):
        path = f"/tidings/messages/m/{what}"
        assert stranger.get(path).refusal == (404, "message_not_found")
        assert underway.get(path.replace("/m/", "/missing/")).refusal == (404, "message_not_found")
    for wrong in ({"state": "delivered"}, {"limit": 0}, {"limit": 1001}, {"cursor": "§"}):
        answer = underway.get("/tidings/messages/m/recipients", params=wrong)
        assert answer.refusal == (400, "general_argument_invalid"), wrong
    underway.delete("/messaging/messages/m")
    assert underway.get("/tidings/messages/m/progress").refusal == (404, "message_not_found")


@pytest.mark.parametrize(
    ("content", "segments"),
    [
        ("Hello [Ada]", {"encoding": "GSM-7", "units": 13, "parts": 1}),
        ("ж" * 71, {"encoding": "UCS-2", "units": 71, "parts": 2}),
    ],
)
def test_a_text_message_tells_its_segments(caller: Caller, content: str, segments: dict[str, object]) -> None:
    caller.create("/messaging/messages/sms", {"messageId": "m", "content": content, "draft": True})
    assert progress(caller, "m")["segments"] == segments


def test_other_messages_have_no_segments(caller: Caller) -> None:
    caller.create_push("m", draft=True)
    assert progress(caller, "m")["segments"] is None
