"""Contract §11 for callers with a session or JWT: subscribe roles, and what is a user's own."""

import pytest

from tests.integration.api.conftest import Caller
from tests.integration.api.logins import User, log_in

SUBSCRIBERS = "/messaging/topics/news/subscribers"


def target_of(caller: Caller, user_id: str) -> str:
    return str(caller.get(f"/users/{user_id}/targets").body["targets"][0]["$id"])


@pytest.mark.parametrize(
    ("subscribe", "is_open"),
    [
        (["any"], True),
        (["users"], True),
        (["users/unverified"], True),
        (["users/verified"], False),
        (["user:bob"], True),
        (["user:bob/unverified"], True),
        (["user:bob/verified"], False),
        (["user:eve"], False),
        (["label:beta"], True),
        (["label:alpha"], False),
        (["guests"], False),
        (["team:bob"], False),
        (["user:eve", "users"], True),
        ([], False),
    ],
)
def test_subscribe_roles(caller: Caller, subscribe: list[str], *, is_open: bool) -> None:
    bob = log_in(caller, "bob")
    caller.rows("UPDATE users SET labels = '{beta}' WHERE project_seq = %(project)s RETURNING 1")
    caller.create_topic("news", subscribe=subscribe)
    answer = bob.post(SUBSCRIBERS, {"subscriberId": "s", "targetId": target_of(caller, "bob")})
    assert (answer.status == 201) is is_open
    assert is_open or answer.refusal == (401, "user_unauthorized")


def test_a_closed_topic_is_told_before_an_unknown_target(caller: Caller) -> None:
    bob = log_in(caller, "bob")
    caller.create_topic("news", subscribe=[])
    assert bob.post(SUBSCRIBERS, {"subscriberId": "s", "targetId": "x"}).refusal == (401, "user_unauthorized")
    caller.patch("/messaging/topics/news", {"subscribe": ["any"]})
    assert bob.post(SUBSCRIBERS, {"subscriberId": "s", "targetId": "x"}).refusal == (404, "user_target_not_found")


@pytest.fixture
def both(caller: Caller) -> tuple[User, User]:
    """Bob and eve, both subscribed, by bob."""
    bob, eve = log_in(caller, "bob"), log_in(caller, "eve")
    caller.create_topic("news")
    for name in ("bob", "eve"):
        answer = bob.post(SUBSCRIBERS, {"subscriberId": f"of-{name}", "targetId": target_of(caller, name)})
        assert (answer.status, answer.body["userId"]) == (201, name), "the target need not be the caller's own"
    return bob, eve


def test_users_see_their_own_subscriptions(caller: Caller, both: tuple[User, User]) -> None:
    bob, _ = both
    listed = bob("GET", SUBSCRIBERS).body
    assert ([item["$id"] for item in listed["subscribers"]], listed["total"]) == (["of-bob"], 1)
    assert bob("GET", f"{SUBSCRIBERS}/of-bob").status == 200
    assert bob("GET", f"{SUBSCRIBERS}/of-eve").refusal == (404, "subscriber_not_found")
    assert caller.get(SUBSCRIBERS).body["total"] == 2, "keys see all"


def test_users_end_their_own_subscriptions(caller: Caller, both: tuple[User, User]) -> None:
    bob, eve = both
    assert bob("DELETE", f"{SUBSCRIBERS}/of-eve").refusal == (404, "subscriber_not_found")
    headers = {"X-Appwrite-Session": None, "X-Appwrite-JWT": caller.create("/users/eve/jwts", {})["jwt"]}
    assert eve("DELETE", f"{SUBSCRIBERS}/of-eve", headers=headers).status == 204
    assert bob("DELETE", f"{SUBSCRIBERS}/of-bob").status == 204
    assert caller.get("/messaging/topics/news").body["emailTotal"] == 0
