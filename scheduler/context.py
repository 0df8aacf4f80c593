"""What every tick is given."""

from dataclasses import dataclass

from shared.files.objects import ObjectStore
from shared.upkeep.context import UpkeepContext


@dataclass(slots=True)
class TickContext(UpkeepContext):
    objects: ObjectStore | None = None  # where files are kept; None: in Postgres
