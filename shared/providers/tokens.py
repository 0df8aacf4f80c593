"""A TokenStore within one process: for tests and tools; workers share theirs through the database."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

from shared.providers.contract import Account, TokenMaker

Key = tuple[int, int, str]


@dataclass(slots=True)
class InMemoryTokenStore:
    now: Callable[[], float] = time.time
    _tokens: dict[Key, tuple[str, float]] = field(default_factory=dict)
    _locks: defaultdict[Key, asyncio.Lock] = field(default_factory=lambda: defaultdict(asyncio.Lock))

    async def get(self, account: Account, purpose: str) -> tuple[str, float] | None:
        return self._tokens.get(_key(account, purpose))

    async def renew(
        self, account: Account, purpose: str, *, stale: str | None, make: TokenMaker, margin_seconds: float
    ) -> str:
        key = _key(account, purpose)
        async with self._locks[key]:
            stored = self._tokens.get(key)
            if stored is None or stored[0] == stale or stored[1] <= self.now() + margin_seconds:
                stored = self._tokens[key] = await make()
            return stored[0]


def _key(account: Account, purpose: str) -> Key:
    return account.provider_seq, account.version, purpose
