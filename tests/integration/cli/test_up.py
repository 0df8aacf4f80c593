"""`tidings up` as people use it: started, left alone, interrupted, killed, started again."""

import http.client
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from urllib.parse import urlsplit

import pytest

from deploy.embedded import DataDirectory
from shared.cli.connection import Connection
from shared.cli.first_message import with_sdk
from shared.cli.system import System
from tests.directories import new_directory
from tests.integration.cli.conftest import Tidings
from tests.processes import descendants, is_alive, wait_until

BROKERS = {"redis-server", "valkey-server"}  # the first up to Python 3.12

RUN = "from shared.cli.main import run; run()"

Answer = dict[str, str]


@pytest.fixture
def path() -> Iterator[Path]:
    path = new_directory()
    yield path
    with DataDirectory(path) as directory:
        directory.remove()


@contextmanager
def up(path: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", RUN, "up", "--json", "--port=0", "--workers=2", f"--data-dir={path}", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def await_connection(process: subprocess.Popen[str]) -> Answer:
    """What it prints once everything runs."""
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if line == "}\n":
            found: Answer = json.loads("".join(lines))
            return found
    assert process.stderr is not None
    pytest.fail(process.stderr.read())


def ask(connection: Answer, path: str) -> int:
    address = urlsplit(connection["endpoint"])
    client = http.client.HTTPConnection(address.netloc, timeout=10)
    client.request(
        "GET",
        f"{address.path}{path}",
        headers={"X-Appwrite-Project": connection["project"], "X-Appwrite-Key": connection["key"]},
    )
    status = client.getresponse().status
    client.close()
    return status


def none_alive(processes: list[int]) -> Callable[[], bool]:
    return lambda: not any(is_alive(process) for process in processes)


def test_everything_runs_goes_on_after_a_kill_replaces_what_dies_and_stops(path: Path, tidings: Tidings) -> None:
    with up(path) as process:
        connection = await_connection(process)
        assert set(connection) == {"endpoint", "project", "key", "console"}
        assert json.loads((path / "connection.json").read_text()) == connection
        for private in ("connection.json", "environment.json", "secret.key", "logs/api.log"):
            assert (path / private).stat().st_mode & 0o077 == 0, private
        assert ask(connection, "/messaging/messages") == 200

        # a command beside it finds its servers
        doctor = tidings("doctor", "--json", "--data-dir", str(path))
        assert doctor.status == 0, doctor.stdout

        # the first message, as it is printed
        subprocess.run([sys.executable, "-c", with_sdk(Connection(**connection))], check=True)
        wait_until(lambda: "bob@example.org" in (path / "simulator" / "record.jsonl").read_text())

        everybody = descendants(process.pid)
        process.kill()
        process.wait()
        wait_until(none_alive(everybody))

    with up(path, "--no-simulator") as process:
        again = await_connection(process)
        assert (again["project"], again["key"]) == (connection["project"], connection["key"])
        assert ask(again, "/messaging/messages") == 200

        before = set(descendants(process.pid))
        redis = next(each for each in before if name_of(each) in BROKERS)
        worker = next(each for each in before if "workers" in command_of(each) and os.getpgid(each) == each)
        os.kill(redis, signal.SIGKILL)
        os.killpg(worker, signal.SIGKILL)
        wait_until(lambda: any(name_of(each) in BROKERS for each in set(descendants(process.pid)) - before))
        wait_until(lambda: any("workers" in command_of(each) for each in set(descendants(process.pid)) - before))

        everybody = descendants(process.pid)
        process.send_signal(signal.SIGINT)
        _, progress = process.communicate(timeout=60)

    assert process.returncode == 0, progress
    assert "Redis is gone; it starts again." in progress
    assert "was ended by SIGKILL; it starts again in 0.5 s." in progress
    assert progress.endswith("Everything is stopped.\n")
    assert "did not stop in time" not in progress
    assert none_alive(everybody)()
    assert not (path / "environment.json").exists()


def test_an_interrupted_start_stops_what_it_started(path: Path) -> None:
    with up(path) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("Starting the API"):
                break
        wait_until(lambda: len(descendants(process.pid)) > 5)
        everybody = descendants(process.pid)
        process.send_signal(signal.SIGINT)
        process.stderr.read()
        assert process.wait(60) == 0
    wait_until(none_alive(everybody))
    assert not (path / "connection.json").exists()


@pytest.mark.parametrize(("command", "status"), [("up", 0), ("demo", 1)])
def test_a_signal_before_anything_is_started(tidings: Tidings, tmp_path: Path, command: str, status: int) -> None:
    def interrupt(frame: FrameType, event: str, _argument: object) -> None:
        if event == "call" and frame.f_code is System.__init__.__code__:
            sys.setprofile(None)
            signal.raise_signal(signal.SIGINT)

    sys.setprofile(interrupt)
    finished = tidings(command)
    assert finished.status == status
    assert "Stopping" in finished.stderr
    assert [path for path in tmp_path.rglob("*") if path.name != ".tidings"] == []


def name_of(process: int) -> str:
    try:
        return Path(f"/proc/{process}/comm").read_text().strip()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def command_of(process: int) -> list[str]:
    try:
        return Path(f"/proc/{process}/cmdline").read_text().split("\0")
    except (FileNotFoundError, ProcessLookupError):
        return []
