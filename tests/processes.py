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


def descendants(process: int) -> list[int]:
    """Its children, their children and so on, as they are now."""
    children: dict[int, list[int]] = {}
    for status_file in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status_file.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue  # gone meanwhile
        children.setdefault(int(fields[1]), []).append(int(status_file.parent.name))
    found, to_visit = [], [process]
    while to_visit:
        of_this = children.get(to_visit.pop(), [])
        found.extend(of_this)
        to_visit.extend(of_this)
    return found
