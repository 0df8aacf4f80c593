"""The API over a database of its own, its served description, and a project with one of everything."""

import base64
import secrets
from collections.abc import Iterator

import psycopg
import pytest
from pydantic import SecretStr

from shared.settings import Settings
from tests.conftest import Engines
from tests.fuzz.formats import LARGEST_FILE
from tests.fuzz.project import Project
from tests.fuzz.run import Effort
from tests.integration.api.conftest import RunningApi, make_caller, run_api

SEED = 1
"""Of `make test`, which makes the same requests every time."""

EXAMPLES = 3
"""Random requests to each operation by each kind of caller."""


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("fuzz")
    group.addoption("--fuzz-seed", type=int, default=SEED, help="the same seed makes the same requests")
    group.addoption("--fuzz-examples", type=int, default=EXAMPLES, help="random requests by each caller, per operation")


def pytest_report_header(config: pytest.Config) -> str:
    return f"fuzz: --fuzz-seed={seed_of(config)} --fuzz-examples={examples_of(config)}"


def seed_of(config: pytest.Config) -> int:
    return int(config.getoption("--fuzz-seed", SEED))


def examples_of(config: pytest.Config) -> int:
    return int(config.getoption("--fuzz-examples", EXAMPLES))


@pytest.fixture(scope="session")
def fuzzed_api(engines: Engines, migrated_template: str) -> Iterator[RunningApi]:
    with psycopg.connect(engines.postgres.url_of("postgres"), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE test_fuzz TEMPLATE {migrated_template}".encode())
    settings = Settings(
        database_url=engines.postgres.url_of("test_fuzz"),
        broker_url=engines.redis.url,
        secret_keys=SecretStr(f"test:{base64.b64encode(secrets.token_bytes(32)).decode()}"),
        port=0,
        key_cache_seconds=0,
        rate_limits=False,
        max_file_bytes=LARGEST_FILE,
    )
    with run_api(settings) as running:
        yield running
    with psycopg.connect(engines.postgres.url_of("postgres"), autocommit=True) as connection:
        connection.execute("DROP DATABASE test_fuzz WITH (FORCE)")


@pytest.fixture
def project(fuzzed_api: RunningApi) -> Iterator[Project]:
    """Each test's own: requests delete what they find."""
    caller = make_caller(fuzzed_api)
    with caller.session:
        yield Project.fill(caller)


@pytest.fixture(scope="session")
def effort(pytestconfig: pytest.Config) -> Effort:
    examples = examples_of(pytestconfig)
    return Effort(seed_of(pytestconfig), examples, is_brief=examples <= EXAMPLES)
