"""What bad input gets: one clear line, what to do about it, the right exit code, and nothing left running."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.embedded import DataDirectory, EmbeddedPostgres, choose_port
from shared.cli.connection import write_environment
from shared.settings import Settings
from tests.factories import Factory
from tests.integration.cli.conftest import Finished, Tidings

FAILED, USAGE, NOT_REACHABLE = 1, 2, 4


def assert_said(finished: Finished, status: int, *words: str) -> None:
    """One line that names the fault, one that helps; no traceback."""
    assert finished.status == status
    error, hint = finished.stderr.strip().splitlines()[-2:]
    assert error.startswith("Error: ")
    assert hint.startswith("Hint: ")
    assert all(word in error for word in words), error
    assert "Traceback" not in finished.stderr


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_a_wrong_setting_is_named(tidings: Tidings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDINGS_WINDOW", "many")
    assert_said(tidings("migrate"), USAGE, "TIDINGS_WINDOW", "valid integer")


def test_no_database(tidings: Tidings) -> None:
    assert_said(tidings("migrate"), USAGE, "TIDINGS_DATABASE_URL is not set")


@pytest.mark.parametrize("url", ["mysql://127.0.0.1/tidings", "tidings.db"])
def test_a_database_that_is_no_postgres(tidings: Tidings, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("TIDINGS_DATABASE_URL", url)
    assert_said(tidings("migrate"), USAGE, "TIDINGS_DATABASE_URL names no Postgres database")


@pytest.mark.parametrize("command", ["migrate", "project list", "doctor", "up", "config"])
@pytest.mark.parametrize(
    ("name", "address"),
    [
        ("DATABASE", "postgresql://tidings:hu/sh@127.0.0.1/tidings"),
        ("DATABASE", "postgresql://[::1/tidings"),
        ("BROKER", "redis://:hu/sh@127.0.0.1:6379/0"),
        ("BROKER", "redis://127.0.0.1:99999/0"),
    ],
)
def test_an_address_whose_parts_run_into_each_other(
    tidings: Tidings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *, command: str, name: str, address: str
) -> None:
    monkeypatch.setenv(f"TIDINGS_{name}_URL", address)
    finished = tidings(*command.split())
    assert_said(finished, USAGE, f"TIDINGS_{name}_URL cannot be read")
    assert "hu/sh" not in finished.stdout + finished.stderr
    assert list(tmp_path.iterdir()) == []


def test_what_up_left_is_spoiled(tidings: Tidings, tmp_path: Path) -> None:
    (tmp_path / ".tidings").mkdir()
    (tmp_path / ".tidings" / "environment.json").write_text("{")
    assert_said(tidings("project", "list"), USAGE, "environment.json cannot be used")


def test_what_up_left_when_it_was_killed(tidings: Tidings, tmp_path: Path) -> None:
    (tmp_path / ".tidings").mkdir()
    url = f"postgresql://tidings:hush@127.0.0.1:{choose_port()}/tidings"
    write_environment(tmp_path / ".tidings", {"TIDINGS_DATABASE_URL": url})
    finished = tidings("project", "list")
    assert_said(finished, NOT_REACHABLE, "Connection refused")
    assert "tidings up" in finished.stderr


@pytest.mark.parametrize("command", ["migrate", "project list", "key list", "up", "demo"])
def test_a_database_that_does_not_answer(
    tidings: Tidings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, command: str
) -> None:
    port = choose_port()
    monkeypatch.setenv("TIDINGS_DATABASE_URL", f"postgresql://tidings:hush@127.0.0.1:{port}/tidings")
    finished = tidings(*command.split())
    assert_said(finished, NOT_REACHABLE, f"Postgres at 127.0.0.1:{port}", "Connection refused")
    assert "hush" not in finished.stderr
    assert [path for path in tmp_path.rglob("*") if path.name != ".tidings"] == []


def test_a_database_that_refuses_the_password(
    tidings: Tidings, installation: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = installation.require_database_url().rpartition("@")[2]
    monkeypatch.setenv("TIDINGS_DATABASE_URL", f"postgresql://tidings:guess@{address}")
    assert_said(tidings("project", "list"), NOT_REACHABLE, "password authentication failed")


def test_a_database_that_was_never_migrated(
    tidings: Tidings, empty_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TIDINGS_DATABASE_URL", empty_database_url)
    finished = tidings("project", "list")
    assert_said(finished, USAGE, "does not fit this version")
    assert "tidings migrate" in finished.stderr


def test_a_database_where_somebody_holds_what_is_needed(tidings: Tidings, installation: Settings) -> None:
    with Factory(installation).connect() as other, other.transaction():
        other.execute("LOCK TABLE projects")
        finished = tidings("project", "list")
    assert_said(finished, FAILED, "gave up waiting", "lock timeout")
    assert "try again" in finished.stderr


@pytest.mark.parametrize("scheme", ["redis", "amqp"])
def test_a_broker_that_does_not_answer(
    tidings: Tidings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, scheme: str
) -> None:
    port = choose_port()
    monkeypatch.setenv("TIDINGS_BROKER_URL", f"{scheme}://user:hush@127.0.0.1:{port}/0")
    finished = tidings("up")
    assert_said(finished, NOT_REACHABLE, f"broker at 127.0.0.1:{port}", "Connection refused")
    assert "hush" not in finished.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_broker_of_a_kind_we_cannot_use(tidings: Tidings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDINGS_BROKER_URL", "kafka://127.0.0.1")
    assert_said(tidings("up"), USAGE, "TIDINGS_BROKER_URL names no broker")


def test_a_port_in_use_is_noticed_before_anything_starts(tidings: Tidings, tmp_path: Path, taken_port: int) -> None:
    assert_said(tidings("up", "--port", str(taken_port)), USAGE, f"Port {taken_port} of 127.0.0.1 is in use")
    assert list(tmp_path.iterdir()) == []


def test_a_data_directory_in_use(tidings: Tidings, tmp_path: Path) -> None:
    with DataDirectory(tmp_path / ".tidings"):
        assert_said(tidings("up", "--port", "0"), FAILED, "in use by another Tidings process")


def test_a_data_directory_of_another_version(tidings: Tidings, tmp_path: Path) -> None:
    with DataDirectory(tmp_path / ".tidings") as directory, EmbeddedPostgres(directory):
        (directory.home.path / "postgres" / "PG_VERSION").write_text("16\n")
    assert_said(tidings("up", "--port", "0"), FAILED, "made by Postgres 16")
    with directory:
        directory.remove()


def test_a_data_directory_that_is_a_file(tidings: Tidings, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    assert_said(tidings("up", "--port", "0", "--data-dir", "notes.txt"), FAILED, "notes.txt: File exists")


@pytest.mark.parametrize("arguments", [["fly"], ["up", "--workers", "none"], ["project", "create"]])
def test_a_command_line_that_means_nothing(tidings: Tidings, arguments: list[str]) -> None:
    finished = tidings(*arguments)
    assert finished.status == USAGE
    assert "Usage" in finished.stderr
