"""The database's clock as a process knows it between two statements."""

import time
from datetime import UTC, datetime, timedelta


class DatabaseClock:
    """Follows `now()` of the statements we read it from; between them it runs on this host's monotonic clock."""

    def __init__(self) -> None:
        self._read_at = time.monotonic()
        self._database_time = datetime.now(UTC)  # until the first statement says better

    def read(self, database_time: datetime) -> None:
        """Take over the time a statement has just returned."""
        self._read_at = time.monotonic()
        self._database_time = database_time

    def now(self) -> datetime:
        return self._database_time + timedelta(seconds=time.monotonic() - self._read_at)
