"""One Postgres and one Redis for the whole run; an empty, migrated database and broker for each test."""

import base64
import gc
import ipaddress
import os
import secrets
import socket
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any

import psycopg
import pytest
from pydantic import SecretStr

from deploy.embedded import DataDirectory, EmbeddedPostgres, EmbeddedRedis, ports
from shared.settings import Settings, load_settings
from tests.contract.certificates import make_certificates
from tests.directories import new_directory
from tests.rabbitmq import rabbitmq

__all__ = ["rabbitmq"]  # a fixture

TEMPLATE = "tidings_template"

# A test's data need not survive a power cut; and where statistics are a test's matter, nobody else renews them.
UNSAFE_BUT_QUICK = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "autovacuum": "off"}

_numbers = count(1)

if (_worker := os.environ.get("PYTEST_XDIST_WORKER", "gw")[2:]).isdigit():
    # each of the processes chooses its ports from a part of its own, so that none takes what another is about to
    _parts = int(os.environ["PYTEST_XDIST_WORKER_COUNT"])
    ports.RANGE = ports.RANGE[int(_worker) :: _parts]


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Modules that were imported stay: they are not searched for garbage again and again."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.collect()
        gc.freeze()
        gc.enable()


@dataclass(frozen=True, slots=True)
class Engines:
    postgres: EmbeddedPostgres
    redis: EmbeddedRedis


class OutsideTraffic(Exception):  # an event, named for what happened
    """A test tried to reach another machine."""


def _is_local(address: object) -> bool:
    if not isinstance(address, tuple):
        return True  # a Unix socket
    host = str(address[0])
    if host in {"localhost", ""}:
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False  # a name: looking it up would leave the machine


@pytest.fixture(scope="session", autouse=True)
def only_loopback() -> Iterator[None]:
    """No test talks to another machine: not by address, not by looking up a name."""

    def guarded(connect: Callable[..., Any]) -> Callable[..., Any]:
        def check_and_connect(this: socket.socket, address: object) -> Any:
            if not _is_local(address):
                raise OutsideTraffic(str(address))
            return connect(this, address)

        return check_and_connect

    look_up = socket.getaddrinfo

    def check_and_look_up(host: str | bytes | None, *arguments: object, **options: object) -> object:
        name = host.decode() if isinstance(host, bytes) else host
        if name is not None and not _is_local((name,)):
            raise OutsideTraffic(name)
        return look_up(host, *arguments, **options)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", guarded(socket.socket.connect))
        patch.setattr(socket.socket, "connect_ex", guarded(socket.socket.connect_ex))
        patch.setattr(socket, "getaddrinfo", check_and_look_up)
        yield


@pytest.fixture(scope="session", autouse=True)
def no_settings_from_outside() -> Iterator[None]:
    """The developer's own TIDINGS_* variables have no say in a test."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("TIDINGS_")]:
            patch.delenv(name)
        load_settings.cache_clear()
        yield


@pytest.fixture(scope="session", autouse=True)
def one_authority(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The system trusts one certificate authority, which has signed for nobody here, instead of the machine's 150:
    each TLS context reads them all, in 15 ms.
    """
    system = make_certificates(tmp_path_factory.mktemp("system"), "An authority of the system")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(system.ca_file))
        yield


@pytest.fixture(scope="session")
def engines() -> Iterator[Engines]:
    directory = DataDirectory(new_directory())
    with directory:
        try:
            with (
                EmbeddedPostgres(directory, settings=UNSAFE_BUT_QUICK) as postgres,
                EmbeddedRedis(directory) as redis,
            ):
                yield Engines(postgres, redis)
        finally:
            directory.remove()


@pytest.fixture(scope="session")
def migrated_template(engines: Engines) -> str:
    """The name of a database at the newest migration, to be cloned."""
    from shared.db.migrate import upgrade  # noqa: PLC0415  # tests without a database need none of it

    _administer(engines, f"CREATE DATABASE {TEMPLATE}")
    upgrade(engines.postgres.url_of(TEMPLATE))
    return TEMPLATE


@pytest.fixture
def database_url(engines: Engines, migrated_template: str) -> Iterator[str]:
    """A migrated, empty database of this test's own."""
    name = f"test_{next(_numbers)}"
    # FILE_COPY clones in 30 ms of CPU, WAL_LOG in 50
    _administer(engines, f"CREATE DATABASE {name} TEMPLATE {migrated_template} STRATEGY FILE_COPY")
    yield engines.postgres.url_of(name)
    _administer(engines, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def empty_database_url(engines: Engines) -> Iterator[str]:
    """A database without any table, for the migrations themselves."""
    name = f"test_{next(_numbers)}"
    _administer(engines, f"CREATE DATABASE {name}")
    yield engines.postgres.url_of(name)
    _administer(engines, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def broker_url(engines: Engines) -> str:
    """The broker, emptied."""
    import redis  # noqa: PLC0415  # tests without a broker need none of it

    with redis.Redis.from_url(engines.redis.url) as client:
        client.flushall()
    return engines.redis.url


@pytest.fixture
def settings(database_url: str, broker_url: str) -> Settings:
    key = base64.b64encode(secrets.token_bytes(32)).decode()
    return Settings(database_url=database_url, broker_url=broker_url, secret_keys=SecretStr(f"test:{key}"))


def _administer(engines: Engines, statement: str) -> None:
    with psycopg.connect(engines.postgres.url_of("postgres"), autocommit=True) as connection:
        connection.execute(statement.encode())


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the figures that tests recorded: what they measured is worth seeing also when they pass."""
    reports = [report for outcome in ("passed", "failed") for report in terminalreporter.stats.get(outcome, [])]
    figures = [
        f"{report.nodeid.rpartition('::')[2]}: {value}"
        for report in reports
        for name, value in report.user_properties
        if name == "figure"
    ]
    if figures:
        terminalreporter.section("figures")
        for figure in figures:
            terminalreporter.write_line(figure)
