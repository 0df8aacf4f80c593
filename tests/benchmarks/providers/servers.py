"""The providers' side at one latency: a server for each provider, all on loopback."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from deploy.embedded import choose_port, spawn, stop
from tests.benchmarks.providers.cases import ProviderCase
from tests.benchmarks.sinks import SinkPrograms, await_port, counted_by_http, counted_by_smtp


@dataclass(frozen=True, slots=True)
class ProviderServer:
    origin: str  # "https://127.0.0.1:8443", "smtp://127.0.0.1:2525"
    ca_file: Path
    pid: int

    def accepted_total(self, counted: str) -> int:
        """How many recipients it has taken by that name since it started."""
        scheme, _, place = self.origin.partition("://")
        if scheme == "smtp":
            return counted_by_smtp(int(place.partition(":")[2]))[counted]
        return counted_by_http(self.origin, self.ca_file).get(counted, 0)


def _command(name: str, programs: SinkPrograms, port: int, latency_ms: int) -> tuple[str, list[str]]:
    """The scheme it speaks, and how it is started."""
    directory = str(programs.directory)
    sink = ["--port", str(port), "--latency-ms", str(latency_ms)]
    match name:
        case "http2sink":
            return "https", [str(programs.program("httpsink")), *sink, "--tls", directory]
        case "http1sink":
            return "https", [str(programs.program("http1sink")), *sink, "--tls", directory]
        case "smtpsink":
            return "smtp", [str(programs.program("smtpsink")), *sink]
        case _:
            module = [sys.executable, "-m", "tests.benchmarks.batch_server"]
            return "https", [*module, str(port), directory, str(latency_ms)]


@contextmanager
def running_provider_servers(
    cases: Sequence[ProviderCase], programs: SinkPrograms, *, latency_ms: int
) -> Iterator[Mapping[str, ProviderServer]]:
    """By kind; each answers a call `latency_ms` after it came, until the block ends.

    None serves two, as the transport has one pool for an origin, of the size that the first to ask wanted.
    """
    processes = []
    servers: dict[str, ProviderServer] = {}
    try:
        for case in cases:
            port = choose_port()
            scheme, command = _command(case.server, programs, port, latency_ms)
            process = spawn(command, log=programs.directory / f"{case.kind}.log", environment={})
            processes.append(process)
            servers[case.kind] = ProviderServer(f"{scheme}://127.0.0.1:{port}", programs.ca_file, process.pid)
            await_port(port)
        yield servers
    finally:
        for process in processes:
            stop(process)
