"""Every operation, by everybody else: what is not for them is refused, whatever they send along."""

from dataclasses import replace

import pytest

from tests.fuzz.project import Project
from tests.fuzz.run import Effort, find_faults, read_description


@pytest.mark.parametrize("who", ["a session", "a JWT", "nobody", "a key without scopes"])
def test_callers_are_answered_as_described(who: str, project: Project, effort: Effort) -> None:
    fewer = replace(effort, examples=max(1, effort.examples // 3))  # most are refused whatever they send
    faults = find_faults(read_description(project, who, fewer, "fuzzing"))
    assert not faults, faults
