"""Contract §17, and what operators ask: health, ping, liveness, readiness, metrics, documentation."""

import json
import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
import redis
import requests

from api.app import create_app
from api.operations import READY_WITHIN_SECONDS
from shared.db.pools import CONNECTIONS_PER_PROCESS
from shared.domain.queues import FAN_OUT_QUEUE
from shared.settings import Settings
from tests.conftest import Engines
from tests.integration.api.conftest import Caller, RunningApi, make_caller, run_api
from tests.openapi_document import CHECKED_IN
from tests.processes import wait_until


def fetch(running_api: RunningApi, path: str) -> requests.Response:
    return requests.get(f"{running_api.address}{path}", timeout=10)


def test_health(caller: Caller) -> None:
    body = caller.get("/health").body
    assert (body["name"], body["status"]) == ("http", "pass")
    assert isinstance(body["ping"], int)


def test_version_is_public_and_also_in_errors(caller: Caller) -> None:
    nobody = {"X-Appwrite-Project": None, "X-Appwrite-Key": None}
    version = caller.get("/health/version", headers=nobody).body["version"]
    assert caller.get("/messaging/topics/missing").body["version"] == version


def test_the_queue_is_what_waits(caller: Caller) -> None:
    before = caller.get("/health/queue/messaging").body["size"]
    caller.create_push(users=["ada"])
    assert caller.get("/health/queue/messaging").body == {"size": before + 1}
    full = caller.get("/health/queue/messaging", params={"threshold": before + 1})
    assert full.refusal == (503, "health_queue_size_exceeded")
    assert caller.get("/health/queue/messaging", params={"threshold": "many"}).status == 400


def test_ping_needs_a_project_and_nothing_else(caller: Caller) -> None:
    guest = {"X-Appwrite-Key": None}
    answer = caller.get("/ping", headers=guest)
    assert (answer.status, answer.body) == (200, b"Pong!")
    assert answer.headers["content-type"].startswith("text/plain")
    for project in (None, "console", "missing"):
        answer = caller.get("/ping", headers=guest | {"X-Appwrite-Project": project})
        assert answer.refusal == (404, "project_not_found")


def test_live_and_ready(running_api: RunningApi) -> None:
    for path in ("/live", "/ready"):
        assert fetch(running_api, path).status_code == 200


def test_metrics_count_requests_and_accepted_messages(caller: Caller, running_api: RunningApi) -> None:
    caller.create_push(users=["ada"])
    text = fetch(running_api, "/metrics").text
    assert 'tidings_api_request_seconds_count{method="POST",route="/v1/messaging/messages/push",status="201"}' in text
    assert 'tidings_messages_accepted_total{channel="push",status="processing"}' in text
    assert caller.project_id not in text


def test_a_ring_follows_an_accepted_message(caller: Caller, running_api: RunningApi) -> None:
    with redis.Redis.from_url(running_api.settings.require_broker_url()) as broker:
        broker.delete(FAN_OUT_QUEUE)
        caller.create_push(users=["ada"], draft=True)
        caller.create_push(users=["ada"])
        wait_until(lambda: int(broker.llen(FAN_OUT_QUEUE)) == 1)


# Documentation


def test_the_served_description_is_the_one_checked_in(running_api: RunningApi) -> None:
    assert fetch(running_api, "/openapi.json").json() == json.loads(CHECKED_IN.read_text())


def test_wire_names_in_the_description_are_those_of_the_contract(running_api: RunningApi) -> None:
    schemas = fetch(running_api, "/openapi.json").json()["components"]["schemas"]
    assert {"autoTLS", "fromEmail", "replyToName"} <= set(schemas["SmtpCreate"]["properties"])
    assert "serviceAccountJSON" in schemas["FcmCreate"]["properties"]
    assert {"$id", "$createdAt", "deliveredTotal"} <= set(schemas["MessageModel"]["required"])
    assert schemas["EmailCreate"]["required"] == ["messageId", "subject", "content"]


def test_the_page_loads_nothing_from_elsewhere(running_api: RunningApi) -> None:
    page = fetch(running_api, "/docs")
    assert page.headers["content-type"].startswith("text/html")
    assert "/openapi.json" in page.text
    assert "://" not in page.text


# Trouble


@pytest.fixture
def own_api(
    engines: Engines, database_url: str, api_settings: Settings
) -> Iterator[tuple[RunningApi, Callable[[bool], None]]]:
    """An API with a database of its own, and how to shut that database."""
    own = {"database_url": database_url, "key_cache_seconds": 60}
    name = database_url.rpartition("/")[2].partition("?")[0]

    def allow(is_allowed: bool) -> None:  # noqa: FBT001  # says what it is in its name
        with psycopg.connect(engines.postgres.url_of("postgres"), autocommit=True) as connection:
            connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS {is_allowed}".encode())
            connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])

    with run_api(api_settings.model_copy(update=own)) as api:
        yield api, allow


def test_without_its_database_it_says_so_and_recovers(
    own_api: tuple[RunningApi, Callable[[bool], None]],
) -> None:
    api, allow = own_api
    caller = make_caller(api)
    assert caller.get("/messaging/topics").status == 200  # key and connections are remembered
    allow(False)
    refused = [caller.get("/messaging/topics"), caller.post("/messaging/messages/push", PUSH), caller.get("/health")]
    for answer in refused:
        assert answer.refusal == (503, "general_database_unavailable")
        assert int(answer.headers["retry-after"]) > 0
    assert fetch(api, "/ready").status_code == 503
    assert fetch(api, "/live").status_code == 200
    allow(True)
    wait_until(lambda: fetch(api, "/ready").status_code == 200)
    wait_until(lambda: caller.get("/messaging/topics").status == 200)
    assert caller.post("/messaging/messages/push", PUSH).status == 201
    caller.session.close()


def test_what_takes_the_database_too_long_is_told_from_its_absence(
    api_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.db.session.STATEMENT_TIMEOUT_MS", 500)
    with run_api(api_settings) as api:
        caller = make_caller(api)
        caller.create_topic("news")
        with caller.factory.connect() as connection, connection.transaction():
            connection.execute("SELECT FROM topics WHERE project_seq = %s FOR UPDATE", [caller.factory.project_seq])
            answer = caller.patch("/messaging/topics/news", {"name": "New"})
        assert answer.refusal == (503, "general_database_unavailable")
        assert answer.body["message"] == "The database took too long. Try again, or ask for less at once."
        caller.session.close()


@contextmanager
def standing_still(engines: Engines, database_url: str) -> Iterator[None]:
    """Every connection that there is to this database; new ones would be served."""
    with psycopg.connect(engines.postgres.url_of("postgres")) as connection:
        name = database_url.rpartition("/")[2].partition("?")[0]
        backends = connection.execute("SELECT pid FROM pg_stat_activity WHERE datname = %s", [name]).fetchall()
    for (backend,) in backends:
        os.kill(backend, signal.SIGSTOP)
    try:
        yield
    finally:
        for (backend,) in backends:
            os.kill(backend, signal.SIGCONT)


def test_a_database_that_stands_still_makes_nobody_wait(
    engines: Engines, database_url: str, api_settings: Settings
) -> None:
    with run_api(api_settings.model_copy(update={"database_url": database_url})) as api:
        assert fetch(api, "/ready").status_code == 200
        with standing_still(engines, database_url):
            stopped = requests.get(f"{api.address}/ready", timeout=3 * READY_WITHIN_SECONDS)
        assert stopped.status_code == 503
        wait_until(lambda: fetch(api, "/ready").status_code == 200)


def test_no_request_waits_for_a_database_that_stands_still(
    engines: Engines, database_url: str, api_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not for the whole of its patience: on a kept connection, in a transaction, in an upload; and none is lost."""
    with run_api(api_settings.model_copy(update={"database_url": database_url, "key_cache_seconds": 60})) as api:
        caller = make_caller(api)
        caller.create("/storage/buckets", {"bucketId": "b", "name": "B"})
        own = {"X-Appwrite-Project": caller.project_id, "X-Appwrite-Key": caller.key}

        def ask(method: str, path: str, **options: Any) -> requests.Response:
            return requests.request(method, f"{api.endpoint}{path}", headers=own, timeout=10, **options)

        def ask_all() -> list[requests.Response]:
            mail = {"messageId": "unique()", "subject": "S", "content": "C", "draft": True}
            form = {"fileId": (None, "unique()"), "file": ("f", b"content")}
            with ThreadPoolExecutor(4 * CONNECTIONS_PER_PROCESS["api"]) as pool:
                asked = [
                    pool.submit(ask, *request, **options)
                    for request, options in (
                        (("GET", "/health"), {}),
                        (("GET", "/users"), {}),
                        (("POST", "/messaging/messages/email"), {"json": mail}),
                        (("POST", "/storage/buckets/b/files"), {"files": form}),
                    )
                    for _ in range(CONNECTIONS_PER_PROCESS["api"])
                ]
            return [answer.result() for answer in asked]

        assert {answer.status_code for answer in ask_all()} == {200, 201}
        with standing_still(engines, database_url), monkeypatch.context() as patch:
            patch.setattr("api.kernel.WORK_SECONDS", 0.5)
            answers = ask_all()
        refused = [answer for answer in answers if answer.status_code == 503]
        assert refused
        for answer in refused:
            assert answer.json()["type"] == "general_database_unavailable"
            assert answer.headers["retry-after"] == "1"
        assert {answer.status_code for answer in answers} <= {200, 201, 503}
        assert {answer.status_code for answer in ask_all()} == {200, 201}
        assert "tidings_api_requests_overdue_total{" in fetch(api, "/metrics").text
        caller.session.close()


PUSH = {"messageId": "m", "title": "T", "users": ["ada"]}


def test_without_its_broker_it_accepts(database_url: str, api_settings: Settings) -> None:
    """Rings are lost, messages are not: the sweep finds them."""
    own = {"database_url": database_url, "broker_url": "redis://127.0.0.1:1/0"}
    with run_api(api_settings.model_copy(update=own)) as api:
        caller = make_caller(api)
        assert caller.post("/messaging/messages/push", PUSH).status == 201
        assert caller.rows("SELECT count(*) FROM fan_outs") == [(1,)]
        caller.session.close()


def test_a_fault_of_ours_is_told_to_nobody_outside(caller: Caller) -> None:
    """What cannot be decrypted is a fault of the installation: 500, without its text, with every header."""
    with caller.factory.connect() as connection:
        connection.execute(
            "INSERT INTO providers (project_seq, id, name, kind, channel, enabled, credentials_encrypted)"
            " VALUES (%s, 'p', 'P', 'fcm', 'push', true, 'gone.AAAA')",
            [caller.factory.project_seq],
        )
    answer = caller.get("/messaging/providers/p", headers={"Origin": "http://localhost"})
    assert answer.refusal == (500, "general_unknown")
    assert "gone" not in answer.body["message"]
    assert answer.headers["access-control-allow-origin"] == "http://localhost"
    assert answer.headers["cache-control"].startswith("no-cache")


def test_wiring_connects_to_nothing(api_settings: Settings) -> None:
    nowhere = {"database_url": "postgresql://nobody@127.0.0.1:1/none", "broker_url": "redis://127.0.0.1:1/0"}
    assert create_app(api_settings.model_copy(update=nowhere)).title == "Tidings"


@pytest.mark.parametrize(
    ("name", "threshold", "expected"),
    [
        ("v1-messaging", 5000, 200),
        ("v1-messaging", 1, 503),
        ("v1-mails", 1, 200),
        ("v1-mails", 0, 503),
        ("v2-messaging", 1, 400),
        ("messaging", 1, 400),
    ],
)
def test_failed_jobs(caller: Caller, name: str, threshold: int, expected: int) -> None:
    run = caller.rows(
        "INSERT INTO fan_outs (run, project_seq, message_seq, crashes, due_at)"
        " VALUES (1, %(project)s, 1, 1, 'infinity') ON CONFLICT DO NOTHING RETURNING run"
    )
    answer = caller.get(f"/health/queue/failed/{name}", params={"threshold": threshold})
    caller.rows("DELETE FROM fan_outs WHERE run = 1 RETURNING run")
    assert run == [(1,)]
    assert answer.status == expected
    assert expected != 503 or answer.type == "health_queue_size_exceeded"
