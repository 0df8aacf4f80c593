"""The API as an operator runs it: a process of its own, on a free port."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from shared.settings import Settings


def environment_of(settings: Settings) -> dict[str, str]:
    assert settings.secret_keys is not None
    return os.environ | {
        "TIDINGS_DATABASE_URL": settings.require_database_url(),
        "TIDINGS_BROKER_URL": settings.require_broker_url(),
        "TIDINGS_SECRET_KEYS": settings.secret_keys.get_secret_value(),
        "TIDINGS_PORT": "0",
        "TIDINGS_DRAIN_SECONDS": "0",
    }


@dataclass(slots=True)
class ApiProcess:
    process: subprocess.Popen[str]
    port: int

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def stop(self) -> str:
        """What it wrote since it listens. It must leave with 0."""
        self.process.send_signal(signal.SIGTERM)
        assert self.process.stderr is not None
        written = self.process.stderr.read()
        assert self.process.wait() == 0
        return written


@contextmanager
def serving(environment: dict[str, str]) -> Iterator[ApiProcess]:
    """Killed at the end unless it was stopped before."""
    with subprocess.Popen([sys.executable, "-m", "api"], env=environment, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            for line in process.stderr:
                if listening := re.search(r'"port": (\d+).*api\.listening', line):
                    break
            assert listening is not None
            yield ApiProcess(process, int(listening[1]))
        finally:
            process.kill()
