"""Messages at a steady rate, each with a number of its own in its words, and when the provider had them."""

import json
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import IO, Any

from tests.benchmarks.figures import WrongResult, quantile
from tests.benchmarks.neighbours.installation import CIRCLE, Account

CAP_SECONDS = 40.0
"""How long a message is waited for; above the longest time that any call may take by itself."""

CALLERS = 48
"""Calls of the API that may wait at once; a message is timed from when it was due, not from when a caller was free."""

_MARK = "neighbour-"
_numbers = count(1)


@dataclass(frozen=True, slots=True)
class Stream:
    """Messages of one sort to one account."""

    account: Account
    per_second: float
    is_bulk: bool = False  # to a circle of people, and done when the last of them has it
    is_measured: bool = True  # False: it is part of the trouble
    content: Mapping[str, Any] = field(default_factory=dict, hash=False)  # takes the place of the usual one

    @property
    def label(self) -> str:
        return f"{self.account.kind}/{self.account.owner}"


@dataclass(slots=True)
class Sample:
    stream: Stream
    words: str
    due_at: float  # Unix seconds
    answer: str = ""  # what the API said where it was no 201
    captured_at: float | None = None  # Unix seconds; None: not within CAP_SECONDS

    @property
    def seconds(self) -> float:
        return CAP_SECONDS if self.captured_at is None else max(0.0, self.captured_at - self.due_at)


@dataclass(slots=True)
class Oracle:
    """Follows the simulators' records."""

    records: Sequence[Path]
    _captured: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))  # words -> Unix seconds
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def watching(self) -> Iterator[None]:
        stop = threading.Event()
        thread = threading.Thread(target=self._follow, args=(stop,), name="oracle")
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def captured_at(self, words: str, copies: int) -> float | None:
        """When so many had it; None: not yet."""
        with self._lock:
            times = self._captured.get(words, [])
            return sorted(times)[copies - 1] if len(times) >= copies else None

    def _follow(self, stop: threading.Event) -> None:
        files = [record.open("rb") for record in self.records]
        rests = [b""] * len(files)
        while not stop.wait(0.01):
            for place, file in enumerate(files):
                rests[place] = self._read(file, rests[place])
        for file in files:
            file.close()

    def _read(self, file: IO[bytes], rest: bytes) -> bytes:
        """Take whole lines; what is left of the last one."""
        *lines, rest = (rest + file.read()).split(b"\n")
        for line in lines:
            entry = json.loads(line)
            if entry["title"].startswith(_MARK):
                with self._lock:
                    self._captured[entry["title"]].append(entry["at"])
        return rest


class Traffic:
    """Sends streams side by side for a while."""

    def __init__(self, oracle: Oracle) -> None:
        self._oracle = oracle
        self.breakdowns: list[str] = []  # what the API said to part of a trouble that was neither a 2xx nor a 4xx
        self._callers = ThreadPoolExecutor(CALLERS, thread_name_prefix="caller")

    def close(self) -> None:
        self._callers.shutdown(wait=True, cancel_futures=True)

    def run(self, streams: Sequence[Stream], seconds: float) -> list[Sample]:
        """What was sent meanwhile and is to be measured; some of it may still be on its way."""
        began = time.time()
        times = sorted(
            (began + (number + (place + 0.5) / len(streams)) / stream.per_second, place)
            for place, stream in enumerate(streams)
            for number in range(max(1, round(seconds * stream.per_second)))
        )
        samples = []
        for due_at, place in times:
            time.sleep(max(0.0, due_at - time.time()))
            sample = Sample(streams[place], f"{_MARK}{next(_numbers)}", due_at)
            if sample.stream.is_measured:
                samples.append(sample)
            self._callers.submit(self._send, sample)
        time.sleep(max(0.0, began + seconds - time.time()))
        return samples

    def await_captures(self, samples: Sequence[Sample]) -> None:
        """Until all are captured, or CAP_SECONDS after they were due. Raises WrongResult for what the API refused."""
        waiting = list(samples)
        while waiting:
            for sample in waiting:
                sample.captured_at = self._oracle.captured_at(sample.words, CIRCLE if sample.stream.is_bulk else 1)
                if sample.answer:
                    raise WrongResult(f"a neighbour's message was refused ({sample.stream.label}): {sample.answer}")
            now = time.time()
            waiting = [one for one in waiting if one.captured_at is None and now < one.due_at + CAP_SECONDS]
            time.sleep(0.01 if waiting else 0)

    def _send(self, sample: Sample) -> None:
        account = sample.stream.account
        whom: Mapping[str, Sequence[str]] = (
            {"topics": [account.circle]} if sample.stream.is_bulk else {"targets": [account.person()]}
        )
        try:
            answer = account.send(sample.words, whom=whom, **sample.stream.content)
        except OSError as error:  # requests' errors are
            sample.answer = str(error)
        else:
            sample.answer = "" if answer.ok else f"{answer.status_code} {answer.text[:200]}"
            if answer.ok or answer.status_code < 500:
                return
        self.breakdowns.append(f"{sample.stream.label}: {sample.answer}")


@dataclass(frozen=True, slots=True)
class Spread:
    """How long messages took, in seconds."""

    values: tuple[float, ...]

    @property
    def p50(self) -> float:
        return quantile(self.values, 0.5)

    @property
    def p95(self) -> float:
        return quantile(self.values, 0.95)


def spread_of(samples: Sequence[Sample]) -> Spread:
    return Spread(tuple(sample.seconds for sample in samples))
