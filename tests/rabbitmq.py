"""A real RabbitMQ for tests, from the system's package: on loopback, in a directory of its own, gone with them."""

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from deploy.embedded import choose_ports
from deploy.embedded.child import keep_quiet, spawn, stop
from deploy.embedded.ports import LOOPBACK
from deploy.embedded.server import Server
from tests.directories import new_directory

PROGRAM = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
"""Where packages put it; the one on the PATH is a wrapper that goes on as the user of the system's own server."""

START_SECONDS = 60.0
"""It takes 4 s of CPU."""

GREETING = b"AMQP\x00\x00\x09\x01"


class RabbitMQ:
    """Start, stop and start again on the same port, empty each time."""

    def __init__(self, directory: Path, *, configuration: str = "") -> None:
        """`configuration`: further lines of rabbitmq.conf."""
        self._directory = directory
        self._configuration = configuration
        self._process: subprocess.Popen[bytes] | None = None
        self._port_mapper: subprocess.Popen[bytes] | None = None
        self.port: int | None = None

    @property
    def url(self) -> str:
        assert self.port is not None, "not started"
        return f"amqp://guest:guest@{LOOPBACK}:{self.port}//"

    @property
    def log(self) -> Path:
        return self._directory / "rabbitmq.log"

    @property
    def process_id(self) -> int:
        assert self._process is not None, "not started"
        return self._process.pid

    def start(self) -> None:
        """Returns once it answers. Raises EngineError with its own reason."""
        server = Server("RabbitMQ", self.log, self._spawn, _answers, START_SECONDS, keep_quiet)
        self._process, self.port = server.start(self.port)

    def stop(self, *, at_once: bool = False) -> None:
        """What it held is forgotten. `at_once`: by SIGKILL."""
        for process in (self._process, self._port_mapper):
            if process is not None:
                stop(process, *(() if at_once else ((signal.SIGTERM, 10.0),)))
        self._process = self._port_mapper = None

    def _spawn(self, port: int) -> subprocess.Popen[bytes]:
        """Erlang's port mapper would be started by it, on the machine's one port, and would stay: it gets its own."""
        data = self._directory / "data"
        shutil.rmtree(data, ignore_errors=True)
        data.mkdir(parents=True, mode=0o700)
        (data / "plugins").write_text("[].")
        (data / "rabbitmq.conf").write_text(f"{self._configuration}\n")
        mapper_port, distribution_port = choose_ports(2)
        environment = {
            "PATH": os.defpath,
            "HOME": str(data),  # of Erlang's cookie
            "ERL_EPMD_PORT": str(mapper_port),
            "ERL_EPMD_ADDRESS": LOOPBACK,
            "RABBITMQ_NODENAME": "tidings@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": LOOPBACK,
            "RABBITMQ_NODE_PORT": str(port),
            "RABBITMQ_DIST_PORT": str(distribution_port),
            "RABBITMQ_MNESIA_BASE": str(data),
            "RABBITMQ_LOG_BASE": str(data),
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_CONF_ENV_FILE": str(data / "none"),
            "RABBITMQ_CONFIG_FILE": str(data / "rabbitmq.conf"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(data / "advanced.config"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(data / "plugins"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+sbwt none -kernel inet_dist_use_interface {127,0,0,1}",
            "RUNNING_UNDER_SYSTEMD": "true",  # becomes the server instead of a shell that waits for it
        }
        self._end_port_mapper()
        mapper = [shutil.which("epmd") or "/usr/bin/epmd", "-port", str(mapper_port), "-address", LOOPBACK]
        self._port_mapper = spawn(mapper, log=self.log, environment=environment)
        return spawn([str(PROGRAM)], log=self.log, environment=environment)

    def _end_port_mapper(self) -> None:
        """That of a server that was started before."""
        if self._port_mapper is not None:
            stop(self._port_mapper)


@contextmanager
def running_rabbitmq(*, configuration: str = "") -> Iterator[RabbitMQ]:
    """Skips the test where it is not installed; fails it where .ci/run could have installed it."""
    if not PROGRAM.exists():
        if os.environ.get("REQUIRE_RABBITMQ"):
            pytest.fail(f"{PROGRAM} is missing, though this machine can install rabbitmq-server", pytrace=False)
        pytest.skip("RabbitMQ is not installed (apt-get install rabbitmq-server)")
    directory = new_directory()
    directory.mkdir(mode=0o700)
    server = RabbitMQ(directory, configuration=configuration)
    try:
        server.start()
        yield server
    finally:
        server.stop(at_once=True)
        shutil.rmtree(directory)


@pytest.fixture(scope="session")
def rabbitmq() -> Iterator[RabbitMQ]:
    """One for all tests of this process; a test that stops it starts it again."""
    with running_rabbitmq() as server:
        yield server


def _answers(port: int) -> bool:
    """It listens before it serves; then it answers a greeting with a frame of type 1."""
    try:
        with socket.create_connection((LOOPBACK, port), timeout=1) as connection:
            connection.sendall(GREETING)
            return connection.recv(1) == b"\x01"
    except OSError:
        return False
