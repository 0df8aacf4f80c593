"""How far an import is: a bar on a terminal, lines elsewhere."""

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from shared.cli.output import notes
from shared.domain.contacts.progress import ImportProgress, ImportState

LINE_INTERVAL_SECONDS = 2.0


class ImportBar:
    """Two steps, each from 0 to 1: the file is checked, then its rows are merged."""

    def __init__(self, file_bytes: int, console: Console = notes) -> None:
        self._file_bytes = max(file_bytes, 1)
        self._console = console
        self._line_at = time.monotonic()
        self._bars = Bars(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %"),
            TextColumn("{task.fields[counts]}", style="cyan"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._checking = self._bars.add_task("Checking", total=1.0, counts="")
        self._merging = self._bars.add_task("Merging ", total=1.0, counts="", start=False)

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def show(self, progress: ImportProgress, read_bytes: int) -> None:
        counts = f"{progress.rows_total:,} rows, {progress.bad_total:,} bad"
        if progress.state is ImportState.STAGING:
            self._move("checked", self._checking, read_bytes / self._file_bytes, counts)
            return
        self._bars.update(self._checking, completed=1.0)
        self._bars.start_task(self._merging)
        self._move("merged", self._merging, progress.merged_to / max(progress.staged_to, 1), counts)

    def _move(self, step: str, task: TaskID, fraction: float, counts: str) -> None:
        if self._console.is_terminal:
            self._bars.update(task, completed=fraction, counts=counts)
        elif time.monotonic() - self._line_at >= LINE_INTERVAL_SECONDS:
            self._line_at = time.monotonic()
            self._console.print(f"{fraction:4.0%} {step}: {counts}")
