"""One installation of real processes for all tours, and a project in it for each."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.cli.system import Plan, System
from tests.conftest import UNSAFE_BUT_QUICK
from tests.directories import new_directory
from tests.factories import Factory
from tests.flow.conftest import Installation
from tests.sdk.sdk import Sdk
from tests.sdk.tour import Tour


@pytest.fixture(scope="session")
def system() -> Iterator[System]:
    plan = Plan(directory=new_directory(), workers=1, port=0, postgres_settings=UNSAFE_BUT_QUICK)
    system = System(plan, say=print)
    with system:
        yield system
    system.directory.remove()


@pytest.fixture
def tour(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Tour]:
    """With the SDK of the environment that the test's parameter names."""
    with Sdk(request.param) as sdk:
        system = request.getfixturevalue("system")  # nothing is started for a test that is skipped
        factory = Factory(system.settings, project_id=request.param)
        yield Tour(sdk, Installation(system, factory), tmp_path)
