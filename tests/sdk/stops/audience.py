"""Users, their targets, topics and who subscribes to them."""

import pytest

from tests.sdk.sdk import UNIQUE, Refused, make, query
from tests.sdk.tour import Tour


def visit(tour: Tour) -> None:
    _targets(tour)
    _topics(tour)
    _subscribers(tour)
    tour.owner.users("delete", userId="ada")
    assert tour.owner.messaging("getTopic", topicId="news")["emailTotal"] == 0
    tour.owner.messaging("deleteTopic", topicId="news")
    assert tour.owner.messaging("listTopics")["total"] == 0


def _targets(tour: Tour) -> None:
    users, email, phone = tour.owner.users, tour.address("ada"), "+12065550100"
    ada = users("create", userId="ada", email=email, phone=phone, password="engine-no-1", name="Ada")
    assert [target["identifier"] for target in ada["targets"]] == [email, phone]
    tour.owner.messaging("createApnsProvider", providerId="apple", name="Push")

    device = {"userId": "ada", "targetId": "phone"}
    users("createTarget", **device, providerType="push", identifier="first-token", name="Phone")
    told = {"identifier": f"{tour.project_id}-token", "providerId": "apple", "name": "Tablet"}
    changed = users("updateTarget", **device, **told)
    assert told.items() <= changed.items()
    assert users("getTarget", **device) == changed
    pushes = [query("equal", "providerType", ["push"])]
    assert users("listTargets", userId="ada", queries=pushes, total=True) == {"total": 1, "targets": [changed]}
    users("deleteTarget", **device)
    with pytest.raises(Refused) as gone:
        users("getTarget", **device)
    assert gone.value.refusal == (404, "user_target_not_found")
    assert users("list", search=email)["users"][0]["$id"] == "ada"
    tour.owner.messaging("deleteProvider", providerId="apple")


def _topics(tour: Tour) -> None:
    messaging = tour.owner.messaging
    newer = {"description": "What is new", "qos": 1, "expiry": 60}
    topic = messaging("createTopic", topicId="news", name="News", subscribe=[make("Role", "any")], **newer)
    assert (topic["name"], topic["subscribe"], topic["emailTotal"]) == ("News", ["any"], 0)
    changed = messaging("updateTopic", topicId="news", name="Old news", subscribe=[make("Role", "users")], **newer)
    assert (changed["name"], changed["subscribe"]) == ("Old news", ["users"])
    if tour.sdk.takes("messaging", "createTopic", "qos"):
        assert newer.items() <= changed.items()
    assert messaging("getTopic", topicId="news") == changed
    found = messaging("listTopics", queries=[query("startsWith", "name", "Old")], search="news", total=True)
    assert found == {"total": 1, "topics": [changed]}
    if tour.sdk.spellings("messaging", "listTopicLogs"):
        logs = messaging("listTopicLogs", topicId="news", queries=[query("offset", 0)], total=True)["logs"]
        assert [log["event"] for log in logs] == ["topic.update", "topic.create"]


def _subscribers(tour: Tour) -> None:
    messaging = tour.owner.messaging
    email, phone = tour.owner.users("listTargets", userId="ada")["targets"]
    for target in (email, phone):
        messaging("createSubscriber", topicId="news", subscriberId=UNIQUE, targetId=target["$id"])
    counted = messaging("getTopic", topicId="news")
    assert (counted["emailTotal"], counted["smsTotal"], counted["pushTotal"]) == (1, 1, 0)
    newest = [query("orderDesc", "$id"), query("limit", 1)]
    page = messaging("listSubscribers", topicId="news", queries=newest, search="sms", total=True)
    (by_phone,) = page["subscribers"]
    assert (by_phone["target"]["identifier"], by_phone["userName"]) == ("+12065550100", "Ada")
    assert messaging("getSubscriber", topicId="news", subscriberId=by_phone["$id"]) == by_phone
    if tour.sdk.spellings("messaging", "listSubscriberLogs"):
        asked = {"subscriberId": by_phone["$id"], "queries": [query("limit", 1)], "total": True}
        assert messaging("listSubscriberLogs", **asked)["logs"][0]["event"] == "subscriber.create"
    messaging("deleteSubscriber", topicId="news", subscriberId=by_phone["$id"])
    assert messaging("getTopic", topicId="news")["smsTotal"] == 0
