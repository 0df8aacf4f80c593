"""Contract §12: logs of messages, providers, topics and subscribers."""

import json

import pytest

from shared.db.queries.audit import purge_entries
from shared.db.session import create_engine, hot_transaction
from tests.integration.api.conftest import Caller

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"


def events(caller: Caller, path: str) -> list[str]:
    body = caller.get(f"{path}/logs").body
    assert body["total"] == len(body["logs"])
    return [log["event"] for log in body["logs"]]


def query(method: str, *values: object) -> str:
    return json.dumps({"method": method, "values": list(values)})


@pytest.mark.parametrize(
    ("path", "kind", "create", "update"),
    [
        (
            "/messaging/messages",
            "email",
            {"messageId": "it", "subject": "s", "content": "c", "draft": True},
            "email/it",
        ),
        ("/messaging/messages", "sms", {"messageId": "it", "content": "c", "draft": True}, "sms/it"),
        ("/messaging/messages", "push", {"messageId": "it", "draft": True}, "push/it"),
        ("/messaging/providers", "twilio", {"providerId": "it", "name": "n"}, "twilio/it"),
        ("/messaging/topics", "", {"topicId": "it", "name": "n"}, "it"),
    ],
)
def test_every_change_is_in_the_log(
    caller: Caller, path: str, kind: str, create: dict[str, object], update: str
) -> None:
    resource = path.rpartition("/")[2].removesuffix("s")
    caller.create(f"{path}/{kind}".rstrip("/"), create)
    assert events(caller, f"{path}/it") == [f"{resource}.create"]
    assert caller.patch(f"{path}/{update}", {}).status == 200
    assert events(caller, f"{path}/it") == [f"{resource}.update", f"{resource}.create"]

    refused = caller.post(f"{path}/{kind}".rstrip("/"), create)
    assert refused.status == 409
    assert len(events(caller, f"{path}/it")) == 2, "what is refused is no change"

    assert caller.delete(f"{path}/it").status == 204
    assert caller.get(f"{path}/it/logs").refusal == (404, f"{resource}_not_found")
    rows = caller.rows(
        "SELECT event, resource_id FROM audit_log WHERE project_seq = %(project)s AND event LIKE '%%.delete'"
    )
    assert rows == [(f"{resource}.delete", "it")]


def test_subscribers_are_created_and_deleted(caller: Caller) -> None:
    caller.create_user("ada")
    caller.create_topic("news")
    caller.create_target("ada", "token", targetId="phone")
    caller.subscribe("news", "phone", "sub")
    assert events(caller, "/messaging/subscribers/sub") == ["subscriber.create"]
    caller.delete("/messaging/topics/news/subscribers/sub")
    assert caller.get("/messaging/subscribers/sub/logs").refusal == (404, "subscriber_not_found")
    assert caller.rows("SELECT count(*) FROM audit_log WHERE project_seq = %(project)s AND event LIKE 'sub%%'") == [
        (2,)
    ]


def test_the_model_of_a_log(caller: Caller) -> None:
    caller.post("/messaging/topics", {"topicId": "news", "name": "News"}, headers={"User-Agent": FIREFOX})
    (log,) = caller.get("/messaging/topics/news/logs").body["logs"]
    assert log.pop("time") == caller.get("/messaging/topics/news").body["$createdAt"]
    assert log == {
        "event": "topic.create",
        "userId": "",
        "userEmail": f"app.{caller.project_id}@service.127.0.0.1",
        "userName": "Test",
        "mode": "default",
        "userType": "keyProject",
        "ip": "127.0.0.1",
        "osCode": "LIN",
        "osName": "GNU/Linux",
        "osVersion": "",
        "clientType": "browser",
        "clientCode": "FF",
        "clientName": "Firefox",
        "clientVersion": "128.0",
        "clientEngine": "Gecko",
        "clientEngineVersion": "128.0",
        "deviceName": "desktop",
        "deviceBrand": "",
        "deviceModel": "",
        "countryCode": "--",
        "countryName": "Unknown",
    }


def test_limit_and_offset_are_all_that_can_be_asked(caller: Caller) -> None:
    caller.create_topic("news")
    caller.patch("/messaging/topics/news", {"name": "N"})
    path = "/messaging/topics/news/logs"
    page = caller.get(path, params={"queries[0]": query("limit", 1), "queries[1]": query("offset", 1)}).body
    assert (page["total"], [log["event"] for log in page["logs"]]) == (2, ["topic.create"])
    assert caller.get(path, params={"total": "false"}).body["total"] == 0
    for refused in (query("orderDesc", "$id"), query("cursorAfter", "news"), query("equal", "x")):
        assert caller.get(path, params={"queries[0]": refused}).refusal == (400, "general_argument_invalid")


def test_a_new_thing_of_an_old_id_has_a_log_of_its_own(caller: Caller) -> None:
    caller.create_topic("news")
    caller.delete("/messaging/topics/news")
    caller.create_topic("news")
    assert events(caller, "/messaging/topics/news") == ["topic.create"]


async def test_old_entries_are_forgotten_in_pages(caller: Caller) -> None:
    for number in range(3):
        caller.create_topic(f"t{number}")
    with caller.factory.connect() as connection:
        connection.execute("UPDATE audit_log SET created_at = created_at - interval '2 days' WHERE resource_id <> 't2'")
    engine = create_engine(caller.factory.settings, role="test", pool_size=1)
    purged = -1
    while purged:
        async with hot_transaction(engine) as connection:
            purged = await purge_entries(connection, older_than_seconds=86_400, page=2)
            assert purged <= 2
    await engine.dispose()
    assert caller.rows("SELECT resource_id FROM audit_log WHERE project_seq = %(project)s") == [("t2",)]
