"""Which lane a message travels in."""

import pytest

from shared.domain.lanes import choose_lane
from shared.domain.status import Lane


@pytest.mark.parametrize(
    ("topics", "users", "targets", "lane"),
    [
        (0, 1, 0, Lane.TRANSACTIONAL),
        (0, 0, 1, Lane.TRANSACTIONAL),
        (0, 60, 40, Lane.TRANSACTIONAL),
        (0, 60, 41, Lane.BULK),
        (1, 0, 0, Lane.BULK),
        (1, 1, 0, Lane.BULK),
    ],
)
def test_lanes(topics: int, users: int, targets: int, lane: Lane) -> None:
    assert choose_lane(topics=["t"] * topics, users=["u"] * users, targets=["x"] * targets) is lane
