"""The providers' side of the measurements: servers in C, so that the other end is not the limit."""

import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import requests

from deploy.embedded import choose_port, spawn, stop
from shared.domain.status import Channel
from tests.benchmarks.figures import NotMeasured

PACKAGES = "apt-get install gcc libnghttp2-dev libssl-dev openssl"
HTTP_LIBRARIES = ("-lnghttp2", "-lssl", "-lcrypto")
PROGRAMS = {  # what it is made of: source, further arguments
    "httpsink": ("httpsink.c", *HTTP_LIBRARIES),
    "http1sink": ("httpsink.c", "-include", str(Path(__file__).with_name("http1_only.h")), *HTTP_LIBRARIES),
    "smtpsink": ("smtpsink.c", "-lssl", "-lcrypto"),
}


@dataclass(frozen=True, slots=True)
class SinkPrograms:
    """The compiled servers and the throw-away authority that signed their certificate."""

    directory: Path

    @property
    def ca_file(self) -> Path:
        return self.directory / "ca.crt"

    def program(self, name: str) -> Path:
        return self.directory / name


def build_sinks(sources: Path, into: Path) -> SinkPrograms:
    """Compile the sinks and make their certificates. Raises NotMeasured naming what is missing."""
    if not (sources / "httpsink.c").exists():
        raise NotMeasured(f"the sinks' sources are not in {sources}; name their directory with TIDINGS_SINKS")
    for tool in ("cc", "openssl"):
        if shutil.which(tool) is None:
            raise NotMeasured(f"the sinks are written in C and need {tool}, which is missing here ({PACKAGES})")
    into.mkdir()
    for name, (source, *arguments) in PROGRAMS.items():
        _run("cc", "-O2", "-o", str(into / name), str(sources / source), *arguments)
    _run("sh", str(sources / "certs.sh"), str(into))
    return SinkPrograms(into)


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if "error" in line] or [f"{command[0]} failed"]
        raise NotMeasured(f"the sinks could not be built: {errors[0]} ({PACKAGES})")


@dataclass(frozen=True, slots=True)
class Sinks:
    """An FCM and an SMTP server of one latency, listening on loopback."""

    fcm_port: int
    smtp_port: int
    ca_file: Path

    @property
    def fcm_url(self) -> str:
        return f"https://127.0.0.1:{self.fcm_port}"

    def accepted_total(self, channel: Channel) -> int:
        """How many messages this channel's server has accepted since it started."""
        if channel is Channel.PUSH:
            return counted_by_http(self.fcm_url, self.ca_file).get("fcm", 0)
        return counted_by_smtp(self.smtp_port)["messages"]


def counted_by_http(origin: str, ca_file: Path) -> dict[str, int]:
    """Requests by the provider they were for; those that none was for are absent."""
    counts: dict[str, int] = requests.get(f"{origin}/stats", verify=str(ca_file), timeout=5).json()
    return counts


def counted_by_smtp(port: int) -> dict[str, int]:
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        lines = connection.makefile("rwb")
        lines.readline()  # the greeting
        lines.write(b"XSTATS\r\n")
        lines.flush()
        counts: dict[str, int] = json.loads(lines.readline().removeprefix(b"250 "))
        return counts


@contextmanager
def running_sinks(programs: SinkPrograms, *, latency_ms: int) -> Iterator[Sinks]:
    """Both servers, answering each message `latency_ms` after it came, until the block ends."""
    sinks = Sinks(choose_port(), choose_port(), programs.ca_file)
    options = {
        "httpsink": ("--port", str(sinks.fcm_port), "--tls", str(programs.directory)),
        "smtpsink": ("--port", str(sinks.smtp_port)),
    }
    processes = [
        spawn(
            [str(programs.program(name)), *arguments, "--latency-ms", str(latency_ms)],
            log=programs.directory / f"{name}.log",
            environment={},
        )
        for name, arguments in options.items()
    ]
    try:
        for port in (sinks.fcm_port, sinks.smtp_port):
            await_port(port)
        yield sinks
    finally:
        for process in processes:
            stop(process)


def await_port(port: int) -> None:
    for _ in range(500):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except ConnectionRefusedError:
            time.sleep(0.01)
        else:
            return
    raise NotMeasured(f"a sink does not listen on port {port}")
