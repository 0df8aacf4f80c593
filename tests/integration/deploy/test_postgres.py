"""The embedded Postgres: started anywhere, by anyone, after whatever happened."""

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from deploy.embedded import DataDirectory, EmbeddedPostgres, choose_port
from deploy.embedded.leftovers import server_processes
from deploy.embedded.postgres import ENVIRONMENT
from deploy.embedded.software import postgres_software
from shared.errors import EngineError
from tests.processes import is_alive, wait_until

QUICK = {"fsync": "off"}

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="about what root must do differently")

START_AND_WAIT = """
import sys, time
from pathlib import Path
from deploy.embedded import DataDirectory, EmbeddedPostgres, EmbeddedRedis
with DataDirectory(Path(sys.argv[1])) as directory:
    with EmbeddedPostgres(directory) as postgres, EmbeddedRedis(directory) as redis:
        print(postgres.url, postgres.process_id, redis.process_id, flush=True)
        time.sleep(600)
"""


def start_elsewhere(path: Path) -> tuple[subprocess.Popen[str], str, list[int]]:
    """Both engines under another process: that process, Postgres's URL, the engines' process ids."""
    owner = subprocess.Popen([sys.executable, "-c", START_AND_WAIT, str(path)], stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    with owner.stdout:
        url, *processes = owner.stdout.readline().split()
    return owner, url, [int(process) for process in processes]


def execute(url: str, statement: str) -> list[tuple[object, ...]]:
    with psycopg.connect(url, autocommit=True, connect_timeout=5) as connection:
        cursor = connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


@pytest.fixture
def postgres(directory: DataDirectory) -> Iterator[EmbeddedPostgres]:
    postgres = EmbeddedPostgres(directory, settings=QUICK)
    yield postgres
    postgres.stop()


def test_data_outlives_a_stop_and_no_process_does(postgres: EmbeddedPostgres, directory: DataDirectory) -> None:
    with postgres:
        execute(postgres.url, "CREATE TABLE kept AS SELECT 42 AS answer")
    assert list(server_processes(directory.home.path / "postgres")) == []
    with postgres:
        assert execute(postgres.url, "SELECT answer FROM kept") == [(42,)]


def test_only_the_password_lets_in(postgres: EmbeddedPostgres) -> None:
    with postgres, pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(f"postgresql://tidings:guess@127.0.0.1:{postgres.port}/tidings")


def test_an_immediate_stop_is_a_crash_that_the_next_start_on_the_same_port_recovers_from(
    postgres: EmbeddedPostgres,
) -> None:
    with postgres:
        port = postgres.port
        execute(postgres.url, "CREATE TABLE survivors AS SELECT 42 AS answer")
        postgres.stop(immediate=True)
        postgres.start()
        assert postgres.port == port
        assert execute(postgres.url, "SELECT answer FROM survivors") == [(42,)]


def test_the_thread_that_started_it_may_end(postgres: EmbeddedPostgres) -> None:
    starter = threading.Thread(target=postgres.start)
    starter.start()
    starter.join()
    assert execute(postgres.url, "SELECT 1") == [(1,)]


def test_files_are_private(postgres: EmbeddedPostgres, directory: DataDirectory) -> None:
    with postgres:
        home = directory.home.path
        assert home.stat().st_mode & 0o777 == 0o700
        assert (home / "postgres.password").stat().st_mode & 0o777 == 0o600
        assert postgres.log.stat().st_mode & 0o777 == 0o600
        assert directory.path.stat().st_mode & 0o066 == 0


def test_engines_die_with_their_owner_and_the_data_is_taken_up_again(path: Path) -> None:
    owner, url, processes = start_elsewhere(path)
    execute(url, "CREATE TABLE kept AS SELECT 42 AS answer")
    assert all(is_alive(process) for process in processes)

    owner.kill()
    owner.wait()

    wait_until(lambda: not any(is_alive(process) for process in processes))
    with DataDirectory(path) as directory:
        with EmbeddedPostgres(directory) as postgres:
            assert execute(postgres.url, "SELECT answer FROM kept") == [(42,)]
        directory.remove()


def test_a_second_start_on_the_same_directory_is_refused(directory: DataDirectory) -> None:
    with pytest.raises(EngineError, match=f"in use by another Tidings process \\({os.getpid()}\\)"):
        DataDirectory(directory.path).open()


def test_a_server_that_an_earlier_run_left_is_stopped(postgres: EmbeddedPostgres, directory: DataDirectory) -> None:
    with postgres:
        pass
    home, software = directory.home, postgres_software(directory.home)
    data = home.path / "postgres"
    left_over = subprocess.Popen(
        [software.postgres, "-D", data, "-p", str(choose_port()), "-c", "unix_socket_directories="],
        user=home.account.uid if home.account else None,
        group=home.account.gid if home.account else None,
        extra_groups=[] if home.account else None,
        cwd=home.path,
        env=dict(ENVIRONMENT),
        stderr=subprocess.DEVNULL,
    )
    wait_until((data / "postmaster.pid").exists)

    with postgres:
        assert execute(postgres.url, "SELECT 1") == [(1,)]
        assert left_over.wait(5) == 0


def test_a_stale_lock_file_whose_number_belongs_to_somebody_else_now_is_no_obstacle(
    postgres: EmbeddedPostgres, directory: DataDirectory
) -> None:
    with postgres:
        status = (directory.home.path / "postgres" / "postmaster.pid").read_text()
        postgres.stop(immediate=True)
    (directory.home.path / "postgres" / "postmaster.pid").write_text(
        status.replace(status.split()[0], str(os.getpid()))
    )
    with postgres:
        assert execute(postgres.url, "SELECT 1") == [(1,)]


def test_data_of_another_major_version_is_named_and_left_alone(
    postgres: EmbeddedPostgres, directory: DataDirectory
) -> None:
    with postgres:
        pass
    version_file = directory.home.path / "postgres" / "PG_VERSION"
    version = version_file.read_text()
    version_file.write_text("16\n")
    with pytest.raises(EngineError, match=r"made by Postgres 16; this Tidings brings Postgres 18") as caught:
        postgres.start()
    assert caught.value.hint is not None
    assert version_file.read_text() == "16\n"
    version_file.write_text(version)


def test_why_postgres_does_not_start_is_said_in_its_own_words(directory: DataDirectory) -> None:
    with pytest.raises(EngineError, match="unrecognized configuration parameter"):
        EmbeddedPostgres(directory, settings={"no_such_setting": "1"}).start()
    assert list(server_processes(directory.home.path / "postgres")) == []


@needs_root
def test_under_a_closed_directory_the_home_moves_and_no_permission_changes(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    above = {parent: parent.stat().st_mode for parent in (closed, *closed.parents)}

    for _ in range(2):  # the second start finds the home of the first
        with DataDirectory(closed / "data") as directory, EmbeddedPostgres(directory) as postgres:
            execute(postgres.url, "CREATE TABLE IF NOT EXISTS kept (answer int)")
            execute(postgres.url, "INSERT INTO kept VALUES (42)")
            kept = execute(postgres.url, "SELECT count(*) FROM kept")

    with directory:
        home = directory.home.path
        assert kept == [(2,)]
        assert (closed / "data" / "engines.location").read_text().strip() == str(home)
        assert home.stat().st_mode & 0o777 == 0o700
        assert {parent: parent.stat().st_mode for parent in above} == above
        directory.remove()
        assert not home.exists()


@needs_root
def test_a_home_that_is_gone_is_an_error_and_never_a_new_empty_database(tmp_path: Path) -> None:
    (tmp_path / "engines.location").write_text("/nowhere/at/all\n")
    with DataDirectory(tmp_path) as directory, pytest.raises(EngineError, match="/nowhere/at/all, but that is gone"):
        EmbeddedPostgres(directory).start()


@needs_root
def test_programs_out_of_reach_are_copied(
    postgres: EmbeddedPostgres, directory: DataDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installation = postgres_software(directory.home).postgres.parents[1]
    package = tmp_path / installation.parent.name  # below a directory that is closed to others
    for part in ("bin", "lib", "share"):
        shutil.copytree(installation / part, package / installation.name / part)
    libraries = installation.parent.with_name(f"{package.name}.libs")
    shutil.copytree(libraries, tmp_path / libraries.name)
    (package / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)

    with postgres:
        assert execute(postgres.url, "SELECT 1") == [(1,)]
        assert (directory.home.path / "software").is_dir()
