"""An installation whose broker is reached through a proxy, and may be broken in every way: once with Redis, once with
RabbitMQ.
"""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import pytest
import redis
from kombu import Connection

from deploy.embedded import DataDirectory, EmbeddedRedis
from shared.cli.verdict import Verdict
from shared.queue.broker import QUEUE_NAMES
from shared.settings import load_settings
from tests.directories import new_directory
from tests.flow.conftest import VARIABLES, Installation, add_providers, running_installation
from tests.proxy import Proxy, proxied
from tests.rabbitmq import RabbitMQ, running_rabbitmq

LATENCY: dict[str, object] = {"latency_ms": 100}

_numbers = count(1)


@dataclass(frozen=True, slots=True)
class Broker:
    """A real server behind a proxy."""

    kind: str
    server: EmbeddedRedis | RabbitMQ
    proxy: Proxy

    @property
    def url(self) -> str:
        """Through the proxy."""
        assert self.server.port is not None
        return self.server.url.replace(f":{self.server.port}/", f":{self.proxy.port}/")

    def die(self) -> None:
        """By SIGKILL; what it held is forgotten."""
        process_id = self.server.process_id
        assert process_id is not None
        os.kill(process_id, signal.SIGKILL)
        self.server.stop()

    def start(self) -> None:
        self.server.start()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        process_id = self.server.process_id
        assert process_id is not None
        os.kill(process_id, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(process_id, signal.SIGCONT)

    @contextmanager
    def away(self) -> Iterator[None]:
        self.die()
        try:
            yield
        finally:
            self.start()

    def wipe(self) -> None:
        if self.kind == "redis":
            with redis.Redis.from_url(self.server.url) as client:
                client.flushall()
            return
        with Connection(self.server.url) as connection:
            for queue in QUEUE_NAMES:
                connection.default_channel.queue_purge(queue)

    @contextmanager
    def full(self) -> Iterator[None]:
        """Redis alone: it takes no ring any more."""
        with redis.Redis.from_url(self.server.url) as client:
            client.config_set("maxmemory", 1)
            try:
                yield
            finally:
                client.config_set("maxmemory", 0)


@dataclass(slots=True)
class Site:
    """The installation, and people of each test's own to send to."""

    installation: Installation
    broker: Broker

    def campaign(self, recipients: int) -> int:
        """Begin to send to so many; its run."""
        prefix = f"many{next(_numbers)}"
        factory = self.installation.factory
        factory.audience(recipients, channel="push", prefix=prefix)
        factory.subscribe(factory.topic(prefix), prefix=prefix)
        return self.post(topics=[prefix])

    def post(self, **audience: list[str]) -> int:
        """Through the API, which rings; the message's run."""
        message_id = f"message{next(_numbers)}"
        body: dict[str, object] = {"messageId": message_id, "title": message_id, "body": "Hello.", **audience}
        answer = self.installation.call("POST", "/messaging/messages/push", body)
        assert answer.status_code == 201, answer.text
        with self.installation.factory.connect() as connection:
            row = connection.execute("SELECT run FROM messages WHERE id = %s", [message_id]).fetchone()
        assert row is not None
        return int(str(row[0]))

    def person(self) -> str:
        """Somebody of this test's own: the id of the user."""
        prefix = f"one{next(_numbers)}"
        self.installation.factory.audience(1, channel="push", prefix=prefix)
        return f"{prefix}-1"

    def deliver_one(self, *, seconds: float) -> float:
        """Post a message to one person and wait for its end; how long that took."""
        began = time.monotonic()
        run = self.post(users=[self.person()])
        self.installation.await_finish(run, seconds=seconds)
        return time.monotonic() - began

    def finish(self, run: int, *, seconds: float = 30.0) -> Verdict:
        """Wait until it has; nobody is lost and nobody has two copies."""
        self.installation.await_finish(run, seconds=seconds)
        verdict = self.installation.judge(run)
        assert verdict.violations == []
        assert (verdict.sent, verdict.copies) == (verdict.planned, 0)
        return verdict

    def logs(self) -> list[Path]:
        system = self.installation.system
        return [system.supervisor.log_of(role.name) for role in system.roles]


@contextmanager
def _running_redis() -> Iterator[EmbeddedRedis]:
    directory = DataDirectory(new_directory())
    with directory, EmbeddedRedis(directory) as server:
        yield server
        server.stop()
        directory.remove()


@pytest.fixture(scope="package", params=["redis", "rabbitmq"])
def broker(request: pytest.FixtureRequest) -> Iterator[Broker]:
    running = _running_redis() if request.param == "redis" else running_rabbitmq()
    with running as server:
        assert server.port is not None
        with proxied(server.port) as proxy:
            yield Broker(request.param, server, proxy)


@pytest.fixture(scope="package")
def site(broker: Broker) -> Iterator[Site]:
    with ExitStack() as stack:
        with pytest.MonkeyPatch.context() as patch:  # read when it starts, and nobody else's business
            patch.setenv("TIDINGS_BROKER_URL", broker.url)
            load_settings.cache_clear()
            installation = stack.enter_context(running_installation(VARIABLES))
        load_settings.cache_clear()
        add_providers(installation)
        installation.set_faults(fcm=LATENCY)
        yield Site(installation, broker)
