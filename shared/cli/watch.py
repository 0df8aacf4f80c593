"""Live progress of messages: bars on a terminal, lines elsewhere."""

import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.table import Column
from rich.text import Text

from shared.cli.output import notes
from shared.errors import NotReachable

INTERVAL_SECONDS = 0.25
LINE_INTERVAL_SECONDS = 2.0
RATE_PERIOD_SECONDS = 10.0
PATIENCE_SECONDS = 30.0
WIDE_COLUMNS = 160

FINAL_STATES = ("sent", "failed", "skipped", "cancelled", "expired", "unknown")
OPEN_STATES = ("claimed", "queued")


@dataclass(frozen=True, slots=True)
class MessageProgress:
    """A message's recipients by state; `planned` is their sum once fan-out is done."""

    planned: int
    counts: Mapping[str, int]  # by state, final and open ones
    resends: int
    is_planned: bool  # False: fan-out still adds recipients
    is_finished: bool
    errors: tuple[str, ...] = ()

    @classmethod
    def read(cls, wire: Mapping[str, Any]) -> Self:
        """Out of the answer of /v1/tidings/messages/{id}/progress."""
        return cls(
            planned=wire["planned"],
            counts={state: wire[state] for state in (*FINAL_STATES, *OPEN_STATES)},
            resends=wire["resends"],
            is_planned=wire["plannedAt"] is not None,
            is_finished=wire["finishedAt"] is not None,
            errors=tuple(wire["errors"]),
        )

    @property
    def done(self) -> int:
        return sum(self.counts[state] for state in FINAL_STATES)


@dataclass(slots=True)
class Pace:
    """Recipients per second over the last seconds, and what that means for the rest."""

    _samples: deque[tuple[float, int]] = field(default_factory=deque)  # (monotonic second, recipients done)

    def add(self, now: float, done: int) -> None:
        self._samples.append((now, done))
        while len(self._samples) > 2 and self._samples[0][0] < now - RATE_PERIOD_SECONDS:
            self._samples.popleft()

    @property
    def per_second(self) -> float:
        (first_at, first_done), (last_at, last_done) = self._samples[0], self._samples[-1]
        return (last_done - first_done) / (last_at - first_at) if last_at > first_at else 0.0

    def seconds_left(self, progress: MessageProgress) -> float | None:
        """None: nobody can tell yet."""
        if not progress.is_planned or not self.per_second:
            return None
        return (progress.planned - progress.done) / self.per_second


def describe_counts(progress: MessageProgress) -> str:
    """`1,200 of 20,000: 1,190 sent, 10 failed, 800 claimed`: states that nobody is in are left out."""
    states = [
        f"{progress.counts[state]:,} {state}" for state in (*FINAL_STATES, *OPEN_STATES) if progress.counts[state]
    ]
    planned = f"{progress.planned:,}" if progress.is_planned else f"{progress.planned:,} planned so far"
    return f"{progress.done:,} of {planned}" + (": " + ", ".join(states) if states else "")


def describe_pace(progress: MessageProgress, pace: Pace) -> str:
    if progress.is_finished:
        return "finished"
    left = pace.seconds_left(progress)
    return f"{pace.per_second:,.0f}/s" + ("" if left is None else f", {_duration(left)} left")


def _duration(seconds: float) -> str:
    whole = round(seconds)
    return f"{whole} s" if whole < 60 else f"{whole // 60} min {whole % 60} s"


class _Bars(Progress):
    """A line for each message; two where the terminal is narrow, for the bar would have no room beside the counts."""

    def __init__(self, console: Console) -> None:
        self._has_two_lines = console.width < WIDE_COLUMNS
        title = Column(no_wrap=True, width=console.width // 3)
        counts = TextColumn("{task.fields[counts]}", markup=False)
        super().__init__(
            TextColumn("{task.description}", markup=False, table_column=title),
            BarColumn(bar_width=None),
            *([] if self._has_two_lines else [counts]),
            TextColumn("{task.fields[pace]}", markup=False, style="cyan"),
            console=console,
            disable=not console.is_terminal,
            expand=True,
        )

    def get_renderables(self) -> Iterable[RenderableType]:
        if not self._has_two_lines:
            yield from super().get_renderables()
            return
        for task in self.tasks:
            yield self.make_tasks_table([task])
            yield Text(f"  {task.fields['counts']}")


class Board:
    """Several messages at once, drawn below each other while the context is open.

    On a terminal each has a bar that moves; elsewhere a line is written when there is something new, at most every
    two seconds per message, and at its end.
    """

    def __init__(self, console: Console = notes) -> None:
        self._console = console
        self._bars = _Bars(console)
        self._tasks: dict[str, TaskID] = {}
        self._paces: dict[str, Pace] = {}
        self._lines: dict[str, tuple[float, str]] = {}  # by title: when the last one was written, and its counts

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def show(self, title: str, progress: MessageProgress) -> None:
        """The newest state of the message under this title."""
        now = time.monotonic()
        pace = self._paces.setdefault(title, Pace())
        pace.add(now, progress.done)
        if self._console.is_terminal:
            self._move_bar(title, progress, pace)
        else:
            self._write_line(title, progress, pace, now)

    def say(self, line: str) -> None:
        """A line of text above the bars."""
        self._console.print(Text(line))

    def _move_bar(self, title: str, progress: MessageProgress, pace: Pace) -> None:
        if title not in self._tasks:
            self._tasks[title] = self._bars.add_task(title, total=None, counts="", pace="")
        self._bars.update(
            self._tasks[title],
            total=progress.planned if progress.is_planned else None,
            completed=progress.done,
            counts=describe_counts(progress),
            pace=describe_pace(progress, pace),
        )

    def _write_line(self, title: str, progress: MessageProgress, pace: Pace, now: float) -> None:
        written_at, written = self._lines.get(title, (float("-inf"), ""))
        line = f"{describe_counts(progress)}{' (finished)' if progress.is_finished else ''}"
        if line != written and (progress.is_finished or now - written_at >= LINE_INTERVAL_SECONDS):
            self._lines[title] = (now, line)
            self.say(f"{title}  {describe_counts(progress)}  {describe_pace(progress, pace)}")


def watch_messages(
    titles: Mapping[str, str], fetch: Callable[[str], MessageProgress], *, board: Board
) -> dict[str, MessageProgress]:
    """Draw these messages (title by id) until all are finished; their last progress by id.

    An API that is away for some seconds is waited for.
    """
    latest: dict[str, MessageProgress] = {}
    answered_at = time.monotonic()
    while True:
        try:
            for message_id, title in titles.items():
                if message_id not in latest or not latest[message_id].is_finished:
                    latest[message_id] = fetch(message_id)
                    board.show(title, latest[message_id])
            answered_at = time.monotonic()
        except NotReachable:
            if time.monotonic() - answered_at > PATIENCE_SECONDS:
                raise
        else:
            if all(progress.is_finished for progress in latest.values()):
                return latest
        time.sleep(INTERVAL_SECONDS)
