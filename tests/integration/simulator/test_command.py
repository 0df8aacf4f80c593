"""`python -m shared.simulator` as others start it."""

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.integration.simulator.clients import FcmClient, http

USAGE = 2
START_SECONDS = 20
FREE_PORTS = tuple(
    word for name in ("smtp", "smtps", "fcm", "apns", "https", "http") for word in (f"--{name}-port", "0")
)


def command(directory: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "shared.simulator", "--dir", str(directory), *FREE_PORTS, *arguments]


@contextmanager
def running(directory: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen[bytes], dict[str, Any]]]:
    """The process, and its simulator.json once it is there. Killed at the end if it still runs."""
    with subprocess.Popen(command(directory, *arguments), stderr=subprocess.PIPE) as process:
        try:
            yield process, wait_until_ready(directory / "simulator.json", process)
        finally:
            process.kill()


def wait_until_ready(ready_file: Path, process: subprocess.Popen[bytes]) -> dict[str, Any]:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        assert process.poll() is None, process.stderr.read() if process.stderr else ""
        ready: dict[str, Any] = json.loads(ready_file.read_bytes()) if ready_file.exists() else {}
        if ready.get("pid") == process.pid:  # not one left by a kill
            return ready
        time.sleep(0.02)
    raise AssertionError("The simulator is not ready in time.")


def send(ready: dict[str, Any], *tokens: str) -> list[int]:
    client = FcmClient(ready["fcm"], Path(ready["ca_file"]))
    account = http("GET", f"{ready['http']}/service-account?project=demo").json
    client.authorize(account)
    return [client.send({"token": token}).status for token in tokens]


def recipients(directory: Path) -> list[str]:
    return [json.loads(line)["recipient"] for line in (directory / "record.jsonl").read_bytes().splitlines()]


def test_a_terminated_simulator_stops_cleanly_and_a_new_one_appends(tmp_path: Path) -> None:
    with running(tmp_path) as (process, ready):
        assert send(ready, "one", "dead-1") == [200, 404]
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
        assert not (tmp_path / "simulator.json").exists()

    with running(tmp_path, "--faults", '{"fcm": {"throttle_rate": 1}}') as (_, ready):
        assert send(ready, "two") == [429]
        http("PUT", f"{ready['http']}/faults", body=b'{"fcm": {}}')
        assert send(ready, "two") == [200]

    assert recipients(tmp_path) == ["one", "two"]


def test_what_was_answered_survives_a_kill(tmp_path: Path) -> None:
    with running(tmp_path) as (process, ready):
        assert send(ready, "one", "two") == [200, 200]
        process.kill()
        process.wait()
        assert recipients(tmp_path) == ["one", "two"]

    with running(tmp_path) as (_, ready):
        assert send(ready, "three") == [200]
        assert http("GET", f"{ready['http']}/stats").json["last"] == 3


def test_a_port_in_use_is_named_and_leaves_nothing_behind(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = subprocess.run(
            command(tmp_path, "--fcm-port", str(port)), capture_output=True, check=False, timeout=START_SECONDS
        )

    assert done.returncode == USAGE
    assert f"Port {port} on 127.0.0.1 is in use." in done.stderr.decode()
    assert "Traceback" not in done.stderr.decode()
    assert not (tmp_path / "simulator.json").exists()


def test_wrong_faults_stop_the_start(tmp_path: Path) -> None:
    for faults, complaint in (('{"fax": {}}', "fax"), ("{", "--faults cannot be read"), ("@/no/such/file", "cannot")):
        done = subprocess.run(
            command(tmp_path, "--faults", faults), capture_output=True, check=False, timeout=START_SECONDS
        )
        assert done.returncode == USAGE
        assert complaint in done.stderr.decode()
        assert "Traceback" not in done.stderr.decode()


def test_a_start_that_cannot_be_says_why_in_a_line_or_two(tmp_path: Path) -> None:
    file, spoiled = tmp_path / "file", tmp_path / "spoiled"
    file.touch()
    spoiled.mkdir()
    (spoiled / "record.jsonl").write_text("not a line of ours\n")
    for arguments, complaint in (
        (command(file), f"The directory {file} cannot be used"),
        (command(spoiled), "record.jsonl holds a line that is no record, at byte 0"),
        (command(tmp_path / "new", "--smtp-port", "99999"), "99999 is no port"),
        (command(tmp_path / "new", "--smtp-port", "smtp"), "smtp is no port"),
    ):
        done = subprocess.run(arguments, capture_output=True, check=False, timeout=START_SECONDS)
        said = done.stderr.decode()
        assert (done.returncode, "Traceback" in said) == (USAGE, False), said
        assert complaint in said
