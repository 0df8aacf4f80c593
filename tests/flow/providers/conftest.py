"""An installation for each file, since each makes a provider of every kind in it."""

from collections.abc import Iterator

import pytest

from tests.flow.conftest import Installation, running_installation
from tests.flow.providers.sending import VARIABLES


@pytest.fixture(scope="module")
def installation() -> Iterator[Installation]:
    with running_installation(VARIABLES) as running:
        yield running
