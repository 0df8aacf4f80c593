"""`python -m api` as an operator sees it: one clear line when it cannot start, a clean stop on TERM."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest
import requests

from shared.settings import Settings


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
    (line,) = [line for line in ended.stderr.splitlines() if not line.startswith("{")]
    assert ended.returncode == 1
    assert f"port {occupied_port}: Address already in use" in line
    assert "TIDINGS_PORT" in line


def test_a_database_out_of_reach(environment: dict[str, str]) -> None:
    ended = run(environment | {"TIDINGS_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none"})
    (line,) = [line for line in ended.stderr.splitlines() if not line.startswith("{")]
    assert ended.returncode == 4
    assert "The database does not answer." in line
    assert "TIDINGS_DATABASE_URL" in line


def test_an_empty_database(environment: dict[str, str], empty_database_url: str) -> None:
    ended = run(environment | {"TIDINGS_DATABASE_URL": empty_database_url})
    assert ended.returncode == 1
    assert "tidings migrate" in ended.stderr


def test_it_serves_until_a_term_and_leaves_with_0(environment: dict[str, str]) -> None:
    with subprocess.Popen([sys.executable, "-m", "api"], env=environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if listening := re.search(r'"port": (\d+).*api\.listening', line):
                break
        assert listening is not None
        assert requests.get(f"http://127.0.0.1:{listening[1]}/live", timeout=10).text == "live"
        process.send_signal(signal.SIGTERM)
        process.stderr.read()
        assert process.wait() == 0
