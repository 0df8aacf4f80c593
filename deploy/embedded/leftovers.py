"""What a kill -9 left of an earlier Postgres: its processes are stopped, its files cleared away."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from deploy.embedded.child import POLL_SECONDS, Progress
from shared.errors import EngineError

STEPS = ((signal.SIGINT, 20.0), (signal.SIGQUIT, 5.0), (signal.SIGKILL, 5.0))


def stop_postgres(data: Path, on_progress: Progress) -> None:
    """Stop every server process on this data directory, then remove the lock file of a dead one.

    Only the holder of the data directory's lock may call this: nobody else can be starting one. Without it a
    `postmaster.pid` whose number now belongs to some other process would keep Postgres from starting.
    """
    for signal_number, grace_seconds in STEPS:
        if not list(server_processes(data)):
            break
        on_progress("Stopping a Postgres that an earlier run left behind ...")
        _signal_and_wait(data, signal_number, grace_seconds)
    if left := list(server_processes(data)):
        raise EngineError(f"A Postgres of an earlier run does not stop (process {left[0]}).", hint="Kill it.")
    (data / "postmaster.pid").unlink(missing_ok=True)


def _signal_and_wait(data: Path, signal_number: signal.Signals, grace_seconds: float) -> None:
    postmaster = _postmaster(data)
    processes = list(server_processes(data))
    # the postmaster stops its children in good order; without it they are told one by one
    for process in [postmaster] if postmaster in processes else processes:
        try:
            os.kill(process, signal_number)
        except ProcessLookupError:
            continue
    deadline = time.monotonic() + grace_seconds
    while list(server_processes(data)) and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)


def _postmaster(data: Path) -> int | None:
    try:
        return int((data / "postmaster.pid").read_text().split(maxsplit=1)[0])
    except (FileNotFoundError, ValueError, IndexError):
        return None


def server_processes(data: Path) -> Iterator[int]:
    """Every process named postgres that works in this directory, as all of Postgres's processes do.

    Without /proc (macOS) none is found, and Postgres itself refuses a second server on its data.
    """
    for process in Path("/proc").glob("[0-9]*"):
        try:
            is_ours = (process / "comm").read_text() == "postgres\n" and (process / "cwd").samefile(data)
        except (FileNotFoundError, PermissionError, ProcessLookupError):
            continue  # gone meanwhile, or somebody else's
        if is_ours:
            yield int(process.name)
