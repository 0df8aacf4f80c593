"""Child processes that never outlive us: started on a leash, stopped step by step."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from deploy.embedded import leash
from deploy.embedded.account import Account
from shared.errors import EngineError

Progress = Callable[[str], None]
"""Called with a line for a person that says what is being waited for."""


def keep_quiet(_line: str) -> None:
    """Progress that nobody watches."""


POLL_SECONDS = 0.02
NEWS_SECONDS = 5.0

# The kernel sends a death signal when the *thread* that forked ends. So one thread that lives as long as the
# process starts every child, whichever thread asks.
_launcher = ThreadPoolExecutor(max_workers=1, thread_name_prefix="launcher")


def spawn(
    command: Sequence[str],
    *,
    log: Path,
    environment: Mapping[str, str],
    directory: Path | None = None,
    account: Account | None = None,
    death_signal: signal.Signals = signal.SIGKILL,
    stdin: bytes = b"",
) -> subprocess.Popen[bytes]:
    """Start a program in a session and process group of its own; a Ctrl-C at the terminal does not reach it.

    Its output is appended to `log`. It gets `death_signal` when this process ends in whatever way.
    """
    who = "-" if account is None else f"{account.uid}:{account.gid}"
    leashed = [sys.executable, "-I", "-S", leash.__file__, str(os.getpid()), str(int(death_signal)), who, *command]

    def start() -> subprocess.Popen[bytes]:
        with open(log, "ab", opener=_open_private) as output:  # Path.open takes no opener
            return subprocess.Popen(  # noqa: S603  # our own commands
                leashed,
                stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=dict(environment),
                cwd=directory,
                start_new_session=True,
            )

    process = _launcher.submit(start).result()
    if process.stdin is not None:
        with suppress(BrokenPipeError), process.stdin as pipe:  # whoever waits for it sees that it is gone
            pipe.write(stdin)
    return process


def await_ready(
    process: subprocess.Popen[bytes],
    is_ready: Callable[[], bool],
    *,
    timeout_seconds: float,
    on_wait: Callable[[float], None],
) -> bool:
    """True once `is_ready`; False when the process exited or the time is over.

    `on_wait` is called every few seconds with the seconds waited so far.
    """
    started = time.monotonic()
    next_news = NEWS_SECONDS
    while process.poll() is None:
        if is_ready():
            return True
        waited = time.monotonic() - started
        if waited > timeout_seconds:
            return False
        if waited > next_news:
            on_wait(waited)
            next_news += NEWS_SECONDS
        time.sleep(POLL_SECONDS)
    return False


def stop(process: subprocess.Popen[bytes], *steps: tuple[signal.Signals, float]) -> None:
    """Send each signal in turn and wait its seconds; what is still there afterwards is killed."""
    for signal_number, grace_seconds in steps:
        if process.poll() is None:
            process.send_signal(signal_number)
        try:
            process.wait(grace_seconds)
        except subprocess.TimeoutExpired:
            continue
        return
    process.kill()
    process.wait()


def run(
    command: Sequence[str],
    *,
    log: Path,
    environment: Mapping[str, str],
    directory: Path,
    account: Account | None,
    timeout_seconds: float,
) -> None:
    """Run a program to its end. Raises EngineError with its last line when it fails."""
    started_at = size_of(log)
    process = spawn(command, log=log, environment=environment, directory=directory, account=account)
    name = Path(command[0]).name
    try:
        status = process.wait(timeout_seconds)
    except subprocess.TimeoutExpired:
        raise EngineError(f"{name} took longer than {timeout_seconds:.0f} s.", hint=f"See {log}.") from None
    finally:
        stop(process)
    if status:
        raise EngineError(f"{name} failed: {last_words(log, started_at)}", hint=f"See {log}.")


def size_of(log: Path) -> int:
    return log.stat().st_size if log.exists() else 0


def last_words(log: Path, since_bytes: int = 0) -> str:
    """The most telling line a program wrote since then: its last error, else its last line."""
    with log.open("rb") as file:
        file.seek(since_bytes)
        lines = [line.strip() for line in file.read().decode(errors="replace").splitlines() if line.strip()]
    errors = [line for line in lines if "FATAL" in line or "error" in line.lower()]
    return (errors or lines or ["it said nothing"])[-1]


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
