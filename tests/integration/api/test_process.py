"""`python -m api` as an operator sees it: one clear line when it cannot start, a clean stop on TERM."""

import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest
import requests

from shared.settings import Settings
from tests.factories import Factory
from tests.integration.api.api_process import environment_of, serving
from tests.processes import wait_until


@pytest.fixture
def environment(settings: Settings) -> dict[str, str]:
    return environment_of(settings)


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


def test_it_serves_until_a_term_and_leaves_with_0(environment: dict[str, str]) -> None:
    with serving(environment) as api:
        assert requests.get(f"{api.address}/live", timeout=10).text == "live"
        api.stop()


def test_a_term_turns_nobody_away_while_it_drains(environment: dict[str, str]) -> None:
    """Callers on new connections all the time, from before the TERM until the port is closed."""
    answers: list[str] = []
    with serving(environment | {"TIDINGS_DRAIN_SECONDS": "1"}) as api:

        def call_on() -> None:
            while True:
                try:
                    with socket.create_connection(("127.0.0.1", api.port), timeout=10) as connection:
                        connection.sendall(b"GET /live HTTP/1.1\r\nHost: t\r\n\r\n")
                        answers.append(connection.recv(65536).decode() or "closed")
                except ConnectionRefusedError:
                    return
                except ConnectionResetError:
                    answers.append("reset")

        callers = [threading.Thread(target=call_on) for _ in range(8)]
        for caller in callers:
            caller.start()
        wait_until(lambda: len(answers) > 20)
        api.process.send_signal(signal.SIGTERM)
        wait_until(lambda: requests.get(f"{api.address}/ready", timeout=10).status_code == 503)
        after = len(answers)
        with socket.create_connection(("127.0.0.1", api.port), timeout=10) as late:  # and asks when nobody can any more
            for caller in callers:
                caller.join()
            late.sendall(b"GET /live HTTP/1.1\r\nHost: t\r\n\r\n")
            answers.append(late.recv(65536).decode() or "closed")
        assert api.process.wait() == 0
    assert len(answers) > after + 20
    assert {answer.partition("\r\n")[0] for answer in answers} == {"HTTP/1.1 200 OK"}
    assert all("connection: close" in answer for answer in answers[after + len(callers) :])


def test_logs_and_metrics_tell_ids_but_no_contents(environment: dict[str, str], settings: Settings) -> None:
    """Canaries in every kind of thing that must not leak, accepted, refused and failing in the middle."""
    factory = Factory(settings)
    headers = {"X-Appwrite-Project": factory.project_id, "X-Appwrite-Key": factory.key}
    with serving(environment | {"TIDINGS_LOG_LEVEL": "debug"}) as api, requests.Session() as session:

        def post(path: str, body: object) -> int:
            return session.post(f"{api.address}/v1{path}", json=body, headers=headers, timeout=10).status_code

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
        metrics = session.get(f"{api.address}/metrics", timeout=10).text
        written = api.stop()
    assert factory.project_id in written
    assert "request.failed" in written
    for text in (written, metrics):
        assert "canary" not in text
        assert factory.key not in text
