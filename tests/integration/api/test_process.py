"""`python -m api` as an operator sees it: one clear line when it cannot start, a clean stop on TERM."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import requests

from shared.settings import Settings
from tests.factories import Factory


@pytest.fixture
def environment(settings: Settings) -> dict[str, str]:
    assert settings.secret_keys is not None
    return os.environ | {
        "TIDINGS_DATABASE_URL": settings.require_database_url(),
        "TIDINGS_BROKER_URL": settings.require_broker_url(),
        "TIDINGS_SECRET_KEYS": settings.secret_keys.get_secret_value(),
        "TIDINGS_PORT": "0",
    }


def run(environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "api"], env=environment, capture_output=True, text=True, timeout=30, check=False
    )


@pytest.fixture
def occupied_port() -> Iterator[int]:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield listening.getsockname()[1]


def test_a_port_in_use(environment: dict[str, str], occupied_port: int) -> None:
    ended = run(environment | {"TIDINGS_PORT": str(occupied_port)})
    error, hint = (line for line in ended.stderr.splitlines() if not line.startswith("{"))
    assert ended.returncode == 2
    assert f"port {occupied_port}: Address already in use" in error
    assert "TIDINGS_PORT" in hint


@contextmanager
def serving(environment: dict[str, str]) -> Iterator[tuple[str, Callable[[], str]]]:
    """The address it serves at, and how to stop it: what it wrote comes back."""
    with subprocess.Popen([sys.executable, "-m", "api"], env=environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if listening := re.search(r'"port": (\d+).*api\.listening', line):
                break
        assert listening is not None

        def stop() -> str:
            process.send_signal(signal.SIGTERM)
            assert process.stderr is not None
            written = process.stderr.read()
            assert process.wait() == 0
            return written

        yield f"http://127.0.0.1:{listening[1]}", stop


def test_it_serves_until_a_term_and_leaves_with_0(environment: dict[str, str]) -> None:
    with serving(environment) as (address, stop):
        assert requests.get(f"{address}/live", timeout=10).text == "live"
        stop()


def test_logs_and_metrics_tell_ids_but_no_contents(environment: dict[str, str], settings: Settings) -> None:
    """Canaries in every kind of thing that must not leak, accepted, refused and failing in the middle."""
    factory = Factory(settings)
    headers = {"X-Appwrite-Project": factory.project_id, "X-Appwrite-Key": factory.key}
    with serving(environment | {"TIDINGS_LOG_LEVEL": "debug"}) as (address, stop), requests.Session() as session:

        def post(path: str, body: object) -> int:
            return session.post(f"{address}/v1{path}", json=body, headers=headers, timeout=10).status_code

        user = {
            "userId": "ada",
            "email": "canary-address@example.com",
            "name": "canary-name",
            "password": "canary-word",
        }
        mail = {"messageId": "m", "subject": "canary-subject", "content": "canary-content", "users": ["ada"]}
        account = {"providerId": "p", "name": "P", "serviceAccountJSON": {"private_key": "canary-secret"}}
        for path, body in (
            ("/users", user),
            ("/messaging/messages/email", mail),
            ("/messaging/providers/fcm", account),
        ):
            assert post(path, body) == 201
            assert post(path, body) == 409
            assert post(path, {**body, "name": {"canary-nested": 1}, "subject": ["canary-list"]}) == 400
        with factory.connect() as connection:
            connection.execute("ALTER TABLE targets RENAME TO broken")
            assert post("/users", user | {"userId": "b", "email": "canary-other@example.com"}) == 500
            connection.execute("ALTER TABLE broken RENAME TO targets")
        metrics = session.get(f"{address}/metrics", timeout=10).text
        written = stop()
    assert factory.project_id in written
    assert "request.failed" in written
    for text in (written, metrics):
        assert "canary" not in text
        assert factory.key not in text
