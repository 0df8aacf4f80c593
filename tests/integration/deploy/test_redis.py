"""The embedded Redis: a broker behind a password that keeps nothing."""

import socket
from collections.abc import Iterator

import pytest
import redis

from deploy.embedded import DataDirectory, EmbeddedRedis, choose_port
from tests.processes import is_alive


@pytest.fixture
def server(directory: DataDirectory) -> Iterator[EmbeddedRedis]:
    with EmbeddedRedis(directory) as server:
        yield server


@pytest.fixture
def client(server: EmbeddedRedis) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(server.url) as client:
        yield client


def test_it_refuses_writes_when_full_instead_of_dropping_what_it_holds(client: redis.Redis) -> None:
    assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}


def test_only_the_password_lets_in(server: EmbeddedRedis) -> None:
    url = f"redis://:guess@127.0.0.1:{server.port}/0"
    with redis.Redis.from_url(url) as stranger, pytest.raises(redis.AuthenticationError):
        stranger.ping()


def test_it_comes_back_empty_on_the_same_port(server: EmbeddedRedis, client: redis.Redis) -> None:
    client.set("ring", 1)
    url, process = server.url, server.process_id
    server.stop()
    assert process is not None
    assert not is_alive(process)
    server.start()
    assert server.url == url
    assert client.get("ring") is None


def test_a_port_that_is_taken_is_not_chosen() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert choose_port(port) != port
