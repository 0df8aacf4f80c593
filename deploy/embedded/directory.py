"""The data directory of one installation, locked while it is used.

DIR/lock          held while anything uses DIR; names the process
DIR/logs/         what each engine and role writes
DIR/engines/      see home.py
"""

import fcntl
import os
import shutil
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Self

from deploy.embedded import leftovers
from deploy.embedded.child import keep_quiet
from deploy.embedded.home import EngineHome, engine_home
from shared.errors import EngineError


class DataDirectory:
    """Open, and locked, from `open` to `close`; a context manager too."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self._lock: int | None = None

    @cached_property
    def home(self) -> EngineHome:
        """Made when an engine first asks: with servers elsewhere there is none."""
        assert self._lock is not None, "only the holder of the lock may touch the engines"
        return engine_home(self.path)

    @cached_property
    def logs(self) -> Path:
        logs = self.path / "logs"
        logs.mkdir(mode=0o700, exist_ok=True)
        return logs

    def start_new_logs(self) -> None:
        """Keep those of the last run as NAME.log.1, and no older ones."""
        for log in self.logs.glob("*.log"):
            log.replace(log.with_name(f"{log.name}.1"))

    def open(self) -> None:
        """Create DIR where it is missing and lock it.

        Raises EngineError when another process holds it or it belongs to somebody else.
        """
        try:
            self._create()
            lock = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise EngineError(
                f"Cannot use the data directory {self.path}: {error.strerror}.",
                hint="Run as the user it belongs to, or give another --data-dir.",
            ) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(lock, 20).decode(errors="replace").strip() or "just starting"
            os.close(lock)
            raise EngineError(
                f"{self.path} is in use by another Tidings process ({holder}).",
                hint="Stop that one first, or give another --data-dir.",
            ) from None
        os.ftruncate(lock, 0)
        os.write(lock, f"{os.getpid()}\n".encode())
        self._lock = lock

    def close(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def remove(self) -> None:
        """Delete DIR and, where it lies elsewhere, the engines' home; then close."""
        leftovers.stop_postgres(self.home.path / "postgres", keep_quiet)
        shutil.rmtree(self.home.path)
        shutil.rmtree(self.path)
        self.close()

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _create(self) -> None:
        if self.path.is_dir():
            return
        self.path.mkdir(parents=True)
        # under root the engines' account passes through to its home; it can neither list nor read what else is here
        self.path.chmod(0o711 if os.geteuid() == 0 else 0o700)
