"""Starting a server on a free port of 127.0.0.1 and waiting until it serves."""

import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from deploy.embedded.child import Progress, await_ready, last_words, size_of, stop
from deploy.embedded.ports import choose_port, is_port_free
from shared.errors import EngineError


@dataclass(frozen=True, slots=True)
class Server:
    name: str
    log: Path
    spawn: Callable[[int], subprocess.Popen[bytes]]
    is_ready: Callable[[int], bool]
    timeout_seconds: float
    on_progress: Progress

    def start(self, preferred_port: int | None) -> tuple[subprocess.Popen[bytes], int]:
        """The process and its port. Raises EngineError with the server's own reason.

        Somebody may take the port between our look and the server's start; then the next one is tried.
        """
        self.on_progress(f"Starting {self.name} ...")
        while True:
            port = choose_port(preferred_port)
            said_before = size_of(self.log)
            process = self.spawn(port)
            try:
                if self._await_ready(process, port):
                    return process, port
                has_exited = process.poll() is not None
            except BaseException:
                stop(process)
                raise
            stop(process)
            if has_exited and not is_port_free(port):
                continue
            reason = last_words(self.log, said_before) if has_exited else "it takes too long."
            raise EngineError(f"{self.name} did not start: {reason}", hint=f"See {self.log}.")

    def _await_ready(self, process: subprocess.Popen[bytes], port: int) -> bool:
        return await_ready(
            process,
            lambda: self.is_ready(port),
            timeout_seconds=self.timeout_seconds,
            on_wait=lambda seconds: self.on_progress(f"{self.name} is still starting ({seconds:.0f} s) ..."),
        )
