"""Every operation, by a key with every scope: the examples, the edges of what is described, and what breaks it."""

import pytest

from tests.fuzz.project import Project
from tests.fuzz.run import Effort, find_faults, read_description


@pytest.mark.timeout(0)  # as long as its thousands of requests take, each of which has a limit of its own
@pytest.mark.parametrize("phase", ["examples", "coverage", "fuzzing"])
def test_a_key_is_answered_as_described(phase: str, project: Project, effort: Effort) -> None:
    faults = find_faults(read_description(project, "a key", effort, phase))
    assert not faults, faults
