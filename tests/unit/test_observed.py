"""/metrics, /live and /ready of roles without an API, asked as probes and Prometheus ask."""

import http.client
import socket
import struct
from collections.abc import Callable, Iterator
from http.server import ThreadingHTTPServer

import pytest
from prometheus_client import CollectorRegistry, Counter
from structlog.testing import capture_logs

from deploy.embedded import choose_port
from shared import observed
from shared.errors import ConfigurationError
from shared.observed import serve_observations
from shared.settings import Settings
from tests.processes import wait_until


def _has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


SIXTH = pytest.param("::1", marks=pytest.mark.skipif(not _has_ipv6(), reason="no IPv6 on this machine"))


class Role:
    """Ready or not, as the test has it."""

    def __init__(self, host: str) -> None:
        self.host = host
        self.is_ready = True
        self.registry = CollectorRegistry()
        Counter("asked", "How often", registry=self.registry).inc(3)
        self.settings = Settings(host=host, metrics_port=choose_port())
        server = serve_observations(self.settings, is_ready=lambda: self.is_ready, registry=self.registry)
        assert server is not None
        self.server: ThreadingHTTPServer = server

    def connect(self) -> socket.socket:
        assert self.settings.metrics_port
        return socket.create_connection((self.host, self.settings.metrics_port), timeout=10)

    def ask(self, path: str) -> tuple[int, str]:
        connection = http.client.HTTPConnection(self.host, self.settings.metrics_port, timeout=10)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()


@pytest.fixture
def start() -> Iterator[Callable[[str], Role]]:
    started: list[Role] = []

    def start(host: str) -> Role:
        started.append(Role(host))
        return started[-1]

    yield start
    for role in started:
        role.server.shutdown()
        role.server.server_close()


@pytest.mark.parametrize("host", ["127.0.0.1", SIXTH])
def test_a_role_that_is_not_ready_is_still_alive_and_counted(start: Callable[[str], Role], host: str) -> None:
    role = start(host)
    assert (role.ask("/live"), role.ask("/ready")) == ((200, "live\n"), (200, "ready\n"))

    role.is_ready = False

    assert (role.ask("/live"), role.ask("/ready")) == ((200, "live\n"), (503, "not ready\n"))
    for path in ("/metrics", "/metrics?from=prometheus"):
        status, text = role.ask(path)
        assert status == 200
        assert "asked_total 3.0" in text
    assert role.ask("/elsewhere")[0] == 404


def test_a_scrape_that_breaks_off_is_a_line_in_the_log(
    start: Callable[[str], Role], capfd: pytest.CaptureFixture[str]
) -> None:
    role = start("127.0.0.1")
    with capture_logs() as lines:
        with role.connect() as connection:
            connection.sendall(b"GET /metrics HTTP/1.0\r\n")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        wait_until(lambda: bool(lines))

    assert [line["event"] for line in lines] == ["observations not served"]
    assert capfd.readouterr().err == ""


def test_a_client_that_says_nothing_is_let_go(start: Callable[[str], Role], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(observed, "SILENCE_SECONDS", 0.05)
    with start("127.0.0.1").connect() as connection:
        assert connection.recv(1) == b""


def test_a_port_in_use_says_so(start: Callable[[str], Role]) -> None:
    taken = start("127.0.0.1").settings
    with pytest.raises(ConfigurationError, match=f"Port {taken.metrics_port} of 127.0.0.1 cannot be opened"):
        serve_observations(taken, is_ready=lambda: True)


def test_without_a_port_nothing_is_served() -> None:
    assert serve_observations(Settings(metrics_port=None), is_ready=lambda: True) is None
