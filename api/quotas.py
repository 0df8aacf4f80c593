"""How many calls API keys may make: per key and per project, over all API processes, without asking anybody each time.

A process takes shares of a minute's calls from Postgres and spends them by itself. A share is a hundredth of what is
left of the limit, so the limit is never exceeded, and what idle processes hold back is small; a limit below two hundred
calls is counted call by call.
"""

import asyncio
import hashlib
import time
from dataclasses import dataclass, field
from typing import Literal

import structlog
from psycopg import Error as DatabaseFault
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from shared.db.queries.rate_windows import take_calls
from shared.db.session import hot_transaction

WINDOW_SECONDS = 60
ASKING_SECONDS = 0.5
"""For the database to give a share. Without one the process lets in as many calls as the whole limit: better that often
as much as there are processes than nobody.
"""

Of = Literal["key", "project"]

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Share:
    """What this process may still let in. Moments are monotonic seconds."""

    limit: int
    left: int = 0
    ends_at: float = 0.0
    is_last: bool = False  # nothing more is to be had before the end
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


@dataclass(frozen=True, slots=True)
class Exceeded:
    of: Of
    calls: int  # a minute
    seconds: int  # until the next minute begins


class Quotas:
    """Of one process."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._shares: dict[tuple[Of, int], _Share] = {}  # one for each key and project that has called

    async def spend(self, of: Of, seq: int, calls: int) -> Exceeded | None:
        """Let one call of a key or project in, whose limit is so many `calls` a minute, or say why not. 0: no limit."""
        if not calls:
            return None
        share = self._shares.get((of, seq))
        if share is None or share.limit != calls:
            share = self._shares[of, seq] = _Share(calls)
        if not self._has_some(share):
            async with share.lock:
                if not self._has_some(share) and not self._is_over(share):
                    await self._take(share, of, seq, calls)
        if share.left > 0:
            share.left -= 1
            return None
        return Exceeded(of, calls, max(1, round(share.ends_at - time.monotonic())))

    @staticmethod
    def _has_some(share: _Share) -> bool:
        return share.left > 0 and share.ends_at > time.monotonic()

    @staticmethod
    def _is_over(share: _Share) -> bool:
        return share.is_last and share.ends_at > time.monotonic()

    async def _take(self, share: _Share, of: Of, seq: int, calls: int) -> None:
        key = hashlib.sha256(f"quota\n{of}\n{seq}".encode()).digest()
        try:
            async with asyncio.timeout(ASKING_SECONDS), hot_transaction(self._engine) as connection:
                taken = await take_calls(connection, key, seconds=WINDOW_SECONDS, limit=calls)
        except (TimeoutError, DatabaseFault, SQLAlchemyError):
            log.warning("quotas.unknown", of=of, seq=seq, let_in=calls)
            share.left, share.ends_at, share.is_last = calls, time.monotonic() + WINDOW_SECONDS, True
            return
        share.left, share.is_last = taken.calls, taken.calls == 0
        share.ends_at = time.monotonic() + taken.seconds_left
