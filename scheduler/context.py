"""What every tick is given."""

import time
from dataclasses import dataclass, field

from sqlalchemy.ext.asyncio import AsyncEngine

from shared.files.objects import ObjectStore
from shared.queue.rings import Ringer
from shared.settings import Settings


@dataclass(slots=True)
class TickContext:
    engine: AsyncEngine
    settings: Settings
    ringer: Ringer
    objects: ObjectStore | None = None  # where files are kept; None: in Postgres
    # monotonic; since then the database has answered without a break. A sweep just after an outage would take the
    # work of workers that could not renew their leases either.
    reachable_since: float = field(default_factory=time.monotonic)
