"""Walks from operation to operation: what one creates, others read, change and delete."""

from tests.fuzz.project import Project
from tests.fuzz.run import Effort, find_faults, read_description


def test_things_are_answered_as_described_all_their_life(project: Project, effort: Effort) -> None:
    faults = find_faults(read_description(project, "a key", effort, "stateful"))
    assert not faults, faults
