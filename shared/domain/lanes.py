"""Which lane a message travels in: chosen when it is accepted, by whom it names."""

from collections.abc import Sized

from shared.domain.status import Lane

LISTED_LIMIT = 100
"""Users and targets a transactional message may list together; a longer list is a campaign."""


def choose_lane(*, topics: Sized, users: Sized, targets: Sized) -> Lane:
    """Somebody waits for a message to a few listed people; a topic may hold millions, whatever it holds today."""
    if not topics and len(users) + len(targets) <= LISTED_LIMIT:
        return Lane.TRANSACTIONAL
    return Lane.BULK
