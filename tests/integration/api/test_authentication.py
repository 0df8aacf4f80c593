"""Contract §3: who may call, and what is said first when several things are wrong."""

import pytest
import requests

from api.app import create_app
from api.kernel import Endpoint
from api.principals import USER_SCOPES
from shared.domain.api_key import SCOPES, hash_secret
from shared.settings import Settings
from tests.integration.api.conftest import Caller, RunningApi, make_caller, run_api
from tests.integration.api.logins import log_in
from tests.processes import wait_until

TOPICS = "/messaging/topics"


def add_key(caller: Caller, secret: str, scopes: list[str], *, expires: str | None = None) -> None:
    with caller.factory.connect() as connection:
        connection.execute(
            "INSERT INTO api_keys (project_seq, id, name, secret_hash, scopes, expires_at)"
            " VALUES (%s, %s, 'Test', %s, %s, now() + %s::interval)",
            [caller.factory.project_seq, secret[:36], hash_secret(secret), scopes, expires],
        )


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"X-Appwrite-Key": None}, (401, "general_unauthorized_scope")),  # guest
        ({"X-Appwrite-Key": "standard_0123"}, (401, "user_unauthorized")),
        ({"X-Appwrite-Key": "plain"}, (401, "user_unauthorized")),
        ({"X-Appwrite-Key": "foo_0123"}, (401, "general_unauthorized_scope")),  # of another scheme: guest
        ({"X-Appwrite-Project": None}, (403, "project_id_missing")),
        ({"X-Appwrite-Project": None, "X-Appwrite-Key": None}, (401, "general_unauthorized_scope")),
        ({"X-Appwrite-Project": "console", "X-Appwrite-Key": None}, (401, "general_unauthorized_scope")),
        ({"X-Appwrite-Project": "console"}, (401, "user_unauthorized")),
        ({"X-Appwrite-Project": "missing"}, (404, "project_not_found")),
        ({"X-Appwrite-Project": "a/b"}, (404, "project_not_found")),
    ],
)
def test_3_2_principals(caller: Caller, headers: dict[str, str | None], expected: tuple[int, str]) -> None:
    assert caller.get(TOPICS, headers=headers).refusal == expected


def test_2_the_project_may_stand_in_the_query(caller: Caller) -> None:
    answer = caller.get(TOPICS, params={"project": caller.project_id}, headers={"X-Appwrite-Project": None})
    assert answer.status == 200


def test_3_2_a_key_of_another_project_is_unknown(caller: Caller, stranger: Caller) -> None:
    assert caller.get(TOPICS, headers={"X-Appwrite-Key": stranger.key}).refusal == (401, "user_unauthorized")


def test_3_2_a_key_needs_the_scope(caller: Caller) -> None:
    add_key(caller, "readonly", ["topics.read", "a.scope.nobody.knows"])
    assert caller.get(TOPICS, headers={"X-Appwrite-Key": "readonly"}).status == 200
    answer = caller.post(TOPICS, {"topicId": "a", "name": "A"}, headers={"X-Appwrite-Key": "readonly"})
    assert answer.refusal == (401, "general_unauthorized_scope")


@pytest.mark.parametrize("scope", ["targets.read", "users.read"])
def test_3_3_user_targets_take_either_scope(caller: Caller, scope: str) -> None:
    caller.create_user("ada")
    add_key(caller, f"key{scope}", [scope])
    assert caller.get("/users/ada/targets", headers={"X-Appwrite-Key": f"key{scope}"}).status == 200


def test_3_3_every_key_may_ask_for_health(caller: Caller) -> None:
    add_key(caller, "scopeless", [])
    assert caller.get("/health", headers={"X-Appwrite-Key": "scopeless"}).status == 200


def test_3_2_an_expired_key(caller: Caller) -> None:
    add_key(caller, "expired", ["topics.read"], expires="-1 second")
    assert caller.get(TOPICS, headers={"X-Appwrite-Key": "expired"}).refusal == (401, "project_key_expired")


def test_3_2_a_key_that_has_not_expired_yet(caller: Caller) -> None:
    add_key(caller, "expiring", ["topics.read"], expires="1 hour")
    assert caller.get(TOPICS, headers={"X-Appwrite-Key": "expiring"}).status == 200


def test_use_of_a_key_is_noted(caller: Caller) -> None:
    caller.get(TOPICS)
    assert caller.rows("SELECT last_used_at IS NOT NULL FROM api_keys WHERE project_seq = %(project)s") == [(True,)]


def test_a_revoked_key_is_forgotten_after_the_cache_period(api_settings: Settings) -> None:
    seconds = 0.3
    with run_api(api_settings.model_copy(update={"key_cache_seconds": seconds})) as api:
        caller = make_caller(api)
        assert caller.get(TOPICS).status == 200
        with caller.factory.connect() as connection:
            connection.execute("DELETE FROM api_keys WHERE project_seq = %s", [caller.factory.project_seq])
        assert caller.get(TOPICS).status == 200, "it was remembered"
        wait_until(lambda: caller.get(TOPICS).status == 401)
        caller.session.close()


# The order of checks, §3.1: each request has this fault and all that come later in the list

BAD_ORIGIN = {"Origin": "https://evil.example.org", "X-Appwrite-Project": "missing", "X-Appwrite-Key": None}


@pytest.mark.parametrize(
    ("path", "headers", "expected"),
    [
        (
            "/messaging/nowhere",
            {**BAD_ORIGIN, "X-Appwrite-Project": "x", "X-Appwrite-Key": None},
            "general_route_not_found",
        ),
        (TOPICS, {**BAD_ORIGIN, "X-Appwrite-Project": "x", "X-Appwrite-Key": None}, "general_unknown_origin"),
        (TOPICS, {"X-Appwrite-Project": "missing", "X-Appwrite-Key": "standard_0"}, "project_not_found"),
        (TOPICS, {"X-Appwrite-Key": "standard_0"}, "user_unauthorized"),
        (TOPICS, {"X-Appwrite-Key": None}, "general_unauthorized_scope"),
        (TOPICS, {}, "general_argument_invalid"),
    ],
)
def test_3_1_order_of_checks(caller: Caller, path: str, headers: dict[str, str | None], expected: str) -> None:
    assert caller.post(path, {"topicId": "§"}, headers=headers).type == expected


def test_3_1_the_rate_limit_comes_before_validation(caller: Caller) -> None:
    nobody = {"X-Appwrite-Key": None}
    refusals = [caller.post("/account", {}, headers=nobody).refusal for _ in range(11)]
    assert refusals == [*[(400, "general_argument_invalid")] * 10, (429, "general_rate_limit_exceeded")]


def test_3_1_a_blocked_user_is_told_so_before_validation(caller: Caller) -> None:
    user = log_in(caller, "bob")
    caller.rows("UPDATE users SET is_enabled = false WHERE project_seq = %(project)s RETURNING 1")
    assert user.post(f"{TOPICS}/any/subscribers", {}).refusal == (403, "user_blocked")


def test_3_1_an_unknown_method_of_a_known_path_is_an_unknown_route(caller: Caller) -> None:
    assert caller("PUT", TOPICS).refusal == (404, "general_route_not_found")


# Scopes


def endpoints(settings: Settings) -> list[Endpoint]:
    return [route for route in create_app(settings).routes if isinstance(route, Endpoint)]


def test_3_3_every_scope_that_is_asked_for_can_be_given(running_api: RunningApi) -> None:
    for endpoint in endpoints(running_api.settings):
        assert endpoint.declared.scopes <= set(SCOPES) | USER_SCOPES, endpoint.path


def test_3_3_only_a_few_routes_ask_for_no_scope(running_api: RunningApi) -> None:
    public = {endpoint.path for endpoint in endpoints(running_api.settings) if not endpoint.declared.scopes}
    assert public == {
        "/v1/health/version",
        "/v1/ping",
        "/v1/storage/buckets/{bucketId}/files/{fileId}/push",
        "/v1/tidings/receipts/{place}",
    }
    assert requests.get(f"{running_api.endpoint}/health/version", timeout=10).status_code == 200
