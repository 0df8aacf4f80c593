"""Roles that cannot start: a line that says why, one that says what to do about it, and the exit code of a command."""

import json
import os
import subprocess
import sys

import pytest
import requests

from deploy.embedded import choose_port, choose_ports
from shared.settings import Settings
from tests.processes import wait_until

USAGE, NOT_REACHABLE = 2, 4


@pytest.fixture
def environment(installation: Settings) -> dict[str, str]:  # which sets the variables
    return dict(os.environ)


def assert_refuses(role: str, environment: dict[str, str], status: int, *words: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-P", "-m", role], env=environment, capture_output=True, text=True, timeout=30, check=False
    )
    error, hint = (line for line in ended.stderr.splitlines() if not line.startswith("{"))
    assert ended.returncode == status
    assert error.startswith("Error: ")
    assert hint.startswith("Hint:  ")
    assert all(word in error + hint for word in words), ended.stderr
    assert "hush" not in ended.stderr


@pytest.mark.parametrize("role", ["api", "workers", "scheduler"])
def test_a_database_that_does_not_answer(role: str, environment: dict[str, str]) -> None:
    port = choose_port()
    environment["TIDINGS_DATABASE_URL"] = f"postgresql://tidings:hush@127.0.0.1:{port}/tidings"
    assert_refuses(role, environment, NOT_REACHABLE, f"Postgres at 127.0.0.1:{port}", "refused", "TIDINGS_DATABASE_URL")


@pytest.mark.parametrize("role", ["api", "workers", "scheduler"])
def test_a_database_that_was_never_migrated(role: str, environment: dict[str, str], empty_database_url: str) -> None:
    environment["TIDINGS_DATABASE_URL"] = empty_database_url
    assert_refuses(role, environment, USAGE, "holds no Tidings tables", "tidings migrate")


def test_a_worker_starts_without_its_broker_and_says_so(environment: dict[str, str]) -> None:
    port, observed_port = choose_ports(2)
    environment["TIDINGS_BROKER_URL"] = f"redis://:hush@127.0.0.1:{port}/0"
    environment["TIDINGS_METRICS_PORT"] = str(observed_port)
    command = [sys.executable, "-P", "-m", "workers", "--concurrency=1"]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as worker:
        try:
            assert worker.stderr is not None
            lines = [json.loads(worker.stderr.readline())]
            while "Cannot connect to redis" not in lines[-1]["event"]:
                lines.append(json.loads(worker.stderr.readline()))
            wait_until(lambda: _status(f"http://127.0.0.1:{observed_port}/live") == 200)
            assert _status(f"http://127.0.0.1:{observed_port}/ready") == 503
            worker.terminate()
            lines.extend(json.loads(line) for line in worker.stderr)
        finally:
            worker.kill()
    assert worker.returncode == 0
    (without,) = (line for line in lines if line["event"] == "the worker starts without its broker")
    assert f"broker at 127.0.0.1:{port}" in without["error"]
    assert "hush" not in str(lines)


def _status(url: str) -> int:
    try:
        return requests.get(url, timeout=5).status_code
    except requests.ConnectionError:
        return 0


@pytest.mark.parametrize("role", ["api", "workers", "scheduler", "shared.simulator"])
def test_a_wrong_setting(role: str, environment: dict[str, str]) -> None:
    environment["TIDINGS_WINDOW"] = "many"
    assert_refuses(role, environment, USAGE, "TIDINGS_WINDOW", "tidings config")
