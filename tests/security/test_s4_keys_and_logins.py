"""S4: what stands between a stranger and an account: log-in windows, proxies, sessions, keys, JWTs, origins."""

import http.client
import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from api.limits import network_of
from shared.settings import Settings
from tests.integration.api.api_process import environment_of, serving
from tests.integration.api.conftest import Answer, Caller, RunningApi, make_caller, run_api
from tests.integration.api.logins import as_guest

PASSWORD, WRONG = "engine-no-1", "engine-no-2"
FULLWIDTH = {ord(letter): ord(letter) - ord("a") + 0xFF41 for letter in "abcdefghijklmnopqrstuvwxyz"}
LIMITED = (429, "general_rate_limit_exceeded")


def sign_up(caller: Caller, name: str = "victim") -> Answer:
    body = {"userId": name, "email": f"{name}@example.com", "password": PASSWORD}
    return caller.post("/users", body)  # by key: counted in no window


def log_in(caller: Caller, email: str, password: str, **headers: str) -> Answer:
    caller.session.cookies.clear()
    body = {"email": email, "password": password}
    answer = as_guest(caller, "POST", "/account/sessions/email", json=body, headers=headers)
    caller.session.cookies.clear()
    return answer


def ask_from(
    address: str, caller: Caller, method: str, path: str, body: object, **headers: str
) -> tuple[int, dict[str, Any]]:
    """From another client: all of 127.0.0.0/8 is ours."""
    where = urlsplit(caller.endpoint)
    connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=10, source_address=(address, 0))
    try:
        sent = {"X-Appwrite-Project": caller.project_id, "Content-Type": "application/json", **headers}
        connection.request(method, f"{where.path}{path}", json.dumps(body), sent)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read() or b"{}")
    finally:
        connection.close()


def log_in_from(address: str, caller: Caller, email: str, password: str) -> int:
    body = {"email": email, "password": password}
    return ask_from(address, caller, "POST", "/account/sessions/email", body)[0]


def lock(caller: Caller, email: str = "victim@example.com") -> None:
    for _ in range(10):
        assert log_in(caller, email, WRONG).status == 401
    assert log_in(caller, email, WRONG).refusal == LIMITED


# Windows


@pytest.mark.parametrize("host", ["h1.example", "127.0.0.1", "LOCALHOST:1", "["])
def test_no_other_host_opens_another_login_window(caller: Caller, host: str) -> None:
    sign_up(caller)
    lock(caller)
    assert log_in(caller, "victim@example.com", PASSWORD, Host=host).refusal == LIMITED


@pytest.mark.parametrize(
    "email",
    [
        "VICTIM@example.com",
        "victim@EXAMPLE.com",
        f"victim@{'example'.translate(FULLWIDTH)}.com",
        f"victim@exampl{'e'.translate(FULLWIDTH)}.com",
        "victim@example.com".replace(".", "\uff0e"),
        "victim@example.com".replace(".", "\u3002"),
    ],
)
def test_no_other_spelling_of_an_address_opens_another_login_window(caller: Caller, email: str) -> None:
    sign_up(caller)
    lock(caller)
    answer = log_in(caller, email, PASSWORD)
    assert answer.refusal in (LIMITED, (400, "general_argument_invalid")), "limited, or no address at all"
    assert "set-cookie" not in answer.headers


def test_one_client_that_tries_a_password_at_many_accounts_is_stopped(caller: Caller) -> None:
    answers = [log_in(caller, f"user-{number}@example.com", WRONG) for number in range(25)]
    assert [answer.status for answer in answers] == [401] * 20 + [429] * 5
    assert (answers[-1].headers["x-ratelimit-limit"], answers[-1].headers["x-ratelimit-remaining"]) == ("20", "0")


def test_ones_own_logins_do_not_give_back_what_failed_at_other_accounts(caller: Caller) -> None:
    sign_up(caller, "attacker")
    for number in range(20):
        assert log_in(caller, f"user-{number}@example.com", WRONG).status == 401
        if number % 5 == 0:
            assert log_in(caller, "attacker@example.com", PASSWORD).status == 201
    assert log_in(caller, "user-21@example.com", WRONG).refusal == LIMITED


def test_logins_that_succeed_are_not_counted(caller: Caller) -> None:
    sign_up(caller)
    for _ in range(25):
        assert log_in(caller, "victim@example.com", PASSWORD).status == 201


def test_an_attacker_elsewhere_does_not_lock_the_owner_out(caller: Caller) -> None:
    sign_up(caller)
    for _ in range(12):
        last = log_in_from("127.0.0.2", caller, "victim@example.com", WRONG)
    assert last == 429
    assert log_in_from("127.0.0.3", caller, "victim@example.com", PASSWORD) == 201


def test_many_clients_together_are_stopped_but_not_where_the_owner_has_logged_in(caller: Caller) -> None:
    sign_up(caller)
    assert log_in_from("127.0.0.3", caller, "victim@example.com", PASSWORD) == 201
    for number in range(100):
        assert log_in_from(f"127.0.1.{number // 10 + 1}", caller, "victim@example.com", WRONG) == 401
    assert log_in_from("127.0.1.200", caller, "victim@example.com", PASSWORD) == 429
    assert log_in_from("127.0.0.3", caller, "victim@example.com", WRONG) == 401, "the owner's own window goes on"
    assert log_in_from("127.0.0.3", caller, "victim@example.com", PASSWORD) == 201


@pytest.mark.parametrize(
    ("one", "other", "are_one"),
    [
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("fe80::1%eth0", "fe80::1%eth1", True),
        ("192.0.2.1", "192.0.2.2", False),
    ],
)
def test_a_client_has_one_window_however_many_addresses_its_network_has(one: str, other: str, *, are_one: bool) -> None:
    assert (network_of(one) == network_of(other)) is are_one


def test_no_other_host_opens_another_window_for_signing_up(caller: Caller) -> None:
    for number in range(10):
        headers = {"Host": f"h{number}.example"}
        assert as_guest(caller, "POST", "/account", json={}, headers=headers).status == 400
    assert as_guest(caller, "POST", "/account", json={}, headers={"Host": "new.example"}).status == 429


def test_no_other_range_opens_another_window_for_uploads(caller: Caller) -> None:
    """Of a file's chunks each has its window; what is no chunk of any file has one together."""
    path = "/storage/buckets/none/files"
    for number in range(60):
        headers = {"Content-Range": f"bytes {number}-{number}/{number + 1}" if number % 2 else f"x{number}"}
        assert as_guest(caller, "POST", path, headers=headers).status == 404
    for header in ("bytes 7-7/8", "other", "bytes 5242880000-5242880001/5242880002"):
        assert as_guest(caller, "POST", path, headers={"Content-Range": header}).status == 429
    assert as_guest(caller, "POST", path, headers={"Content-Range": "bytes 5242880-5242890/5242891"}).status == 404


# Proxies


def session_of(address: str, api: RunningApi, **headers: str) -> tuple[str, bool]:
    """The client that a session remembers, and whether its cookies are for https alone."""
    caller = make_caller(api)
    with caller.session:
        sign_up(caller)
        where = urlsplit(caller.endpoint)
        connection = http.client.HTTPConnection(
            where.hostname or "", where.port, timeout=10, source_address=(address, 0)
        )
        sent = {"X-Appwrite-Project": caller.project_id, "Content-Type": "application/json", **headers}
        body = json.dumps({"email": "victim@example.com", "password": PASSWORD})
        connection.request("POST", "/v1/account/sessions/email", body, sent)
        answer = connection.getresponse()
        cookies = answer.headers.get_all("set-cookie") or []
        session = json.loads(answer.read())
        connection.close()
    assert len(cookies) == 2
    secure = {"; Secure" in cookie for cookie in cookies}
    assert len(secure) == 1
    return session["ip"], secure == {True}


FORWARDED = {"X-Forwarded-For": "8.8.8.8", "X-Forwarded-Proto": "https"}


def test_nobody_is_believed_who_was_not_named(running_api: RunningApi) -> None:
    assert session_of("127.0.0.1", running_api, **FORWARDED) == ("127.0.0.1", False)
    text = requests.get(f"{running_api.address}/metrics", timeout=10).text
    (value,) = re.findall(r"^tidings_api_forwarded_untrusted_total (\S+)", text, re.MULTILINE)
    assert float(value) >= 1


def test_an_invented_client_address_opens_no_other_window(caller: Caller) -> None:
    sign_up(caller)
    lock(caller)
    headers = {"X-Forwarded-For": "8.8.4.4"}
    assert log_in(caller, "victim@example.com", PASSWORD, **headers).refusal == LIMITED


def test_the_log_says_once_that_a_header_came_from_somebody_untrusted(api_settings: Settings) -> None:
    with serving(environment_of(api_settings)) as process:
        for _ in range(3):
            requests.get(f"{process.address}/live", headers=FORWARDED, timeout=10)
        written = process.stop()
    assert written.count("proxies.untrusted") == 1
    assert "TIDINGS_TRUSTED_PROXIES" in written
    assert "8.8.8.8" not in written


@pytest.fixture(scope="module")
def behind_proxies(api_settings: Settings) -> Iterator[RunningApi]:
    with run_api(api_settings.model_copy(update={"trusted_proxies": "127.0.0.1, 127.7.0.0/16, fd00::/8"})) as api:
        yield api


@pytest.mark.parametrize(
    ("forwarded", "client"),
    [
        ("198.51.100.7", "198.51.100.7"),
        ("8.8.8.8, 198.51.100.7", "198.51.100.7"),  # what the client wrote itself stands first
        ("8.8.8.8, 198.51.100.7, 127.7.0.9", "198.51.100.7"),  # through two proxies of ours
        ("198.51.100.7:4711", "198.51.100.7"),
        ("[2001:db8::1]:4711, fd00::3", "2001:db8::1"),
        ("2001:DB8:0::1", "2001:db8::1"),
        ("::ffff:198.51.100.7", "198.51.100.7"),
        ("127.7.0.8, 127.7.0.9", "127.7.0.8"),
        ("8.8.8.8, unknown", "127.0.0.1"),
        ('8.8.8.8, evil"', "127.0.0.1"),
        ("8.8.8.8,", "127.0.0.1"),
        ("", "127.0.0.1"),
        ("8.8.8.8" + ", 127.7.0.1" * 3_000, "127.7.0.1"),  # no longer a way than is looked at
    ],
)
def test_the_client_is_the_last_address_that_no_trusted_proxy_has(
    behind_proxies: RunningApi, forwarded: str, client: str
) -> None:
    assert session_of("127.0.0.1", behind_proxies, **{"X-Forwarded-For": forwarded})[0] == client


def test_a_trusted_network_does_not_make_its_neighbours_trusted(behind_proxies: RunningApi) -> None:
    assert session_of("127.8.0.1", behind_proxies, **FORWARDED) == ("127.8.0.1", False)


@pytest.mark.parametrize(
    ("scheme", "is_secure"),
    [("https", True), ("HTTPS", True), ("http", False), ("http, https", True), ("https, http", False), ("ftp", False)],
)
def test_cookies_are_secure_where_the_trusted_proxy_was_called_by_https(
    behind_proxies: RunningApi, scheme: str, *, is_secure: bool
) -> None:
    assert session_of("127.7.0.1", behind_proxies, **{"X-Forwarded-Proto": scheme})[1] is is_secure


def test_clients_of_one_proxy_have_windows_of_their_own(behind_proxies: RunningApi) -> None:
    caller = make_caller(behind_proxies)
    with caller.session:
        for number in range(12):
            headers = {"X-Forwarded-For": f"2001:db8::{number}"}
            last = as_guest(caller, "POST", "/account", json={}, headers=headers)
        assert last.refusal == LIMITED, "they are one network"
        headers = {"X-Forwarded-For": "2001:db8:0:1::1"}
        assert as_guest(caller, "POST", "/account", json={}, headers=headers).status == 400


# Accounts and sessions


def set_sign_up(caller: Caller, *, is_open: bool) -> None:
    caller.rows("UPDATE projects SET sign_up = %(open)s WHERE seq = %(project)s RETURNING 1", open=is_open)


def set_sessions(caller: Caller, most: int) -> None:
    caller.rows("UPDATE projects SET sessions_limit = %(most)s WHERE seq = %(project)s RETURNING 1", most=most)


def test_a_closed_project_takes_no_guests_and_tells_nothing_of_its_users(caller: Caller) -> None:
    sign_up(caller)
    set_sign_up(caller, is_open=False)
    told = set()
    for name in ("victim", "stranger"):
        body = {"userId": "unique()", "email": f"{name}@example.com", "password": PASSWORD}
        answer = as_guest(caller, "POST", "/account", json=body)
        told.add((*answer.refusal, answer.body["message"]))
    assert len(told) == 1
    assert told.pop()[:2] == (501, "user_count_exceeded")
    assert sign_up(caller, "invited").status == 201
    assert log_in(caller, "victim@example.com", PASSWORD).status == 201
    set_sign_up(caller, is_open=True)
    body = {"userId": "unique()", "email": "stranger@example.com", "password": PASSWORD}
    assert as_guest(caller, "POST", "/account", json=body).status == 201


def test_with_a_session_too_many_the_oldest_ends(caller: Caller) -> None:
    sign_up(caller)
    set_sessions(caller, 3)
    secrets = [caller.create("/users/victim/sessions", {})["secret"] for _ in range(5)]
    status = [as_guest(caller, "GET", "/account", headers={"X-Appwrite-Session": each}).status for each in secrets]
    assert status == [401, 401, 200, 200, 200]
    assert log_in(caller, "victim@example.com", PASSWORD).status == 201
    assert as_guest(caller, "GET", "/account", headers={"X-Appwrite-Session": secrets[2]}).status == 401


def test_a_user_has_ten_sessions_at_most_where_nothing_is_said_however_many_begin_at_once(caller: Caller) -> None:
    sign_up(caller)
    with ThreadPoolExecutor(4) as pool:
        asked = [
            pool.submit(
                ask_from, "127.0.0.1", caller, "POST", "/users/victim/sessions", {}, **{"X-Appwrite-Key": caller.key}
            )
            for _ in range(24)
        ]
    assert {answer.result()[0] for answer in asked} == {201}
    living = "SELECT count(*) FROM user_sessions WHERE project_seq = %(project)s AND expires_at > now()"
    assert caller.rows(living) == [(10,)]


def test_a_jwt_ends_with_its_session(caller: Caller) -> None:
    sign_up(caller)
    set_sessions(caller, 1)
    session = caller.create("/users/victim/sessions", {})
    token = caller.create("/users/victim/jwts", {"sessionId": session["$id"]})["jwt"]
    assert as_guest(caller, "GET", "/account", headers={"X-Appwrite-JWT": token}).status == 200
    caller.create("/users/victim/sessions", {})
    assert as_guest(caller, "GET", "/account", headers={"X-Appwrite-JWT": token}).status == 401


# Which pages may call


@pytest.mark.parametrize(
    ("origin", "is_allowed"),
    [
        ("https://app.example.com", True),
        ("https://app.example.com:8443", True),
        ("HTTP://LocalHost:3000", True),
        ("http://[::1]:5173", True),
        ("https://exact.example.com:8443", True),
        ("https://exact.example.com", False),
        ("http://[::1].evil.com", False),
        ("http://127.0.0.1.evil.com", False),
        ("http://localhost@evil.com", False),
        ("http://evil.com\\localhost", False),
        ("http://evil.com/localhost", False),
        ("http://localhost:80:80", False),
        ("https://app.example.com.", False),
        ("ftp://app.example.com", False),
        ("null", False),
    ],
)
def test_a_page_may_call_where_its_origin_is_one_that_is_listed(
    caller: Caller, origin: str, *, is_allowed: bool
) -> None:
    answer = caller.get("/ping", headers={"X-Appwrite-Key": None, "Origin": origin})
    assert answer.headers.get("access-control-allow-origin") == (origin if is_allowed else None)
    assert (answer.status == 200) is is_allowed


def test_a_key_that_is_none_lets_no_foreign_page_in(caller: Caller) -> None:
    headers = {"X-Appwrite-Key": "other_scheme", "Origin": "https://evil.example"}
    assert caller.get("/ping", headers=headers).refusal == (403, "general_unknown_origin")
