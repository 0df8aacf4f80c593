"""What upkeep is given."""

import time
from dataclasses import dataclass, field

from sqlalchemy.ext.asyncio import AsyncEngine

from shared.queue.rings import Ringer
from shared.settings import Settings

DATABASE_SILENT_SECONDS = 3.0
"""Or three releases: whoever is at work hears from the database that often, unless it is away."""


@dataclass(slots=True)
class UpkeepContext:
    engine: AsyncEngine
    settings: Settings
    ringer: Ringer
    # Both monotonic. Since the first the database has answered without a break: recovery just after an outage would
    # take the work of workers that could not renew their leases either.
    reachable_since: float = field(default_factory=time.monotonic, init=False)
    answered_at: float = field(default_factory=time.monotonic, init=False)

    def note_answer(self) -> None:
        """The database has just answered. Say it before the work: recovery must know that there was an outage."""
        now = time.monotonic()
        if now - self.answered_at > max(DATABASE_SILENT_SECONDS, 3 * self.settings.release_interval_seconds):
            self.reachable_since = now
        self.answered_at = now
