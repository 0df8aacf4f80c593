"""The numbers of a role that is several processes, added up; those that are gone included."""

import os
import threading
from collections.abc import Iterable
from pathlib import Path

from prometheus_client.metrics_core import Metric
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

_ADDED_UP = ("counter", "histogram")
_NO_PROCESS = "gone"
"""Stands where file names have the number of a process."""


class ProcessMetrics(Collector):
    """Reads the files that prometheus_client keeps in PROMETHEUS_MULTIPROC_DIR, one for each process and type.

    Children come and go all day. What those that ended have counted moves to one file, so that there are never more
    files than processes; their gauges go, also those of a child that was killed and could not see to it.
    """

    def __init__(self, directory: Path) -> None:
        """Nobody else may collect from `directory`."""
        self._directory = directory
        self._lock = threading.Lock()  # a scrape may come while another one is answered
        self._all = MultiProcessCollector(None, str(directory))  # type: ignore[no-untyped-call]

    def collect(self) -> Iterable[Metric]:
        with self._lock:
            for file in self._directory.glob("*.db"):
                kind, _, process = file.stem.partition("_")
                if process != _NO_PROCESS and not _is_running(int(process.rpartition("_")[2])):
                    if kind in _ADDED_UP:
                        _add(file, self._directory / f"{kind}_{_NO_PROCESS}.db")
                    file.unlink(missing_ok=True)  # a child removes its gauges as it ends
            return list(self._all.collect())  # type: ignore[no-untyped-call]


def _is_running(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's has the number by now; later it will be free
        return True
    return True


def _add(file: Path, total: Path) -> None:
    sums = MmapedDict(str(total))  # type: ignore[no-untyped-call]
    try:
        for key, value, timestamp, _ in MmapedDict.read_all_values_from_file(str(file)):  # type: ignore[no-untyped-call]
            before, _ = sums.read_value(key)  # type: ignore[no-untyped-call]
            sums.write_value(key, before + value, timestamp)  # type: ignore[no-untyped-call]
    finally:
        sums.close()  # type: ignore[no-untyped-call]
