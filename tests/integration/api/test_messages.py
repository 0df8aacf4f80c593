"""Contract §8: messages, email and push."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.integration.api.conftest import Caller

MESSAGES = "/messaging/messages"
EMAIL = f"{MESSAGES}/email"
PUSH = f"{MESSAGES}/push"
LATER = "2100-01-05T10:00:00.000+00:00"
SOMEONE = {"users": ["ada"]}


def email(**parameters: object) -> dict[str, object]:
    return {"messageId": "m", "subject": "Hello", "content": "Hello there.", **parameters}


def push(**parameters: object) -> dict[str, object]:
    return {"messageId": "m", "title": "Hello", **parameters}


def make_due(caller: Caller, message_id: str) -> None:
    """Its time comes, and nobody has released it yet."""
    with caller.factory.connect() as connection:
        connection.execute(
            "UPDATE messages SET scheduled_at = now() - interval '1 second' WHERE project_seq = %s AND id = %s",
            [caller.factory.project_seq, message_id],
        )


def set_status(caller: Caller, message_id: str, status: str) -> None:
    with caller.factory.connect() as connection:
        connection.execute(
            "UPDATE messages SET status = %s WHERE project_seq = %s AND id = %s",
            [status, caller.factory.project_seq, message_id],
        )


# 8.1 Model


def test_the_model_of_an_email(caller: Caller) -> None:
    message = caller.create_email("m", users=["ada"], topics=["t2", "t1"])
    assert message.pop("$createdAt") == message.pop("$updatedAt")
    assert message == {
        "$id": "m",
        "providerType": "email",
        "topics": ["t2", "t1"],
        "users": ["ada"],
        "targets": [],
        "scheduledAt": None,
        "deliveredAt": None,
        "deliveryErrors": [],
        "deliveredTotal": 0,
        "data": {
            "subject": "Hello",
            "content": "Hello there.",
            "html": False,
            "cc": [],
            "bcc": [],
            "attachments": [],
        },
        "status": "processing",
    }


def test_what_is_answered_is_what_is_stored(caller: Caller) -> None:
    for created in (
        caller.create_email("m1", **SOMEONE, html=True, replyToEmail="a@example.com", replyToName=""),
        caller.create_email("m2", draft=True, scheduledAt="2100-01-05 10:00:00.123"),
        caller.create_push("m3", **SOMEONE, data={"deep": [1, {"a": None}]}, badge=0),
    ):
        assert caller.get(f"{MESSAGES}/{created['$id']}").body == created


DECORATION = {"action": "a", "icon": "i", "sound": "s", "color": "c", "tag": "t", "channelId": "news"}


@pytest.mark.parametrize(
    ("given", "data"),
    [
        ({}, {"priority": "high"}),
        ({"title": "T", "body": "B"}, {"title": "T", "body": "B", "priority": "high"}),
        ({"badge": -1}, {"priority": "high"}),
        ({"badge": 0}, {"badge": 0, "priority": "high"}),
        ({"badge": "7"}, {"badge": 7, "priority": "high"}),
        ({"contentAvailable": False, "critical": False}, {"priority": "high"}),
        (
            {"contentAvailable": True, "critical": True},
            {"contentAvailable": True, "critical": True, "priority": "high"},
        ),
        ({"priority": "Normal"}, {"priority": "normal"}),
        ({"data": {"a": 1}}, {"data": {"a": 1}, "priority": "high"}),
        ({"data": '{"a": 1}'}, {"data": {"a": 1}, "priority": "high"}),
        (
            {"action": "a", "icon": "i", "sound": "s", "color": "c", "tag": "t", "channelId": "news"},
            {
                "action": "a",
                "icon": "i",
                "sound": "s",
                "color": "c",
                "tag": "t",
                "channelId": "news",
                "priority": "high",
            },
        ),
    ],
)
def test_a_push_holds_only_what_was_set(caller: Caller, given: dict[str, Any], data: dict[str, Any]) -> None:
    assert caller.create(PUSH, {"messageId": "m", **SOMEONE, **given})["data"] == data


def test_dates_leave_in_utc_with_milliseconds(caller: Caller) -> None:
    message = caller.create_email(draft=True, scheduledAt="2100-01-05T12:00:00+02:00")
    assert message["scheduledAt"] == LATER
    assert datetime.fromisoformat(message["$createdAt"]).tzinfo is not None
    assert len(message["$createdAt"]) == len(LATER)


def test_any_json_comes_back_as_it_was_sent(caller: Caller) -> None:
    deep: Any = "end"
    for _ in range(150):
        deep = [deep]
    data = {"large": 10**30, "small": 1.5e-300, "deep": deep, "text": "ä\u2028\U0001f680", "": None, "a.b$c": {}}
    message = caller.create_push("m", **SOMEONE, data=data)
    assert message["data"]["data"] == data
    assert caller.get(f"{MESSAGES}/m").body == message


@pytest.mark.parametrize("number", ["1e400", "-1e999", "1" * 5000])
def test_numbers_beyond_all_bounds_are_refused(caller: Caller, number: str) -> None:
    body = f'{{"messageId": "m", "users": ["ada"], "data": {{"n": {number}}}}}'
    assert caller("POST", PUSH, data=body.encode()).refusal == (400, "general_argument_invalid")


# 8.2 Parameters


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (EMAIL, {"messageId": "m", "content": "c", **SOMEONE}),
        (EMAIL, {"messageId": "m", "subject": "s", **SOMEONE}),
        (EMAIL, {"subject": "s", "content": "c", **SOMEONE}),
        (EMAIL, email(**SOMEONE, subject="")),
        (EMAIL, email(**SOMEONE, subject="s" * 999)),
        (EMAIL, email(**SOMEONE, content="c" * 64231)),
        (EMAIL, email(**SOMEONE, messageId="m" * 37)),
        (EMAIL, email(users="ada")),
        (EMAIL, email(users=["unique()"])),
        (EMAIL, email(targets=[5])),
        (EMAIL, email(**SOMEONE, cc=["§"])),
        (EMAIL, email(**SOMEONE, attachments=["file"])),
        (EMAIL, email(**SOMEONE, draft="true")),
        (EMAIL, email(**SOMEONE, html=1)),
        (EMAIL, email(**SOMEONE, scheduledAt="2020-01-01T00:00:00Z")),
        (EMAIL, email(**SOMEONE, scheduledAt="soon")),
        (EMAIL, email(**SOMEONE, scheduledAt="")),
        (EMAIL, email(**SOMEONE, replyToEmail="nobody")),
        (PUSH, push(**SOMEONE, title="t" * 257)),
        (PUSH, push(**SOMEONE, body="")),
        (PUSH, push(**SOMEONE, data=[1])),
        (PUSH, push(**SOMEONE, badge=1.5)),
        (PUSH, push(**SOMEONE, critical="true")),
        (PUSH, push(**SOMEONE, priority="urgent")),
        (PUSH, push(**SOMEONE, image="file")),
    ],
)
def test_bad_parameters(caller: Caller, path: str, body: dict[str, object]) -> None:
    assert caller.post(path, body).refusal == (400, "general_argument_invalid")
    assert caller.get(MESSAGES).body["total"] == 0


def test_null_is_absent(caller: Caller) -> None:
    message = caller.create(EMAIL, email(**SOMEONE, topics=None, scheduledAt=None, draft=None, html=None))
    assert (message["topics"], message["status"]) == ([], "processing")


# 8.3 Create: order of checks


@pytest.mark.parametrize(
    ("given", "status"),
    [
        (SOMEONE, "processing"),
        ({**SOMEONE, "draft": True}, "draft"),
        ({"draft": True}, "draft"),
        ({"draft": True, "scheduledAt": LATER}, "draft"),
        ({**SOMEONE, "scheduledAt": LATER}, "scheduled"),
        ({"topics": ["nobody-knows"]}, "processing"),
    ],
)
def test_the_status_of_a_new_message(caller: Caller, given: dict[str, object], status: str) -> None:
    message = caller.create(EMAIL, email(**given))
    assert (message["status"], message["scheduledAt"]) == (status, given.get("scheduledAt"))


@pytest.mark.parametrize("given", [{}, {"scheduledAt": LATER}, {"cc": ["mail"], "bcc": ["mail"]}])
def test_a_message_needs_somebody(caller: Caller, given: dict[str, object]) -> None:
    caller.create_user("ada")
    caller.create_target("ada", "ada@example.com", providerType="email", targetId="mail")
    assert caller.post(EMAIL, email(**given)).refusal == (400, "message_missing_target")


@pytest.mark.parametrize(
    ("path", "body", "refused"),
    [
        (EMAIL, email(targets=["mail"]), None),
        (EMAIL, email(targets=["phone"]), "message_target_not_email"),
        (EMAIL, email(targets=["mail", "missing"]), "message_target_not_email"),
        (EMAIL, email(users=["ada"], cc=["missing"]), "message_target_not_email"),
        (EMAIL, email(users=["ada"], bcc=["phone"]), "message_target_not_email"),
        (EMAIL, email(targets=["mail", "mail"], cc=["mail"], bcc=["mail"]), None),
        (EMAIL, email(draft=True, targets=["missing"]), "message_target_not_email"),
        (EMAIL, email(users=["missing"], topics=["missing"]), None),
        (PUSH, push(targets=["phone"]), None),
        (PUSH, push(targets=["mail"]), "message_target_not_push"),
    ],
)
def test_named_targets_must_exist_and_be_of_the_type(
    caller: Caller, path: str, body: dict[str, object], refused: str | None
) -> None:
    caller.create_user("ada")
    caller.create_target("ada", "ada@example.com", providerType="email", targetId="mail")
    caller.create_target("ada", "token", targetId="phone")
    answer = caller.post(path, body)
    assert (answer.body.get("type"), answer.status) == (refused, 400 if refused else 201)
    assert caller.get(MESSAGES).body["total"] == (0 if refused else 1)


def test_a_target_of_another_project_is_unknown(caller: Caller, stranger: Caller) -> None:
    stranger.create_user("bob")
    stranger.create_target("bob", "token", targetId="phone")
    assert caller.post(PUSH, push(targets=["phone"])).type == "message_target_not_push"


@pytest.mark.parametrize(
    ("path", "body"), [(EMAIL, email(**SOMEONE, attachments=["b:f"])), (PUSH, push(**SOMEONE, image="b:f"))]
)
def test_files_must_exist(caller: Caller, path: str, body: dict[str, object]) -> None:
    assert caller.post(path, body).refusal == (404, "storage_bucket_not_found")


def test_a_taken_id(caller: Caller) -> None:
    caller.create_email("m", **SOMEONE)
    assert caller.post(PUSH, push(**SOMEONE)).refusal == (409, "message_already_exists")


# What accepting leaves behind


def left_behind(caller: Caller, message_id: str) -> tuple[Any, ...]:
    (row,) = caller.rows(
        "SELECT run IS NOT NULL, expires_at - now() BETWEEN interval '23 hours' AND interval '24 hours',"
        " (SELECT count(*) FROM message_progress AS p WHERE p.run = m.run AND p.message_seq = m.seq"
        "   AND p.project_seq = m.project_seq AND planned = 0 AND batches_left = 1),"
        " (SELECT count(*) FROM fan_outs AS f WHERE f.run = m.run AND f.message_seq = m.seq"
        "   AND f.project_seq = m.project_seq AND due_at <= now()), lane"
        " FROM messages AS m WHERE project_seq = %(project)s AND id = %(id)s",
        id=message_id,
    )
    return row


STARTED = (True, True, 1, 1)
NOT_STARTED = (False, None, 0, 0)


def test_an_accepted_message_is_due_for_fan_out(caller: Caller) -> None:
    caller.create_email("few", **SOMEONE)
    caller.create_email("many", topics=["news"])
    assert left_behind(caller, "few") == (*STARTED, "transactional")
    assert left_behind(caller, "many") == (*STARTED, "bulk")


def test_drafts_and_scheduled_messages_are_not(caller: Caller) -> None:
    caller.create_email("draft", draft=True, **SOMEONE)
    caller.create_email("scheduled", scheduledAt=LATER, topics=["news"])
    assert left_behind(caller, "draft") == (*NOT_STARTED, "transactional")
    assert left_behind(caller, "scheduled") == (*NOT_STARTED, "bulk")


def test_a_refused_message_leaves_nothing_behind(caller: Caller) -> None:
    caller.create_email("m", **SOMEONE)
    caller.post(EMAIL, email(**SOMEONE))
    caller.post(EMAIL, email(messageId="other", targets=["missing"]))
    for table in ("messages", "message_progress", "fan_outs"):
        assert caller.rows(f"SELECT count(*) FROM {table} WHERE project_seq = %(project)s") == [(1,)], table  # noqa: S608


def test_sending_a_draft_makes_it_due(caller: Caller) -> None:
    caller.create_email("m", draft=True, **SOMEONE)
    assert caller.patch(f"{EMAIL}/m", {"draft": False, "topics": ["news"]}).body["status"] == "processing"
    assert left_behind(caller, "m") == (*STARTED, "bulk")


# 8.4 Update


@pytest.mark.parametrize(
    ("before", "given", "status", "scheduled_at"),
    [
        ({"draft": True}, {}, "draft", None),
        ({"draft": True}, {"draft": True}, "draft", None),
        ({"draft": True}, {"draft": True, "scheduledAt": LATER}, "draft", LATER),
        ({"draft": True}, {"scheduledAt": LATER}, "scheduled", LATER),
        ({"draft": True}, {"draft": False, "scheduledAt": LATER}, "scheduled", LATER),
        ({"draft": True}, {"draft": False}, "processing", None),
        ({"draft": True, "scheduledAt": LATER}, {"draft": False}, "processing", LATER),
        ({"draft": True, "scheduledAt": LATER}, {"subject": "New"}, "draft", LATER),
        ({"scheduledAt": LATER}, {}, "scheduled", LATER),
        ({"scheduledAt": LATER}, {"draft": True}, "draft", LATER),
        ({"scheduledAt": LATER}, {"draft": False}, "processing", LATER),
        ({"scheduledAt": "2100-02-01"}, {"scheduledAt": LATER}, "scheduled", LATER),
    ],
)
def test_the_new_status(
    caller: Caller, before: dict[str, object], given: dict[str, object], status: str, scheduled_at: str | None
) -> None:
    caller.create_email("m", **SOMEONE, **before)
    answer = caller.patch(f"{EMAIL}/m", given)
    assert answer.status == 200, answer.body
    assert (answer.body["status"], answer.body["scheduledAt"]) == (status, scheduled_at)
    assert caller.get(f"{MESSAGES}/m").body == answer.body


def test_what_is_given_replaces_what_is_stored(caller: Caller) -> None:
    caller.create_email("m", draft=True, users=["ada", "bob"], topics=["news"], cc=[])
    changed = caller.patch(f"{EMAIL}/m", {"users": ["eve"], "subject": "New", "html": True, "cc": ["any"]}).body
    assert (changed["users"], changed["topics"]) == (["eve"], ["news"])
    assert changed["data"] == {
        "subject": "New",
        "content": "Hello there.",
        "html": True,
        "cc": ["any"],  # not looked up on update
        "bcc": [],
        "attachments": [],
    }
    assert changed["$updatedAt"] > changed["$createdAt"]


def test_an_update_of_a_push_stores_what_is_given(caller: Caller) -> None:
    caller.create_push("m", draft=True, tag="t")
    changed = caller.patch(f"{PUSH}/m", {"contentAvailable": False, "badge": -5, "priority": "NORMAL"}).body
    expected = {"title": "Hello", "tag": "t", "contentAvailable": False, "badge": -5, "priority": "normal"}
    assert changed["data"] == expected


def test_an_empty_channel_takes_the_channel_away(caller: Caller) -> None:
    caller.create_push("m", draft=True, channelId="news")
    assert caller.patch(f"{PUSH}/m", {"channelId": "alarms"}).body["data"]["channelId"] == "alarms"
    assert "channelId" not in caller.patch(f"{PUSH}/m", {"channelId": ""}).body["data"]


@pytest.mark.parametrize("status", ["processing", "sent", "failed"])
def test_only_drafts_and_scheduled_messages_can_be_edited(caller: Caller, status: str) -> None:
    caller.create_email("m", **SOMEONE)
    set_status(caller, "m", status)
    for given in ({}, {"subject": "New"}, {"draft": True}, {"scheduledAt": LATER}):
        assert caller.patch(f"{EMAIL}/m", given).refusal == (400, f"message_already_{status}")


@pytest.mark.parametrize(
    ("before", "given"),
    [({"draft": True}, {"draft": False}), ({"draft": True}, {"scheduledAt": LATER}), ({**SOMEONE}, {"users": []})],
)
def test_who_is_sent_to_is_asked_before_the_status(
    caller: Caller, before: dict[str, object], given: dict[str, object]
) -> None:
    caller.create_email("m", **before)
    assert caller.patch(f"{EMAIL}/m", given).refusal == (400, "message_missing_target")


@pytest.mark.parametrize("before", [{"scheduledAt": LATER}, {"draft": True, "scheduledAt": LATER}])
@pytest.mark.parametrize("given", [{}, {"draft": True}, {"scheduledAt": LATER}])
def test_a_message_whose_time_has_come_cannot_be_changed(
    caller: Caller, before: dict[str, object], given: dict[str, object]
) -> None:
    caller.create_email("m", **SOMEONE, **before)
    make_due(caller, "m")
    assert caller.patch(f"{EMAIL}/m", given).refusal == (400, "message_already_scheduled")


def test_other_refusals_of_an_update(caller: Caller) -> None:
    caller.create_email("m", draft=True)
    assert caller.patch(f"{EMAIL}/missing", {}).refusal == (404, "message_not_found")
    assert caller.patch(f"{EMAIL}/m", {"subject": ""}).refusal == (400, "general_argument_invalid")
    assert caller.patch(f"{EMAIL}/m", {"scheduledAt": "2020-01-01"}).refusal == (400, "general_argument_invalid")
    assert caller.patch(f"{EMAIL}/m", {"attachments": ["b:f"]}).refusal == (404, "storage_bucket_not_found")


# 8.5 Get, delete, targets


def test_get_and_list(caller: Caller) -> None:
    first, second = caller.create_email("m1", **SOMEONE), caller.create_push("m2", **SOMEONE)
    assert caller.get(MESSAGES).body == {"total": 2, "messages": [first, second]}
    assert caller.get(f"{MESSAGES}/missing").refusal == (404, "message_not_found")


def test_delivery_is_told_from_progress(caller: Caller) -> None:
    caller.create_email("m", **SOMEONE)
    delivered_at = datetime.now(UTC) - timedelta(seconds=1)
    with caller.factory.connect() as connection:
        connection.execute(
            "UPDATE message_progress SET sent = 2, errors = '{refused}' WHERE project_seq = %s",
            [caller.factory.project_seq],
        )
        connection.execute(
            "UPDATE messages SET status = 'failed', delivered_at = %s WHERE project_seq = %s",
            [delivered_at, caller.factory.project_seq],
        )
    message = caller.get(f"{MESSAGES}/m").body
    assert (message["deliveredTotal"], message["deliveryErrors"]) == (2, ["refused"])
    assert message["deliveredAt"] == delivered_at.isoformat(timespec="milliseconds")
    assert caller.get(MESSAGES).body["messages"] == [message]


@pytest.mark.parametrize("status", ["draft", "processing", "sent", "failed"])
def test_delete_leaves_a_tombstone_and_the_id_is_free(caller: Caller, status: str) -> None:
    caller.create_email("m", **SOMEONE)
    set_status(caller, "m", status)
    assert caller.delete(f"{MESSAGES}/m").status == 204
    for answer in (caller.get(f"{MESSAGES}/m"), caller.delete(f"{MESSAGES}/m"), caller.patch(f"{EMAIL}/m", {})):
        assert answer.refusal == (404, "message_not_found")
    assert caller.get(MESSAGES).body["total"] == 0
    caller.create_email("m", **SOMEONE)


def test_delete_before_and_after_its_time(caller: Caller) -> None:
    caller.create_email("early", **SOMEONE, scheduledAt=LATER)
    caller.create_email("late", **SOMEONE, scheduledAt=LATER)
    make_due(caller, "late")
    assert caller.delete(f"{MESSAGES}/early").status == 204
    assert caller.delete(f"{MESSAGES}/late").refusal == (400, "message_already_scheduled")
    assert caller.delete(f"{MESSAGES}/missing").refusal == (404, "message_not_found")


def test_targets_of_a_message_are_those_it_names(caller: Caller) -> None:
    caller.create_user("ada", email="ada@example.com")
    for number in (1, 2, 3):
        caller.create_target("ada", f"token-{number}", targetId=f"phone-{number}")
    caller.create_push("m", targets=["phone-3", "phone-1"], users=["ada"])
    caller.delete("/users/ada/targets/phone-2")
    answer = caller.get(f"{MESSAGES}/m/targets")
    assert [target["$id"] for target in answer.body["targets"]] == ["phone-1", "phone-3"]
    assert answer.body["total"] == 2
    caller.delete("/users/ada/targets/phone-3")
    assert caller.get(f"{MESSAGES}/m/targets").body["total"] == 1


def test_a_message_without_targets_has_none_whatever_is_asked(caller: Caller) -> None:
    caller.create_push("m", **SOMEONE)
    answer = caller.get(f"{MESSAGES}/m/targets", params={"queries[0]": "nonsense"})
    assert answer.body == {"targets": [], "total": 0}
    assert caller.get(f"{MESSAGES}/missing/targets").refusal == (404, "message_not_found")
