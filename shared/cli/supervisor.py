"""The roles of one installation as child processes: started, watched, restarted, stopped in order."""

import http.client
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from deploy.embedded import spawn
from deploy.embedded.child import last_words, size_of
from shared.errors import EngineError

# who is asked for more work stops first, who is still needed by others stops last
STOP_ORDER = ("api", "scheduler", "workers", "shared.simulator")

POLL_SECONDS = 0.05
FIRST_BACKOFF_SECONDS = 0.5
LONGEST_BACKOFF_SECONDS = 30.0
STEADY_SECONDS = 30.0
"""A role that ran this long starts again with the first backoff."""


@dataclass(frozen=True, slots=True)
class Role:
    name: str  # unique, and the name of its log: api, worker-2
    module: str  # run as `python -m MODULE`
    arguments: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)  # on top of what all roles get
    is_ready: Callable[[], bool] = lambda: True  # asked again and again after the start
    grace_seconds: float = 10.0  # from SIGTERM to SIGKILL


@dataclass(slots=True)
class _Child:
    role: Role
    process: subprocess.Popen[bytes]
    log: Path
    log_start: int  # bytes in the log before this start
    started_at: float  # monotonic
    quick_exits: int = 0  # in a row
    restart_at: float | None = None  # monotonic; None while it runs


class Supervisor:
    """Every role runs in a process group of its own and dies with this process.

    Nothing happens by itself: `watch` is one look at all roles and restarts those that exited. So a test may kill
    a role and decide itself when another takes its place.
    """

    def __init__(self, logs: Path, environment: Mapping[str, str], *, on_event: Callable[[str], None]) -> None:
        """Each role writes to LOGS/NAME.log. `on_event` is told, in a line for a person, what became of a role."""
        self._logs = logs
        self.environment = dict(environment)  # of every role started from now on
        self._on_event = on_event
        self._children: dict[str, _Child] = {}

    @property
    def roles(self) -> list[Role]:
        return [child.role for child in self._children.values()]

    def log_of(self, name: str) -> Path:
        return self._logs / f"{name}.log"

    def process_id(self, name: str) -> int | None:
        """None while the role is not running."""
        process = self._children[name].process
        return process.pid if _exit_status(process) is None else None

    def processes_of(self, name: str) -> list[int]:
        """The role's process and its children; empty while it is not running."""
        leader = self.process_id(name)
        if leader is None:
            return []
        children = Path(f"/proc/{leader}/task/{leader}/children").read_text()
        return [leader, *map(int, children.split())]

    def start(self, role: Role) -> None:
        """Start a role, or start it again under the same name after it was killed."""
        earlier = self._children.get(role.name)
        assert earlier is None or _exit_status(earlier.process) is not None, f"{role.name} is running"
        log = self.log_of(role.name)
        self._children[role.name] = _Child(
            role,
            log=log,
            log_start=size_of(log),
            # -P: a folder called `api` in the current directory is not ours
            process=spawn(
                [sys.executable, "-P", "-m", role.module, *role.arguments],
                log=log,
                environment={**self.environment, **role.environment},
            ),
            started_at=time.monotonic(),
            quick_exits=earlier.quick_exits if earlier else 0,
        )

    def await_ready(self, *names: str, timeout_seconds: float = 30.0) -> None:
        """Wait for these roles, or all. Raises EngineError with a role's last words when it exits or takes too long."""
        deadline = time.monotonic() + timeout_seconds
        for name in names or self._children:
            child = self._children[name]
            while not child.role.is_ready():
                status = _exit_status(child.process)
                if status is not None or time.monotonic() > deadline:
                    what = "does not get ready" if status is None else f"exited with status {status}"
                    words = last_words(child.log, child.log_start)
                    raise EngineError(f"{name} {what}: {words}", hint=f"See {child.log}.")
                time.sleep(POLL_SECONDS)

    def watch(self) -> None:
        """One look: say which roles exited, start again those whose backoff is over."""
        for child in list(self._children.values()):
            if child.restart_at is None:
                self._notice_exit(child)
            elif time.monotonic() >= child.restart_at:
                self.start(child.role)
                self._on_event(f"{child.role.name} is started again.")

    def kill(self, name: str) -> None:
        """SIGKILL to the role's whole process group, as a fault would. `watch` or `start` replaces it."""
        process = self._children[name].process
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def stop(self, *, hurry: Callable[[], bool] = lambda: False) -> None:
        """Stop all roles in STOP_ORDER, those of one module together; SIGKILL after their grace, or on `hurry`."""
        for module in sorted({child.role.module for child in self._children.values()}, key=_stop_position):
            together = [child for child in self._children.values() if child.role.module == module]
            for child in together:
                if _exit_status(child.process) is None:
                    child.process.terminate()
            for child in together:
                self._await_exit(child, hurry)
        self._children.clear()

    def _notice_exit(self, child: _Child) -> None:
        status = _exit_status(child.process)
        if status is None:
            return
        was_steady = time.monotonic() - child.started_at > STEADY_SECONDS
        child.quick_exits = 0 if was_steady else child.quick_exits + 1
        pause_seconds = min(FIRST_BACKOFF_SECONDS * 2**child.quick_exits / 2, LONGEST_BACKOFF_SECONDS)
        child.restart_at = time.monotonic() + pause_seconds
        self._on_event(f"{child.role.name} {_describe(status)}; it starts again in {pause_seconds:.1f} s.")

    def _await_exit(self, child: _Child, hurry: Callable[[], bool]) -> None:
        deadline = time.monotonic() + child.role.grace_seconds
        while _exit_status(child.process) is None:
            if hurry() or time.monotonic() > deadline:
                self._on_event(f"{child.role.name} did not stop in time and is killed.")
                self.kill(child.role.name)
                return
            time.sleep(POLL_SECONDS)


def _stop_position(module: str) -> int:
    return STOP_ORDER.index(module) if module in STOP_ORDER else 0


def _exit_status(process: subprocess.Popen[bytes]) -> int | None:
    """None while it runs. What an exited leader leaves of its process group is killed before its number is given up."""
    if process.returncode is not None:
        return process.returncode
    if os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        return None
    os.killpg(process.pid, signal.SIGKILL)
    return process.wait()


def _describe(status: int) -> str:
    if status >= 0:
        return f"exited with status {status}"
    return f"was ended by {signal.Signals(-status).name}"


def answers_ok(url: str) -> bool:
    """Whether an HTTP server answers 200 there."""
    address = urlsplit(url)
    connection = http.client.HTTPConnection(address.netloc, timeout=2)
    try:
        connection.request("GET", address.path)
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
