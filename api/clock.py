"""The database's clock, which all processes share: a machine's own may be hours off, and so may be another's."""

import time
from datetime import datetime
from typing import Final

from sqlalchemy.ext.asyncio import AsyncEngine

from shared.db.session import hot_statements
from shared.domain.clock import DatabaseClock

FRESH_SECONDS: Final = 5.0
"""For so long it runs on this host's monotonic clock, which costs no statement."""


class SharedClock:
    """For moments that are given by callers, stored, or signed."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._clock = DatabaseClock()
        self._fresh_until = float("-inf")  # monotonic

    async def now(self) -> datetime:
        if time.monotonic() > self._fresh_until:
            async with hot_statements(self._engine) as connection:
                row = await (await connection.execute("SELECT now()")).fetchone()
            assert row is not None
            self._clock.read(row[0])
            self._fresh_until = time.monotonic() + FRESH_SECONDS
        return self._clock.now()
