"""The record: what the providers accepted, one JSON line per recipient copy; the oracle of the fault tests.

A message counts as accepted when a provider decided so, whether or not its reply arrives. The line is written
before any reply leaves, so whoever was told "accepted" finds it on file, also after a SIGKILL of the simulator.
"""

import asyncio
import json
import os
import time
from collections import Counter, defaultdict, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from shared.errors import ConfigurationError
from shared.simulator.seen import SeenSet

FLUSH_SECONDS = 0.05
"""Lines whose reply is withheld are on file after so long at the latest."""

KEPT_ENTRIES = 50_000
"""Entries that lists and searches look through; counts and the file know them all."""

TITLE_CHARACTERS = 200
"""So much of a title they keep; a text message is its own title."""

_encode = json.JSONEncoder(separators=(",", ":")).encode


@dataclass(frozen=True, slots=True)
class Capture:
    """One message to one recipient, as a provider accepted it."""

    provider: str
    recipient: str  # the address, number or token
    message: str  # the provider's id of it; for mail the Message-ID
    key: str  # equal in two captures that are copies of each other
    title: str
    outcome: str = "accepted"  # or the fault that followed the acceptance
    delivery: str | None = None  # the sender's own reference, where the request carried one
    content: Mapping[str, Any] = field(default_factory=dict)  # further fields of the line, JSON values


@dataclass(frozen=True, slots=True)
class Entry:
    """Where a capture is on file, and what lists show of it."""

    n: int
    at: float  # Unix seconds
    provider: str
    recipient: str
    message: str
    title: str
    is_copy: bool  # not the first with its recipient and key
    offset: int  # bytes from the file's start
    length: int


@dataclass(slots=True)
class Tally:
    """What one provider did since the record was last cleared."""

    captured: int = 0  # lines on record
    recipients: int = 0  # different ones
    copies: int = 0  # captures beyond the first of their recipient and key
    outcomes: Counter[str] = field(default_factory=Counter)  # refusals and faults too, which no line records

    def describe(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("captured", "recipients", "copies", "outcomes")}


class Record:
    """One writer per file: the simulator holds the directory's lock."""

    def __init__(self, path: Path) -> None:
        """Go on where the file ends. Lines are read again, so that counts and copies stay exact."""
        self.path = path
        self.n = _last_number_put_aside(path)
        self._entries: deque[Entry] = deque(maxlen=KEPT_ENTRIES)
        self._pending: list[bytes] = []
        self._flush_timer: asyncio.TimerHandle | None = None
        self._forget()
        self._open()
        try:
            for line, offset in _lines_of(path):
                self._enter(json.loads(line), offset, len(line))
                self._size = offset + len(line)
        except (ValueError, KeyError, TypeError) as error:
            os.close(self._file)
            raise ConfigurationError(
                f"{path} holds a line that is no record, at byte {self._size}.",
                hint="Move the file away; the simulator starts a new one.",
            ) from error
        os.ftruncate(self._file, self._size)  # a line cut short by a kill was never promised to anyone

    def append(self, capture: Capture) -> int:
        """Put it on record; its number. Numbers only grow, also over restarts and `clear`."""
        line: dict[str, Any] = {
            "n": self.n + 1,
            "at": round(time.time(), 3),
            "provider": capture.provider,
            "recipient": capture.recipient,
            "message": capture.message,
            "key": capture.key,
            "delivery": capture.delivery,
            "outcome": capture.outcome,
            "title": capture.title,
            **capture.content,
        }
        encoded = _encode(line).encode() + b"\n"
        self._enter(line, self._size, len(encoded))
        self._size += len(encoded)
        self._pending.append(encoded)
        if self._flush_timer is None:
            self._flush_timer = asyncio.get_running_loop().call_later(FLUSH_SECONDS, self.flush)
        return self.n

    def count(self, provider: str, outcome: str) -> None:
        """Count what leaves no line: a refusal, or a fault before acceptance."""
        self.tallies[provider].outcomes[outcome] += 1

    def flush(self) -> None:
        """Write what is pending; free when nothing is."""
        if self._flush_timer is not None:
            self._flush_timer.cancel()
            self._flush_timer = None
        if self._pending:
            data = b"".join(self._pending)
            self._pending.clear()
            while data:
                data = data[os.write(self._file, data) :]

    def copies(self, provider: str, recipient: str, key: str) -> int:
        """How often this recipient got the message: 0, 1 or more."""
        fingerprint = hash((provider, recipient, key))
        return self._repeats.get(fingerprint, 1) if fingerprint in self._seen_captures else 0

    def entries(self) -> Iterator[Entry]:
        """The kept ones, newest first."""
        return reversed(self._entries)

    def read(self, n: int) -> dict[str, Any] | None:
        """The whole line of a kept entry."""
        index = n - self._entries[0].n if self._entries else -1
        if not 0 <= index < len(self._entries):
            return None
        self.flush()
        entry = self._entries[index]
        line: dict[str, Any] = json.loads(os.pread(self._file, entry.length, entry.offset))
        return line

    def clear(self) -> None:
        """Forget everything and start a new file; the old one stays beside it as record-<last n>.jsonl."""
        self.close()
        if self._size:
            self.path.rename(self.path.with_name(f"{self.path.stem}-{self.n}{self.path.suffix}"))
        self._entries.clear()
        self._forget()
        self._open()

    def close(self) -> None:
        self.flush()
        os.close(self._file)

    def _open(self) -> None:
        self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        self._size = 0

    def _forget(self) -> None:
        self.tallies: defaultdict[str, Tally] = defaultdict(Tally)
        self._seen_captures = SeenSet()
        self._seen_recipients = SeenSet()
        self._repeats: dict[int, int] = {}  # fingerprint -> captures, of those captured more than once

    def _enter(self, line: Mapping[str, Any], offset: int, length: int) -> None:
        self.n = line["n"]
        provider, recipient, title = line["provider"], line["recipient"], line["title"][:TITLE_CHARACTERS]
        tally = self.tallies[provider]
        tally.captured += 1
        tally.outcomes[line["outcome"]] += 1
        tally.recipients += self._seen_recipients.add(hash((provider, recipient)))
        fingerprint = hash((provider, recipient, line["key"]))
        is_copy = not self._seen_captures.add(fingerprint)
        if is_copy:
            tally.copies += 1
            self._repeats[fingerprint] = self._repeats.get(fingerprint, 1) + 1
        self._entries.append(
            Entry(self.n, line["at"], provider, recipient, line["message"], title, is_copy, offset, length)
        )


def _lines_of(path: Path) -> Iterator[tuple[bytes, int]]:
    """The complete lines, each with its offset."""
    offset = 0
    with path.open("rb") as file:
        for line in file:
            if line.endswith(b"\n"):
                yield line, offset
            offset += len(line)


def _last_number_put_aside(path: Path) -> int:
    endings = (aside.stem.rpartition("-")[2] for aside in path.parent.glob(f"{path.stem}-*{path.suffix}"))
    return max((int(ending) for ending in endings if ending.isdecimal()), default=0)
