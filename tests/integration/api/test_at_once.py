"""Several requests at once: exactly one wins, totals stay exact, nobody waits for ever."""

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from api.schemas.providers import KINDS
from tests.integration.api.conftest import Answer, Caller
from tests.integration.api.logins import User, as_guest
from tests.processes import wait_until

Request = Callable[[Caller], Answer]


def at_once(caller: Caller, requests: list[Request]) -> list[Answer]:
    """Each on a connection of its own, started together."""
    barrier = Barrier(len(requests))

    def run(request: Request) -> Answer:
        own = Caller(caller.endpoint, caller.project_id, caller.key, caller.factory)
        with own.session:
            barrier.wait()
            return request(own)

    with ThreadPoolExecutor(len(requests)) as pool:
        return list(pool.map(run, requests))


def post(path: str, body: dict[str, object]) -> Request:
    return lambda caller: caller.post(path, body)


def _of_every_provider_kind() -> list[tuple[str, dict[str, object], str]]:
    body: dict[str, object] = {"providerId": "x", "name": "P", "host": "mail.example.com"}  # which smtp needs
    return [(f"/messaging/providers/{kind}", body, "provider_already_exists") for kind in KINDS]


@pytest.mark.parametrize(
    ("path", "body", "taken"),
    [
        (
            "/messaging/messages/email",
            {"messageId": "x", "subject": "S", "content": "C", "users": ["ada"]},
            "message_already_exists",
        ),
        ("/messaging/messages/sms", {"messageId": "x", "content": "C", "users": ["ada"]}, "message_already_exists"),
        ("/messaging/messages/push", {"messageId": "x", "title": "T", "users": ["ada"]}, "message_already_exists"),
        ("/messaging/messages/push", {"messageId": "x", "draft": True}, "message_already_exists"),
        *_of_every_provider_kind(),
        ("/messaging/topics", {"topicId": "x", "name": "T"}, "topic_already_exists"),
        (
            "/messaging/topics/news/subscribers",
            {"subscriberId": "x", "targetId": "phone"},
            "subscriber_already_exists",
        ),
        ("/users", {"userId": "x", "email": "x@example.com"}, "user_already_exists"),
        (
            "/users/ada/targets",
            {"targetId": "x", "providerType": "push", "identifier": "i"},
            "user_target_already_exists",
        ),
        ("/storage/buckets", {"bucketId": "x", "name": "B"}, "storage_bucket_already_exists"),
        ("/databases", {"databaseId": "x", "name": "D"}, "database_already_exists"),
        ("/databases/shop/collections", {"collectionId": "x", "name": "C"}, "collection_already_exists"),
        (
            "/databases/shop/collections/orders/documents",
            {"documentId": "x", "data": {"title": "T"}},
            "document_already_exists",
        ),
    ],
)
def test_of_several_creates_with_one_id_one_wins(
    caller: Caller, path: str, body: dict[str, object], taken: str
) -> None:
    caller.create_user("ada")
    caller.create_topic("news")
    caller.create_target("ada", "token", targetId="phone")
    caller.create("/databases", {"databaseId": "shop", "name": "Shop"})
    title = {"key": "title", "type": "string"}
    caller.create("/databases/shop/collections", {"collectionId": "orders", "name": "O", "attributes": [title]})
    answers = at_once(caller, [post(path, body)] * 6)
    assert Counter(answer.status for answer in answers) == {201: 1, 409: 5}
    assert {answer.type for answer in answers if answer.status == 409} == {taken}


def test_of_several_accounts_with_one_address_one_is_made(caller: Caller) -> None:
    def sign_up(number: int) -> Request:
        body = {"userId": f"user-{number}", "email": "ada@example.com", "password": "engine-no-1"}
        return lambda caller: as_guest(caller, "POST", "/account", json=body)

    answers = at_once(caller, [sign_up(number) for number in range(4)])
    assert Counter(answer.status for answer in answers) == {201: 1, 409: 3}
    assert (caller.get("/users").body["total"], len(caller.get("/users").body["users"][0]["targets"])) == (1, 1)


def test_totals_are_exact_whoever_comes_and_goes(caller: Caller) -> None:
    """Subscribing, unsubscribing, deleting targets and users: all touch the same two topics, in any order."""
    topics = ("news", "other")
    for topic_id in topics:
        caller.create_topic(topic_id)
    for number in range(6):
        caller.create_user(f"user-{number}")
        caller.create_target(f"user-{number}", f"token-{number}", targetId=f"target-{number}")
    for number in range(3):
        for topic_id in topics:
            caller.subscribe(topic_id, f"target-{number}", f"{topic_id}-{number}")

    def subscribe(topic_id: str, number: int) -> Request:
        body: dict[str, object] = {"subscriberId": f"{topic_id}-{number}", "targetId": f"target-{number}"}
        return post(f"/messaging/topics/{topic_id}/subscribers", body)

    def delete(path: str) -> Request:
        return lambda caller: caller.delete(path)

    answers = at_once(
        caller,
        [
            *(subscribe(topic_id, number) for number in (3, 4, 5) for topic_id in topics),
            *(subscribe(topic_id, 5) for topic_id in reversed(topics)),
            delete("/messaging/topics/news/subscribers/news-0"),
            delete("/users/user-0/targets/target-0"),
            delete("/users/user-1"),
            delete("/users/user-5"),
            delete("/users/user-4/targets/target-4"),
            delete("/messaging/topics/other/subscribers/other-2"),
        ],
    )
    assert {answer.status for answer in answers} <= {201, 204, 404, 409}
    for topic_id in topics:
        ((counted,),) = caller.rows(
            "SELECT count(*) FROM subscribers JOIN topics ON topics.seq = topic_seq"
            " WHERE topics.project_seq = %(project)s AND topics.id = %(topic)s",
            topic=topic_id,
        )
        assert caller.get(f"/messaging/topics/{topic_id}").body["pushTotal"] == counted


def test_changes_of_one_message_are_judged_one_after_the_other(caller: Caller) -> None:
    """Of several that send a draft, one does; the others find it processing. It is due for fan-out once."""
    caller.create_push("m", draft=True, users=["ada"])
    answers = at_once(caller, [lambda caller: caller.patch("/messaging/messages/push/m", {"draft": False})] * 6)
    outcomes = Counter(answer.body.get("type") for answer in answers)
    assert outcomes == {None: 1, "message_already_processing": 5}
    assert caller.rows("SELECT count(*) FROM fan_outs WHERE project_seq = %(project)s") == [(1,)]


def test_harmless_changes_of_one_message_all_arrive(caller: Caller) -> None:
    caller.create_push("m", draft=True)
    fields = ("title", "body", "action", "icon", "sound", "color")

    def change(field: str) -> Request:
        return lambda caller: caller.patch("/messaging/messages/push/m", {field: "changed"})

    answers = at_once(caller, [change(field) for field in fields])
    assert [answer.status for answer in answers] == [200] * len(fields)
    data = caller.get("/messaging/messages/m").body["data"]
    assert {field: data[field] for field in fields} == dict.fromkeys(fields, "changed")


PHONE = "/users/ada/targets/phone"
NEW_TARGET = {"targetId": "x", "providerType": "push", "identifier": "i"}
NEW_SUBSCRIBER = {"subscriberId": "x", "targetId": "phone"}


@pytest.mark.parametrize(
    ("deleted", "call", "body", "missing"),
    [
        ("targets", f"PATCH {PHONE}", {"name": "N"}, "user_target_not_found"),
        ("targets", f"PATCH {PHONE}", {"identifier": "new"}, "user_target_not_found"),
        ("targets", "POST /messaging/topics/news/subscribers", NEW_SUBSCRIBER, "user_target_not_found"),
        ("users", f"PATCH {PHONE}", {"name": "N"}, "user_target_not_found"),
        ("users", "POST /users/ada/targets", NEW_TARGET, "user_not_found"),
        ("users", "POST /users/ada/sessions", {}, "user_not_found"),
    ],
)
def test_what_is_deleted_meanwhile_is_missing(
    caller: Caller, deleted: str, call: str, body: object, missing: str
) -> None:
    caller.create_user("ada")
    caller.create_topic("news")
    caller.create_target("ada", "token", targetId="phone")
    answer = _meet_deletion(caller, deleted, lambda: caller(*call.split(), json=body))
    assert answer.refusal == (404, missing)


@pytest.mark.parametrize("deleted", ["users", "user_sessions"])
@pytest.mark.parametrize(
    ("call", "body", "refusal"),
    [
        ("POST /account/targets/push", {"targetId": "x", "identifier": "i"}, (401, "general_unauthorized_scope")),
        ("PUT /account/targets/phone/push", {"identifier": "i"}, (404, "user_target_not_found")),
    ],
)
def test_whose_session_ends_meanwhile_is_refused(
    caller: Caller, deleted: str, call: str, body: object, refusal: tuple[int, str]
) -> None:
    caller.create_user("ada")
    user = User(caller, "ada", caller.create("/users/ada/sessions", {})["secret"])
    user.post("/account/targets/push", {"targetId": "phone", "identifier": "token"})
    assert _meet_deletion(caller, deleted, lambda: user(*call.split(), json=body)).refusal == refusal


def test_a_login_of_a_user_who_is_deleted_meanwhile_is_refused(caller: Caller) -> None:
    login = {"email": "ada@example.com", "password": "engine-no-1"}
    caller.create_user("ada", **login)
    answer = _meet_deletion(caller, "users", lambda: as_guest(caller, "POST", "/account/sessions/email", json=login))
    assert answer.refusal == (401, "user_invalid_credentials")


def test_a_message_that_takes_the_place_of_a_deleted_one_meanwhile_is_deleted_too(caller: Caller) -> None:
    caller.create_push("m", scheduledAt="2099-01-01", users=["ada"])
    another_in_its_place = """
        WITH deleted AS (UPDATE messages SET deleted_at = now(), id = 'gone' WHERE project_seq = %s RETURNING *)
        INSERT INTO messages (project_seq, id, channel, status, lane, data, topics, users, targets, scheduled_at)
        SELECT project_seq, 'm', channel, status, lane, data, topics, users, targets, scheduled_at FROM deleted
    """
    answer = _meet_change(caller, another_in_its_place, lambda: caller.delete("/messaging/messages/m"))
    assert answer.status == 204
    assert caller.get("/messaging/messages/m").type == "message_not_found"


def _meet_deletion(caller: Caller, deleted: str, request: Callable[[], Answer]) -> Answer:
    """The answer to a request that sees the rows of a table, and waits for a deletion of them to be committed."""
    return _meet_change(caller, f"DELETE FROM {deleted} WHERE project_seq = %s", request)  # noqa: S608  # tests' own


def _meet_change(caller: Caller, change: str, request: Callable[[], Answer]) -> Answer:
    with ThreadPoolExecutor(1) as pool:
        with caller.factory.connect() as connection, connection.transaction():
            connection.execute(change.encode(), [caller.factory.project_seq])
            answer = pool.submit(request)
            is_waiting = "SELECT FROM pg_stat_activity WHERE %(deleting)s = ANY(pg_blocking_pids(pid))"
            wait_until(lambda: bool(caller.rows(is_waiting, deleting=connection.info.backend_pid)))
        return answer.result()
