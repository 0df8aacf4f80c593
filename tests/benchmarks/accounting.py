"""CPU and memory of process trees, read from /proc: every process counts what it burnt itself and what its dead did."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class _Process:
    pid: int
    parent: int
    cpu_ticks: int  # its own and that of children it has waited for


def cpu_seconds(roots: Iterable[int]) -> float:
    """CPU time of these processes and all their descendants since each started."""
    return sum(process.cpu_ticks for process in _trees(roots)) / TICKS_PER_SECOND


def descendants(roots: Iterable[int]) -> list[int]:
    """These processes and everything below them that is alive."""
    return [process.pid for process in _trees(roots)]


def peak_memory_bytes(pid: int) -> int:
    """The most this process ever held in memory, pages shared with its parent included."""
    for line in (PROC / str(pid) / "status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise ProcessLookupError(pid)


def _trees(roots: Iterable[int]) -> list[_Process]:
    wanted = set(roots)
    # a child's pid may be smaller than its parent's after a wrap-around: repeat until nothing is added
    processes = list(_processes())
    while True:
        grown = wanted | {process.pid for process in processes if process.parent in wanted}
        if grown == wanted:
            return [process for process in processes if process.pid in wanted]
        wanted = grown


def _processes() -> Iterator[_Process]:
    for entry in PROC.iterdir():
        if not entry.name.isdigit():
            continue
        try:
            stat = (entry / "stat").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended while we looked
        # the second field is the program's name in brackets and may itself hold spaces and brackets
        fields = stat.rpartition(")")[2].split()
        yield _Process(int(entry.name), int(fields[1]), sum(int(ticks) for ticks in fields[11:15]))
