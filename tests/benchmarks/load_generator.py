"""Sends one request over and over on kept connections, in a process of its own, and prints what came back as JSON.

Plain asyncio streams and a request rendered once: 31 microseconds of CPU a request, and 18,700 a second against a
server that does nothing. So the API is what is measured.
"""

import asyncio
import json
import subprocess
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any

from tests.benchmarks.figures import WrongResult, quantile

WARM_UP_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Load:
    """What to send; travels to the generator's process as JSON on standard input."""

    address: str  # host:port
    path: str
    headers: dict[str, str]
    body: dict[str, Any] | None  # None: a GET
    connections: int
    seconds: float

    def request(self) -> bytes:
        method = "GET" if self.body is None else "POST"
        body = b"" if self.body is None else json.dumps(self.body).encode()
        headers = {
            "Host": self.address,
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
            **self.headers,
        }
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        return f"{method} {self.path} HTTP/1.1\r\n{head}\r\n".encode() + body

    def run(self) -> "Answered":
        """In a process of its own, so that what it burns is not counted for whoever asks."""
        done = subprocess.run(
            [sys.executable, "-m", "tests.benchmarks.load_generator"],
            input=json.dumps(asdict(self)),
            capture_output=True,
            text=True,
            check=True,
        )
        return Answered(**json.loads(done.stdout))


@dataclass(frozen=True, slots=True)
class Answered:
    """What came back after the warm-up."""

    seconds: float
    statuses: dict[str, int]  # how often each came; "lost": the connection ended instead
    p50_ms: float
    p99_ms: float

    def times(self, status: str) -> int:
        """How often `status` came. Raises WrongResult where something else did."""
        if set(self.statuses) != {status}:
            raise WrongResult(f"the API answered other than {status}: {self.statuses}")
        return self.statuses[status]


@dataclass(slots=True)
class _Tally:
    measured_from: float
    until: float
    statuses: Counter[str] = field(default_factory=Counter)
    milliseconds: list[float] = field(default_factory=list)


async def _call_over_and_over(load: Load, request: bytes, tally: _Tally) -> None:
    reader, writer = await asyncio.open_connection(*load.address.split(":"))
    while (sent_at := time.perf_counter()) < tally.until:
        writer.write(request)
        try:
            status = await _read_status(reader)
        except (asyncio.IncompleteReadError, ConnectionError):
            status = "lost"
            reader, writer = await asyncio.open_connection(*load.address.split(":"))
        if sent_at >= tally.measured_from:
            tally.statuses[status] += 1
            tally.milliseconds.append((time.perf_counter() - sent_at) * 1000)
    writer.close()


async def _read_status(reader: asyncio.StreamReader) -> str:
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(
        int(line.partition(b":")[2]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")
    )
    await reader.readexactly(length)
    return head.split(b" ", 2)[1].decode()


async def generate(load: Load) -> Answered:
    started = time.perf_counter()
    tally = _Tally(started + WARM_UP_SECONDS, started + WARM_UP_SECONDS + load.seconds)
    request = load.request()
    await asyncio.gather(*(_call_over_and_over(load, request, tally) for _ in range(load.connections)))
    seconds = time.perf_counter() - tally.measured_from
    times = tally.milliseconds
    return Answered(seconds, dict(tally.statuses), quantile(times, 0.5), quantile(times, 0.99))


def main() -> None:
    print(json.dumps(asdict(asyncio.run(generate(Load(**json.load(sys.stdin)))))))


if __name__ == "__main__":
    main()
