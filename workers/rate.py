"""How fast an account may send: tokens leased from its bucket in Postgres, a tenth of a second's worth at a time."""

import asyncio
from collections.abc import Callable
from math import ceil

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from shared.db.queries.buckets import BURST_SECONDS, lease_tokens, open_bucket
from shared.db.session import hot_statements
from workers.recorder import DATABASE_AWAY, RECONNECT_SECONDS

SHORTEST_WAIT_SECONDS = 0.02
LONGEST_WAIT_SECONDS = 0.5
"""So that a batch notices in time that its process stops, or that its account rests."""

log = structlog.get_logger()


class Rate:
    """Tokens of one account in this process. What is left unused when the process dies is lost, which is safe."""

    def __init__(
        self, engine: AsyncEngine, provider_seq: int, per_second: float, *, turns: asyncio.Semaphore | None = None
    ) -> None:
        """`turns`: how many accounts may ask the database at the same time; the others wait for theirs."""
        self._engine = engine
        self._turns = turns or asyncio.Semaphore()
        self._provider_seq = provider_seq
        self._per_second = per_second
        self._tokens = 0
        self._is_open = False
        self._is_away = False  # the database
        self._leasing = asyncio.Lock()

    @property
    def most(self) -> int:
        """Recipients that it lets through within a second, and one at least."""
        return ceil(self._per_second)

    async def take(self, wanted: int, *, is_wanted: Callable[[], bool] = lambda: True) -> int:
        """Tokens, up to `wanted`; 0 when none came for LONGEST_WAIT_SECONDS, or are not wanted any more when it is the
        caller's turn, so that a stop need not wait for all turns before. A database that is away gives none.
        """
        async with self._leasing:
            if not is_wanted():
                return 0
            if not self._tokens:
                self._tokens = await self._lease()
            if not self._tokens:
                await asyncio.sleep(max(SHORTEST_WAIT_SECONDS, min(LONGEST_WAIT_SECONDS, 1 / self._per_second)))
                self._tokens = await self._lease()
            taken = min(wanted, self._tokens)
            self._tokens -= taken
            return taken

    def give_back(self, count: int) -> None:
        """Tokens that nothing was sent with."""
        self._tokens += count

    async def _lease(self) -> int:
        try:
            async with self._turns, hot_statements(self._engine) as connection:
                if not self._is_open:
                    await open_bucket(connection, self._provider_seq)
                    self._is_open = True
                tokens = await lease_tokens(
                    connection,
                    self._provider_seq,
                    per_second=self._per_second,
                    wanted=max(1, int(self._per_second * BURST_SECONDS)),
                )
        except DATABASE_AWAY as error:
            if not self._is_away:
                log.warning("tokens wait for the database", error=type(error).__name__, provider_seq=self._provider_seq)
            self._is_away = True
            await asyncio.sleep(RECONNECT_SECONDS)
            return 0
        self._is_away = False
        return tokens
