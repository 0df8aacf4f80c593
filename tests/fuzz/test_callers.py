"""Every operation, by everybody else: what is not for them is refused, whatever they send along."""

import pytest

from tests.fuzz.project import Project
from tests.fuzz.run import Effort, find_faults, read_description


@pytest.mark.parametrize("who", ["a session", "a JWT", "nobody", "a key without scopes"])
def test_callers_are_answered_as_described(who: str, project: Project, effort: Effort) -> None:
    faults = find_faults(read_description(project, who, effort, "fuzzing"))
    assert not faults, faults
