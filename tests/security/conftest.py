"""The API on loopback, as in tests/integration/api, over a database of these tests' own."""

from collections.abc import Iterator

import pytest

from shared.settings import Settings
from tests.conftest import Engines
from tests.integration.api.conftest import caller, running_api, settings_over, stranger

__all__ = ["caller", "running_api", "stranger"]  # fixtures

ORIGINS = "app.example.com, https://exact.example.com:8443"


@pytest.fixture(scope="session")
def api_settings(engines: Engines, migrated_template: str) -> Iterator[Settings]:
    with settings_over(engines, migrated_template, database="test_security", allowed_origins=ORIGINS) as settings:
        yield settings
