"""Contract §15: account, sessions, JWT, push targets of users; §3.2: who a request comes from."""

import json
import time

import jwt
import pytest

from shared.settings import Settings
from tests.integration.api.conftest import Answer, Caller, make_caller, run_api
from tests.integration.api.logins import as_guest, log_in

ADA = {"userId": "ada", "email": "Ada@example.com", "password": "engine-no-1", "name": "Ada"}
LOGIN = {"email": "ada@example.com", "password": "engine-no-1"}
TARGETS = "/account/targets/push"


def sign_up(caller: Caller) -> Answer:
    return as_guest(caller, "POST", "/account", json=ADA)


def begin_session(caller: Caller, **options: object) -> Answer:
    caller.session.cookies.clear()
    answer = as_guest(caller, "POST", "/account/sessions/email", json=LOGIN, **options)
    caller.session.cookies.clear()  # each test says itself what is sent
    return answer


def secret_of(answer: Answer, caller: Caller) -> str:
    name = f"a_session_{caller.project_id}="
    return answer.headers["set-cookie"].split(name)[1].split(";")[0]


# Account


def test_sign_up_makes_the_user_and_a_target_for_the_address(caller: Caller) -> None:
    account = sign_up(caller)
    assert account.status == 201
    assert (account.body["email"], account.body["name"]) == ("ada@example.com", "Ada")
    assert [target["identifier"] for target in account.body["targets"]] == ["ada@example.com"]
    assert {account.body[field] for field in ("password", "hash", "hashOptions")} == {None}
    assert sign_up(caller).refusal == (409, "user_already_exists")


def test_a_session_begins_with_the_password(caller: Caller) -> None:
    sign_up(caller)
    answer = begin_session(caller, headers={"User-Agent": "Mozilla/5.0 (X11; Linux x86_64) Chrome/120.0 Safari/537.36"})
    assert answer.status == 201
    session = answer.body
    assert (session["provider"], session["providerUid"], session["factors"]) == (
        "email",
        "ada@example.com",
        ["password"],
    )
    assert (session["osName"], session["clientName"], session["deviceName"]) == ("GNU/Linux", "Chrome", "desktop")
    assert (session["current"], session["secret"], session["userId"]) == (True, "", "ada")
    cookies = answer.headers["set-cookie"]
    assert f"a_session_{caller.project_id}_legacy=" in cookies
    assert "Path=/; HttpOnly" in cookies
    assert "=" not in secret_of(answer, caller)


@pytest.mark.parametrize("body", [{**LOGIN, "password": "engine-no-2"}, {**LOGIN, "email": "eve@example.com"}])
def test_wrong_credentials(caller: Caller, body: dict[str, str]) -> None:
    sign_up(caller)
    answer = as_guest(caller, "POST", "/account/sessions/email", json=body)
    assert answer.refusal == (401, "user_invalid_credentials")


def test_nobody_logs_in_twice(caller: Caller) -> None:
    user = log_in(caller, "bob")
    answer = user.post("/account/sessions/email", {"email": "bob@example.com", "password": "engine-no-1"})
    assert answer.refusal == (401, "user_session_already_exists")


def test_a_page_of_another_host_gets_its_cookie_as_a_header(caller: Caller) -> None:
    sign_up(caller)
    answer = begin_session(caller, headers={"Origin": "http://localhost"})
    cookies = json.loads(answer.headers["x-fallback-cookies"])
    assert cookies == {f"a_session_{caller.project_id}": secret_of(answer, caller)}
    headers = {"X-Fallback-Cookies": answer.headers["x-fallback-cookies"]}
    assert as_guest(caller, "GET", "/account", headers=headers).body["$id"] == "ada"


def test_an_ended_session_is_a_guest(caller: Caller) -> None:
    user = log_in(caller, "bob")
    assert user("GET", "/account").status == 200
    assert user("DELETE", "/account/sessions/current").status == 204
    assert user("GET", "/account").refusal == (401, "general_unauthorized_scope")


# §3.2 Principals


def test_each_way_to_show_a_session(caller: Caller) -> None:
    secret = log_in(caller, "bob").secret
    name = f"a_session_{caller.project_id}"
    for headers in (
        {"X-Appwrite-Session": secret},
        {"Cookie": f"{name}={secret}"},
        {"Cookie": f"{name}_legacy={secret}"},
        {"X-Fallback-Cookies": json.dumps({name: secret})},
    ):
        assert as_guest(caller, "GET", "/account", headers=headers).status == 200, headers


@pytest.mark.parametrize(
    ("credentials", "path", "expected"),
    [
        ("session", "/account", 200),
        ("jwt", "/account", 200),
        ("", "/account", "general_unauthorized_scope"),
        ("key", "/account", "general_unauthorized_scope"),
        ("key session", "/account", "general_unauthorized_scope"),  # the key wins
        ("key session", "/users/bob", 200),
        ("foreign-prefix session", "/account", 200),
        ("session", "/users/bob", "general_unauthorized_scope"),
        ("session", "/users/bob/targets", "general_unauthorized_scope"),
        ("session", "/messaging/messages", "general_unauthorized_scope"),
        ("bad-session", "/account", "general_unauthorized_scope"),
        ("bad-session", "/messaging/topics", "general_unauthorized_scope"),
        ("bad-jwt", "/account", "user_jwt_invalid"),
        ("expired-jwt", "/account", "user_jwt_invalid"),
        ("stranger-jwt", "/account", "user_jwt_invalid"),
        ("jwt cookie", "/account", "user_jwt_and_cookie_set"),
    ],
)
def test_credentials(caller: Caller, stranger: Caller, credentials: str, path: str, expected: int | str) -> None:
    secret = log_in(caller, "bob").secret
    log_in(stranger, "bob")
    sent = {
        "key": {"X-Appwrite-Key": caller.key},
        "foreign-prefix": {"X-Appwrite-Key": "foo_1"},
        "session": {"X-Appwrite-Session": secret},
        "bad-session": {"X-Appwrite-Session": "nobody"},
        "cookie": {"Cookie": f"a_session_{caller.project_id}={secret}"},
        "jwt": {"X-Appwrite-JWT": caller.create("/users/bob/jwts", {})["jwt"]},
        "expired-jwt": {"X-Appwrite-JWT": caller.create("/users/bob/jwts", {"duration": 0})["jwt"]},
        "stranger-jwt": {"X-Appwrite-JWT": stranger.create("/users/bob/jwts", {})["jwt"]},
        "bad-jwt": {"X-Appwrite-JWT": "a.b.c"},
    }
    headers: dict[str, str] = {}
    for credential in credentials.split():
        headers |= sent[credential]
    answer = as_guest(caller, "GET", path, headers=headers)
    assert (answer.status if answer.status == 200 else answer.type) == expected


def test_a_blocked_user(caller: Caller) -> None:
    user = log_in(caller, "bob")
    caller.rows("UPDATE users SET is_enabled = false WHERE project_seq = %(project)s RETURNING 1")
    assert user("GET", "/account").refusal == (403, "user_blocked")
    assert user("GET", "/messaging/messages").type == "general_unauthorized_scope", "scopes are asked first"


# JWT


def test_a_jwt_of_a_session(caller: Caller) -> None:
    user = log_in(caller, "bob")
    answer = user.post("/account/jwts", {})
    assert answer.status == 201
    token = answer.body["jwt"]
    claims = jwt.decode(token, options={"verify_signature": False})
    assert claims["userId"] == "bob"
    assert 880 < claims["exp"] - time.time() <= 901
    headers = {"X-Appwrite-JWT": token}
    assert as_guest(caller, "GET", "/account", headers=headers).body["$id"] == "bob"
    assert as_guest(caller, "POST", "/account/jwt", headers=headers, json={}).status == 401, "no JWT from a JWT"
    user("DELETE", "/account/sessions/current")
    assert as_guest(caller, "GET", "/account", headers=headers).type == "general_unauthorized_scope", "a guest"


def test_jwts_by_key(caller: Caller) -> None:
    caller.create_user("ada")
    assert caller.post("/users/ada/jwts", {"sessionId": "missing"}).refusal == (404, "user_session_not_found")
    assert caller.post("/users/eve/jwts", {}).refusal == (404, "user_not_found")
    assert caller.post("/users/ada/jwts", {"duration": 3601}).refusal == (400, "general_argument_invalid")
    headers = {"X-Appwrite-JWT": caller.create("/users/ada/jwts", {})["jwt"]}
    assert as_guest(caller, "GET", "/account", headers=headers).body["$id"] == "ada", "without any session"


def test_a_session_by_key_shows_its_secret(caller: Caller) -> None:
    caller.create_user("ada")
    session = caller.create("/users/ada/sessions", {})
    assert (session["provider"], session["factors"]) == ("server", ["server"])
    assert len(session["secret"]) > 40
    assert caller.post("/users/eve/sessions", {}).refusal == (404, "user_not_found")


# Push targets


def test_push_targets_are_the_users_own(caller: Caller) -> None:
    bob, eve = log_in(caller, "bob"), log_in(caller, "eve")
    agent = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_2 like Mac OS X) AppleWebKit/605.1 Version/17.2 Safari/604.1"
    created = bob.post(TARGETS, {"targetId": "phone", "identifier": "token"}, headers={"User-Agent": agent})
    assert created.status == 201
    target = created.body
    assert (target["name"], target["userId"], target["providerType"]) == ("Apple iPhone", "bob", "push")
    assert eve.post(TARGETS, {"targetId": "other", "identifier": "token"}).type == "user_target_already_exists"

    path = "/account/targets/phone/push"
    caller.rows("UPDATE targets SET expired = true WHERE id = 'phone' AND project_seq = %(project)s RETURNING 1")
    assert eve("PUT", path, json={"identifier": "new"}).refusal == (404, "user_target_not_found")
    assert bob("PUT", path, json={"identifier": "new"}).body["expired"] is False
    assert eve("DELETE", path).refusal == (404, "user_target_not_found")
    assert bob("DELETE", path).status == 204
    assert bob("DELETE", path).status == 404


def test_the_address_of_the_account_is_no_push_target(caller: Caller) -> None:
    bob = log_in(caller, "bob")
    (target,) = bob("GET", "/account").body["targets"]
    assert bob("DELETE", f"/account/targets/{target['$id']}/push").type == "user_target_not_found"


def test_devices_leave_with_their_session(caller: Caller) -> None:
    bob = log_in(caller, "bob")
    caller.create_topic("news")
    bob.post(TARGETS, {"targetId": "phone", "identifier": "token"})
    caller.subscribe("news", "phone")
    assert bob("DELETE", "/account/sessions/current").status == 204
    assert caller.get("/users/bob/targets/phone").status == 404
    assert caller.get("/messaging/topics/news").body["pushTotal"] == 0


# Rate limits


def test_failed_logins_are_counted_by_address_until_one_succeeds(caller: Caller) -> None:
    sign_up(caller)
    wrong = {**LOGIN, "password": "engine-no-2"}
    for left in (9, 8):
        answer = as_guest(caller, "POST", "/account/sessions/email", json=wrong)
        assert answer.headers["x-ratelimit-remaining"] == str(left)
    assert begin_session(caller).headers["x-ratelimit-limit"] == "10"
    for _ in range(10):
        assert as_guest(caller, "POST", "/account/sessions/email", json=wrong).status == 401
    answer = as_guest(caller, "POST", "/account/sessions/email", json=wrong)
    assert answer.refusal == (429, "general_rate_limit_exceeded")
    assert answer.headers["x-ratelimit-remaining"] == "0"
    assert int(answer.headers["x-ratelimit-reset"]) % 3600 == 0
    other = {**wrong, "email": "eve@example.com"}
    assert as_guest(caller, "POST", "/account/sessions/email", json=other).status == 401


def test_sign_ups_are_counted_by_caller_but_not_those_of_keys(caller: Caller) -> None:
    for _ in range(10):
        assert as_guest(caller, "POST", "/account", json={}).status == 400, "counted before it is judged"
    assert as_guest(caller, "POST", "/account", json={}).status == 429


def test_limits_can_be_switched_off(api_settings: Settings) -> None:
    with run_api(api_settings.model_copy(update={"rate_limits": False})) as api:
        caller = make_caller(api)
        for _ in range(11):
            answer = as_guest(caller, "POST", "/account", json={})
        assert (answer.status, answer.headers["x-ratelimit-remaining"]) == (400, "9")
        caller.session.close()


def test_a_long_user_agent_is_cut_before_it_is_kept(caller: Caller) -> None:
    sign_up(caller)
    session = begin_session(caller, headers={"User-Agent": "Android " * 7_000 + "; " + " Build/" * 1_000})
    assert session.status == 201
    lengths = "SELECT length(user_agent) FROM user_sessions WHERE project_seq = %(project)s"
    assert caller.rows(lengths) == [(512,)]
