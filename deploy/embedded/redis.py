"""One Redis of our own, as a broker and nothing else: it keeps nothing on disk."""

import os
import secrets
import signal
import socket
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Self

from deploy.embedded.child import Progress, keep_quiet, spawn, stop
from deploy.embedded.directory import DataDirectory
from deploy.embedded.ports import LOOPBACK
from deploy.embedded.server import Server
from deploy.embedded.software import redis_server


class EmbeddedRedis:
    """Start, stop and start again on the same port with the same password, empty each time."""

    def __init__(
        self,
        directory: DataDirectory,
        *,
        start_timeout_seconds: float = 20.0,
        on_progress: Progress = keep_quiet,
    ) -> None:
        self._directory = directory
        self._start_timeout_seconds = start_timeout_seconds
        self._on_progress = on_progress
        self._process: subprocess.Popen[bytes] | None = None
        self._password = secrets.token_urlsafe(32)
        self.port: int | None = None

    @property
    def url(self) -> str:
        return self.url_of(0)

    def url_of(self, database: int) -> str:
        assert self.port is not None, "not started"
        return f"redis://:{self._password}@{LOOPBACK}:{self.port}/{database}"

    @property
    def log(self) -> Path:
        return self._directory.logs / "redis.log"

    @property
    def process_id(self) -> int | None:
        """None while it is not running."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def start(self) -> None:
        """Returns once it answers. Raises EngineError with its own reason."""
        if self.process_id is not None:
            return
        server = Server(
            name="Redis",
            log=self.log,
            spawn=self._spawn,
            is_ready=self._answers,
            timeout_seconds=self._start_timeout_seconds,
            on_progress=self._on_progress,
        )
        self._process, self.port = server.start(self.port)

    def stop(self) -> None:
        """Nothing is saved: without save points SIGTERM is SHUTDOWN NOSAVE."""
        process, self._process = self._process, None
        if process is not None:
            stop(process, (signal.SIGTERM, 5.0))

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _spawn(self, port: int) -> subprocess.Popen[bytes]:
        """The settings go over standard input, so that the password is in no file and in no process list."""
        settings = [
            f"bind {LOOPBACK}",
            f"port {port}",
            f"requirepass {self._password}",
            'save ""',
            "appendonly no",
            "maxmemory-policy noeviction",
        ]
        home = self._directory.home
        return spawn(
            [str(redis_server(home)), "-"],
            log=self.log,
            environment={"PATH": os.defpath},
            directory=home.path,
            account=home.account,
            stdin="\n".join([*settings, ""]).encode(),
        )

    def _answers(self, port: int) -> bool:
        """Whether this port is served by our Redis: it knows the password."""
        try:
            with socket.create_connection((LOOPBACK, port), timeout=1) as connection:
                connection.sendall(f"AUTH {self._password}\r\n".encode())
                return connection.recv(64).startswith(b"+OK")
        except OSError:
            return False
