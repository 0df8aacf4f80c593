"""Contract §10 and §11: topics, subscribers, and the totals between them."""

import pytest

from tests.integration.api.conftest import Caller

TOPICS = "/messaging/topics"


def totals(caller: Caller, topic_id: str) -> tuple[int, int, int]:
    topic = caller.get(f"{TOPICS}/{topic_id}").body
    return topic["emailTotal"], topic["smsTotal"], topic["pushTotal"]


def test_the_model_of_a_topic(caller: Caller) -> None:
    topic = caller.create_topic("news", name="News")
    assert topic.pop("$createdAt") == topic.pop("$updatedAt")
    assert topic == {
        "$id": "news",
        "name": "News",
        "emailTotal": 0,
        "smsTotal": 0,
        "pushTotal": 0,
        "subscribe": ["users"],
        "description": "",
        "qos": None,
        "expiry": None,
    }


def test_a_taken_id_and_an_unknown_one(caller: Caller) -> None:
    caller.create_topic("news")
    assert caller.post(TOPICS, {"topicId": "news", "name": "N"}).refusal == (409, "topic_already_exists")
    for answer in (
        caller.get(f"{TOPICS}/missing"),
        caller.patch(f"{TOPICS}/missing", {}),
        caller.delete(f"{TOPICS}/missing"),
    ):
        assert answer.refusal == (404, "topic_not_found")


@pytest.mark.parametrize(
    "body",
    [
        {"name": "N"},
        {"topicId": "a"},
        {"topicId": "-", "name": "N"},
        {"topicId": "a", "name": ""},
        {"topicId": "a", "name": "n" * 129},
        {"topicId": "a", "name": 5},
        {"topicId": "a", "name": "N", "subscribe": "users"},
        {"topicId": "a", "name": "N", "subscribe": ["*"]},
        {"topicId": "a", "name": "N", "subscribe": ["any"] * 101},
        {"topicId": "a", "name": "N", "qos": 2},
        {"topicId": "a", "name": "N", "qos": True},
        {"topicId": "a", "name": "N", "expiry": 604_801},
    ],
)
def test_bad_parameters(caller: Caller, body: dict[str, object]) -> None:
    assert caller.post(TOPICS, body).refusal == (400, "general_argument_invalid")


def test_update_changes_what_is_given(caller: Caller) -> None:
    before = caller.create_topic("news", name="News", subscribe=["any"])
    renamed = caller.patch(f"{TOPICS}/news", {"name": "Old news", "subscribe": None}).body
    assert (renamed["name"], renamed["subscribe"]) == ("Old news", ["any"])
    closed = caller.patch(f"{TOPICS}/news", {"subscribe": []}).body
    assert (closed["name"], closed["subscribe"]) == ("Old news", [])
    assert closed["$updatedAt"] > before["$updatedAt"] == before["$createdAt"] == closed["$createdAt"]


def test_quality_and_expiry_are_kept(caller: Caller) -> None:
    assert caller.create_topic("news", qos=0, expiry=604_800).items() >= {"qos": 0, "expiry": 604_800}.items()
    changed = caller.patch(f"{TOPICS}/news", {"qos": 1, "expiry": None}).body
    assert changed.items() >= {"qos": 1, "expiry": 604_800}.items()


def test_a_deleted_topic_is_gone_and_its_id_is_free(caller: Caller) -> None:
    caller.create_user("ada", email="ada@example.com")
    target_id = caller.get("/users/ada/targets").body["targets"][0]["$id"]
    caller.create_topic("news")
    caller.subscribe("news", target_id, "sub")
    assert caller.delete(f"{TOPICS}/news").status == 204
    assert caller.get(f"{TOPICS}/news/subscribers").refusal == (404, "topic_not_found")
    assert caller.get(TOPICS).body["total"] == 0
    caller.create_topic("news")
    assert totals(caller, "news") == (0, 0, 0)
    caller.subscribe("news", target_id, "sub")


# Subscribers


def test_the_model_of_a_subscriber(caller: Caller) -> None:
    caller.create_user("ada", name="Ada")
    caller.create_topic("news")
    target = caller.create_target("ada", "token", targetId="phone")
    subscriber = caller.subscribe("news", "phone", "sub")
    del subscriber["$createdAt"], subscriber["$updatedAt"]
    assert subscriber == {
        "$id": "sub",
        "targetId": "phone",
        "target": target,
        "userId": "ada",
        "userName": "Ada",
        "topicId": "news",
        "providerType": "push",
    }


def test_a_user_without_a_name_has_an_empty_one(caller: Caller) -> None:
    caller.create_user("ada")
    caller.create_topic("news")
    caller.create_target("ada", "token", targetId="phone")
    assert caller.subscribe("news", "phone")["userName"] == ""


def test_subscriber_refusals_in_their_order(caller: Caller) -> None:
    caller.create_user("ada")
    caller.create_topic("news")
    caller.create_topic("other", subscribe=["user:bob"])
    caller.create_target("ada", "token", targetId="phone")
    given = {"subscriberId": "sub", "targetId": "phone"}
    path = f"{TOPICS}/news/subscribers"
    assert caller.post(f"{TOPICS}/missing/subscribers", given | {"targetId": "missing"}).type == "topic_not_found"
    assert caller.post(path, given | {"targetId": "missing"}).refusal == (404, "user_target_not_found")
    assert caller.post(path, given).status == 201
    again = given | {"subscriberId": "another"}
    assert caller.post(path, again).refusal == (409, "subscriber_already_exists")
    taken = caller.post(f"{TOPICS}/other/subscribers", given)
    assert taken.refusal == (409, "subscriber_already_exists")
    assert caller.post(f"{TOPICS}/other/subscribers", again).status == 201, "keys need no role"
    assert totals(caller, "news") == (0, 0, 1)


def test_subscribers_are_found_in_their_own_topic(caller: Caller) -> None:
    caller.create_user("ada")
    caller.create_topic("news")
    caller.create_topic("other")
    caller.create_target("ada", "token", targetId="phone")
    caller.subscribe("news", "phone", "sub")
    assert caller.get(f"{TOPICS}/news/subscribers/sub").body["$id"] == "sub"
    listed = caller.get(f"{TOPICS}/news/subscribers").body
    assert (listed["total"], listed["subscribers"][0]["target"]["identifier"]) == (1, "token")
    for answer in (caller.get(f"{TOPICS}/other/subscribers/sub"), caller.delete(f"{TOPICS}/other/subscribers/sub")):
        assert answer.refusal == (404, "subscriber_not_found")
    assert caller.get(f"{TOPICS}/missing/subscribers/sub").refusal == (404, "topic_not_found")
    assert caller.delete(f"{TOPICS}/missing/subscribers/sub").refusal == (404, "topic_not_found")
    assert caller.get(f"{TOPICS}/missing/subscribers").refusal == (404, "topic_not_found")


# How totals move


def test_totals_follow_every_event(caller: Caller) -> None:
    caller.create_topic("news")
    caller.create_topic("other")
    user = caller.create_user("ada", email="ada@example.com", phone="+12065550100")
    email, sms = (target["$id"] for target in user["targets"])
    caller.create_target("ada", "token", targetId="phone")
    for topic_id in ("news", "other"):
        for target_id in (email, sms, "phone"):
            caller.subscribe(topic_id, target_id, f"{topic_id}-{target_id[-6:]}")
    assert totals(caller, "news") == totals(caller, "other") == (1, 1, 1)

    caller.delete(f"{TOPICS}/news/subscribers/news-{email[-6:]}")
    assert totals(caller, "news") == (0, 1, 1)

    caller.patch("/users/ada/targets/phone", {"identifier": "new-token"})
    assert totals(caller, "news") == (0, 1, 1)

    caller.delete("/users/ada/targets/phone")
    assert (totals(caller, "news"), totals(caller, "other")) == ((0, 1, 0), (1, 1, 0))

    caller.delete("/users/ada")
    assert totals(caller, "news") == totals(caller, "other") == (0, 0, 0)
    assert caller.rows("SELECT FROM subscribers WHERE project_seq = %(project)s") == []
