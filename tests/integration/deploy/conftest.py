"""A data directory per file of tests, in a place that the engines' account can reach."""

import secrets
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.embedded import DataDirectory


def new_path() -> Path:
    return Path(tempfile.gettempdir()) / f"tidings-tests-{secrets.token_hex(4)}"


@pytest.fixture
def path() -> Path:
    return new_path()


@pytest.fixture(scope="module")
def directory() -> Iterator[DataDirectory]:
    with DataDirectory(new_path()) as directory:
        yield directory
        directory.remove()
