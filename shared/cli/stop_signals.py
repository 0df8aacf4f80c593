"""Ctrl-C, SIGTERM and a closed terminal, turned into an orderly stop."""

import signal
from types import FrameType, TracebackType
from typing import Self

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopRequested(BaseException):
    """Somebody wants this process to end. Not an Exception: nothing but the command's own edge may catch it."""


class StopSignals:
    """While open, the first signal raises StopRequested wherever the main thread is; a later one only says `hurry`.

    So what starts can be interrupted at any point, and what stops cannot.
    """

    def __init__(self) -> None:
        self._received = 0
        self._before: dict[signal.Signals, object] = {}

    @property
    def hurry(self) -> bool:
        return self._received > 1

    def only_hurry(self) -> None:
        """From now on no signal raises: everything is being stopped already."""
        self._received = max(self._received, 1)

    def __enter__(self) -> Self:
        for number in SIGNALS:
            self._before[number] = signal.signal(number, self._receive)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)  # type: ignore[arg-type]  # what signal.signal gave us

    def _receive(self, _number: int, _frame: FrameType | None) -> None:
        self._received += 1
        if self._received == 1:
            raise StopRequested
