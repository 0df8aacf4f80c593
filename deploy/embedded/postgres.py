"""One Postgres of our own: made, started, taken up again after a crash, stopped."""

import os
import secrets
import shutil
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

import psycopg
from psycopg import sql

from deploy.embedded import leftovers
from deploy.embedded.child import Progress, keep_quiet, run, spawn, stop
from deploy.embedded.directory import DataDirectory
from deploy.embedded.ports import LOOPBACK
from deploy.embedded.server import Server
from deploy.embedded.software import PostgresSoftware, postgres_software
from shared.errors import EngineError

USER = "tidings"
DATABASE = "tidings"

# Modest enough for a laptop; everything else is what initdb finds right.
SETTINGS: Mapping[str, str] = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",
    "max_connections": "100",
    "shared_buffers": "128MB",
    "max_wal_size": "2GB",
    "wal_level": "minimal",  # nobody replicates a try-out
    "max_wal_senders": "0",
    "jit": "off",  # its compile time dwarfs our statements
    "log_checkpoints": "off",
    "log_error_verbosity": "terse",  # without the rows that errors quote, addresses in them
    "timezone": "UTC",
    "log_timezone": "UTC",
}

# English messages whatever the operator speaks, and no PG* variable of theirs
ENVIRONMENT: Mapping[str, str] = {"LC_ALL": "C", "TZ": "UTC", "PATH": os.defpath}

FAST, IMMEDIATE = signal.SIGINT, signal.SIGQUIT
STATUS_LINE = 7  # of postmaster.pid, counted from 0


class EmbeddedPostgres:
    """Start, stop and start again; the port stays while nobody else takes it.

    Should our process die, Postgres gets SIGQUIT: it is gone at once and recovers from its log at the next start.
    """

    def __init__(
        self,
        directory: DataDirectory,
        *,
        settings: Mapping[str, str] | None = None,
        start_timeout_seconds: float = 60.0,
        on_progress: Progress = keep_quiet,
    ) -> None:
        """`settings` are added to the server's own; tests pass fsync=off."""
        self._directory = directory
        self._settings = {**SETTINGS, **(settings or {})}
        self._start_timeout_seconds = start_timeout_seconds
        self._on_progress = on_progress
        self._process: subprocess.Popen[bytes] | None = None
        self._password = ""
        self.port: int | None = None

    @property
    def url(self) -> str:
        """The installation's database, as its superuser."""
        return self.url_of(DATABASE)

    def url_of(self, database: str) -> str:
        assert self.port is not None, "not started"
        return f"postgresql://{USER}:{quote(self._password)}@{LOOPBACK}:{self.port}/{database}"

    @property
    def log(self) -> Path:
        return self._directory.logs / "postgres.log"

    @property
    def process_id(self) -> int | None:
        """None while it is not running."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def start(self) -> None:
        """Returns once connections are accepted. Raises EngineError with Postgres's own reason."""
        if self.process_id is not None:
            return
        home = self._directory.home.path
        software = postgres_software(self._directory.home)
        data = home / "postgres"
        _check_version(data, software.major_version)
        leftovers.stop_postgres(data, self._on_progress)
        if not data.exists():
            self._create_cluster(software, data)
        self._password = _read_password(home / "postgres.password")
        server = Server(
            name="Postgres",
            log=self.log,
            spawn=lambda port: self._spawn(software, data, port),
            is_ready=lambda _port: _says_ready(data / "postmaster.pid"),
            timeout_seconds=self._start_timeout_seconds,
            on_progress=self._on_progress,
        )
        self._process, self.port = server.start(self.port)
        try:
            self._ensure_database()
        except BaseException:
            self.stop(immediate=True)
            raise

    def stop(self, *, immediate: bool = False) -> None:
        """Fast shutdown: open transactions are rolled back, a checkpoint written. Immediate: as in a crash."""
        process, self._process = self._process, None
        if process is None:
            return
        steps = ((IMMEDIATE, 10.0),) if immediate else ((FAST, 30.0), (IMMEDIATE, 10.0))
        stop(process, *steps)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _create_cluster(self, software: PostgresSoftware, data: Path) -> None:
        """Made under another name first: what a killed initdb leaves behind is never taken for a cluster."""
        self._on_progress("Creating the database cluster ...")
        home = self._directory.home
        unfinished = data.with_suffix(".unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        password = home.path / "postgres.password"
        self._write_password(password)
        run(
            [
                str(software.initdb),
                f"--pgdata={unfinished}",
                f"--username={USER}",
                f"--pwfile={password}",
                "--auth=scram-sha-256",
                "--encoding=UTF8",
                "--locale=C",
                "--locale-provider=builtin",
                "--builtin-locale=C.UTF-8",
                "--no-instructions",
                *(["--no-sync"] if self._settings.get("fsync") == "off" else []),
            ],
            log=self.log,
            environment=ENVIRONMENT,
            directory=home.path,
            account=home.account,
            timeout_seconds=self._start_timeout_seconds,
        )
        unfinished.rename(data)

    def _write_password(self, path: Path) -> None:
        account = self._directory.home.account
        path.unlink(missing_ok=True)
        path.touch(mode=0o600)
        if account is not None:
            os.chown(path, account.uid, account.gid)
        path.write_text(secrets.token_urlsafe(32))

    def _spawn(self, software: PostgresSoftware, data: Path, port: int) -> subprocess.Popen[bytes]:
        settings = {**self._settings, "port": str(port)}
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return spawn(
            [str(software.postgres), "-D", str(data), *options],
            log=self.log,
            environment=ENVIRONMENT,
            directory=self._directory.home.path,
            account=self._directory.home.account,
            death_signal=IMMEDIATE,
        )

    def _ensure_database(self) -> None:
        try:
            with psycopg.connect(self.url_of("postgres"), autocommit=True, connect_timeout=10) as connection:
                if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone():
                    connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))
        except psycopg.OperationalError as error:
            raise EngineError(f"Postgres started but refuses us: {error}", hint=f"See {self.log}.") from error


def _check_version(data: Path, major_version: int) -> None:
    version_file = data / "PG_VERSION"
    if not version_file.exists():
        return
    found = version_file.read_text().strip()
    if found != str(major_version):
        raise EngineError(
            f"The database in {data} was made by Postgres {found}; this Tidings brings Postgres {major_version}.",
            hint="Start it with the Tidings that made it and take a dump with pg_dump, or give another --data-dir.",
        )


def _read_password(path: Path) -> str:
    try:
        return path.read_text()
    except OSError as error:
        raise EngineError(
            f"The database's password cannot be read: {path}: {error.strerror}.", hint="Bring the file back."
        ) from error


def _says_ready(status_file: Path) -> bool:
    try:
        lines = status_file.read_text().splitlines()
    except FileNotFoundError:
        return False
    return len(lines) > STATUS_LINE and lines[STATUS_LINE].strip() == "ready"
