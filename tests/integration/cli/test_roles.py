"""Roles that cannot start: a line that says why, one that says what to do about it, and the exit code of a command."""

import os
import subprocess
import sys

import pytest

from deploy.embedded import choose_port
from shared.settings import Settings

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


def test_a_worker_whose_broker_does_not_answer(environment: dict[str, str]) -> None:
    port = choose_port()
    environment["TIDINGS_BROKER_URL"] = f"redis://:hush@127.0.0.1:{port}/0"
    assert_refuses("workers", environment, NOT_REACHABLE, f"broker at 127.0.0.1:{port}", "TIDINGS_BROKER_URL")


@pytest.mark.parametrize("role", ["api", "workers", "scheduler", "shared.simulator"])
def test_a_wrong_setting(role: str, environment: dict[str, str]) -> None:
    environment["TIDINGS_WINDOW"] = "many"
    assert_refuses(role, environment, USAGE, "TIDINGS_WINDOW", "tidings config")
