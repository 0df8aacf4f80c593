"""Looking at processes from outside, for tests that start and kill them."""

import time
from collections.abc import Callable
from pathlib import Path


def is_alive(process: int) -> bool:
    """False for a zombie too: in a container nobody may collect it."""
    try:
        status = Path(f"/proc/{process}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return status.rpartition(")")[2].split()[0] not in {"Z", "X"}


def wait_until(is_so: Callable[[], bool], *, seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)
