"""Both brokers behind a network that breaks: nobody waits without end, no ring is lost for good, and all is said."""

import logging
import re
import time
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from kombu import Connection
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from shared.errors import NotReachable
from shared.queue import rings, transports
from shared.queue.probe import probe_broker
from shared.queue.rings import MAX_DEPTH, Ringer
from shared.settings import Settings
from tests.conftest import Engines
from tests.contract.certificates import Certificates, make_certificates
from tests.processes import wait_until
from tests.proxy import Proxy, proxied, silent_server
from tests.rabbitmq import RabbitMQ

QUEUE = "push.fcm.bulk"
OTHER = "email.smtp.bulk"
LOST, FOUND = "broker does not answer, rings are late", "broker answers again"
TIMEOUT_SECONDS = 0.5

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Broker:
    """A server that answers, the proxy before it, and a line past the proxy."""

    kind: str
    url: str
    proxy: Proxy
    beside: Connection

    def settings(self, *, port: int | None = None, tls: bool = False) -> Settings:
        """To reach it through the proxy, or what listens on `port`."""
        url = re.sub(r"@127.0.0.1:\d+", f"@127.0.0.1:{port or self.proxy.port}", self.url)
        return Settings(broker_url=url.replace("://", "s://", 1) if tls else url)

    def depth(self, queue: str = QUEUE) -> int:
        channel = self.beside.default_channel
        return int(channel.queue_declare(queue=queue, durable=True, auto_delete=False).message_count)


@pytest.fixture(params=["redis", "rabbitmq"])
def broker(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Broker]:
    """Emptied. Waits are short, so that those that are in vain do not make these tests long."""
    monkeypatch.setattr(transports, "TIMEOUT_SECONDS", TIMEOUT_SECONDS)
    monkeypatch.setitem(transports.AMQP_OPTIONS, "connect_timeout", TIMEOUT_SECONDS)
    for name in ("socket_timeout", "socket_connect_timeout"):
        monkeypatch.setitem(transports.REDIS_OPTIONS, name, TIMEOUT_SECONDS)
    monkeypatch.setattr(rings, "LOOK_SECONDS", 0.3)
    monkeypatch.setattr(rings, "WATCH_SECONDS", 0.05)
    monkeypatch.setattr(rings, "SILENT_SECONDS", 0.2)
    monkeypatch.setattr(rings, "PAUSE_AFTER_FAILURE_SECONDS", 0.1)
    if request.param == "redis":
        engines: Engines = request.getfixturevalue("engines")
        url, port = engines.redis.url, engines.redis.port
    else:
        server: RabbitMQ = request.getfixturevalue("rabbitmq")
        url, port = server.url, server.port
    assert port is not None
    with proxied(port) as proxy, Connection(url) as beside:
        if request.param == "redis":
            beside.default_channel.client.flushall()
        else:
            for queue in (QUEUE, OTHER):
                beside.default_channel.queue_delete(queue)
        yield Broker(request.param, url, proxy, beside)


@contextmanager
def _ringing(settings: Settings) -> Iterator[Ringer]:
    ringer = Ringer(settings)
    ringer.start()
    try:
        yield ringer
    finally:
        ringer.stop()


@pytest.fixture
def said() -> Iterator[list[MutableMapping[str, Any]]]:
    """What was logged."""
    with capture_logs() as entries:
        yield entries


def _events(said: list[MutableMapping[str, Any]]) -> list[str]:
    return [entry["event"] for entry in said]


def _silent_seconds() -> float:
    return REGISTRY.get_sample_value("tidings_ringer_silent_seconds") or 0.0


def test_rings_pass_a_line_that_was_left_half_open(broker: Broker, said: list[MutableMapping[str, Any]]) -> None:
    with _ringing(broker.settings()) as ringer:
        ringer.ring(QUEUE)
        wait_until(lambda: broker.depth() >= 1)
        assert broker.proxy.leave_half_open()

        ringer.ring(QUEUE, 3)
        wait_until(lambda: _silent_seconds() > 0)
        wait_until(lambda: broker.depth() >= 3, seconds=20 * TIMEOUT_SECONDS)

        wait_until(lambda: ringer.silent_seconds == _silent_seconds() == 0)
    assert _events(said) == [LOST, FOUND]


def test_a_dead_line_is_noticed_before_there_is_anything_to_ring(
    broker: Broker, said: list[MutableMapping[str, Any]]
) -> None:
    with _ringing(broker.settings()) as ringer:
        ringer.ring(QUEUE)
        wait_until(lambda: broker.depth() >= 1)
        before = broker.proxy.connections
        broker.proxy.leave_half_open()

        wait_until(lambda: FOUND in _events(said), seconds=20 * TIMEOUT_SECONDS)

        assert broker.proxy.connections > before
    assert _events(said) == [LOST, FOUND]


def test_rings_that_met_a_broker_without_a_word_are_rung_when_it_speaks(
    broker: Broker, said: list[MutableMapping[str, Any]]
) -> None:
    with silent_server() as port, _ringing(broker.settings(port=port)) as ringer:
        for _ in range(3):
            ringer.ring(QUEUE, 2)
            wait_until(lambda: ringer.silent_seconds > 0)
        wait_until(lambda: _events(said) == [LOST])
        assert ringer._wanted or ringer._taken
    assert _events(said) == [LOST]  # once, whatever the number of tries


def test_a_ringer_that_hangs_is_seen_and_replaced(
    broker: Broker, said: list[MutableMapping[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bytes come one by one, so that no wait for the next one is ever too long."""
    monkeypatch.setattr(rings, "LONGEST_ROUND_SECONDS", 1.0)
    with _ringing(broker.settings()) as ringer:
        ringer.ring(QUEUE)
        wait_until(lambda: broker.depth() >= 1)
        broker.proxy.drip()

        ringer.ring(QUEUE, 4)
        wait_until(lambda: _silent_seconds() > 0.5)
        wait_until(lambda: broker.depth() >= 4)
        wait_until(lambda: FOUND in _events(said))

    assert _events(said) == [LOST, "ringer hangs, another takes its place", FOUND]


def test_a_queue_that_the_broker_refuses_holds_up_no_other(
    broker: Broker, said: list[MutableMapping[str, Any]]
) -> None:
    channel = broker.beside.default_channel
    if broker.kind == "redis":
        channel.client.set(OTHER, "not a list")
    else:
        channel.queue_declare(queue=OTHER, durable=True, auto_delete=False, arguments={"x-max-length": 5})

    with _ringing(broker.settings()) as ringer:
        for count in (1, 2):
            ringer.ring(OTHER)
            ringer.ring(QUEUE)
            wait_until(lambda: broker.depth() >= count)  # noqa: B023  # waited for at once

        assert ringer.silent_seconds == 0
    assert [(entry["event"], entry["queue"]) for entry in said] == [("ring refused by the broker", OTHER)]


def test_a_stop_does_not_wait_for_a_broker_that_hangs(broker: Broker) -> None:
    with silent_server() as port:
        ringer = Ringer(broker.settings(port=port))
        ringer.start()
        ringer.ring(QUEUE)
        wait_until(lambda: ringer.silent_seconds > 0)
        began = time.monotonic()
        ringer.stop()
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("tls", [False, True])
def test_a_look_at_a_broker_that_says_nothing_ends(
    broker: Broker,
    tls: bool,  # noqa: FBT001  # a parameter of the test
) -> None:
    with silent_server() as port, pytest.raises(NotReachable, match=f"127.0.0.1:{port}"):
        probe_broker(broker.settings(port=port, tls=tls))


def test_a_login_that_is_refused_is_a_broker_that_cannot_be_used(broker: Broker) -> None:
    url = re.sub(r"://[^@]*@", "://guest:wrong@", broker.url)
    with pytest.raises(NotReachable, match="cannot be used"):
        probe_broker(Settings(broker_url=url))


def test_rings_that_nobody_hears_expire_by_rabbitmq_s_clock(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    if broker.kind != "rabbitmq":
        pytest.skip("Redis keeps them")
    monkeypatch.setattr(rings, "RING_EXPIRES_SECONDS", 1)
    with _ringing(broker.settings()) as ringer:
        ringer.ring(QUEUE, MAX_DEPTH)
        wait_until(lambda: broker.depth() == MAX_DEPTH)
        wait_until(lambda: broker.depth() == 0)
        ringer.ring(QUEUE, 100)
        wait_until(lambda: broker.depth() == MAX_DEPTH)
    assert broker.beside.default_channel.queue_purge(QUEUE) == MAX_DEPTH


def test_a_virtual_host_that_does_not_exist_is_a_broker_that_cannot_be_used(rabbitmq: RabbitMQ) -> None:
    with pytest.raises(NotReachable, match="vhost nowhere not found"):
        probe_broker(Settings(broker_url=rabbitmq.url.removesuffix("//") + "/nowhere"))


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("broker"))


def test_under_tls_a_broker_whose_certificate_nobody_signed_is_refused(
    broker: Broker, certificates: Certificates
) -> None:
    port = int(broker.proxy._target_port)
    with (
        proxied(port, tls=certificates.server_context()) as proxy,
        pytest.raises(NotReachable, match="certificate verify failed"),
    ):
        probe_broker(broker.settings(port=proxy.port, tls=True))


def test_under_tls_rings_pass_a_line_that_was_left_half_open(broker: Broker, certificates: Certificates) -> None:
    with proxied(broker.proxy._target_port, tls=certificates.server_context()) as proxy:
        url = broker.settings(port=proxy.port, tls=True).require_broker_url()
        settings = Settings(broker_url=f"{url}?ssl_ca_certs={certificates.ca_file}")
        assert probe_broker(settings).version
        with _ringing(settings) as ringer:
            ringer.ring(QUEUE)
            wait_until(lambda: broker.depth() >= 1)
            proxy.leave_half_open()

            ringer.ring(QUEUE, 3)
            wait_until(lambda: broker.depth() >= 3, seconds=20 * TIMEOUT_SECONDS)
