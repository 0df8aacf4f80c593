"""Rate limits (contract §15-§17): fixed windows in Postgres, so that all API processes count together."""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.requests import Request

from api.parameters import read_body
from shared.db.queries.rate_windows import count_call, forget_calls
from shared.db.session import hot_statements

Part = Literal["address", "user", "email", "chunk"]


@dataclass(frozen=True, slots=True)
class RateLimit:
    """At most `calls` in `seconds` to one route by those who are alike in every part of `by`."""

    calls: int
    seconds: int
    by: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Standing:
    """How a caller stands after this call, as the headers tell it."""

    limit: int
    calls: int  # this one included
    resets_at: int  # Unix second

    @property
    def is_exceeded(self) -> bool:
        return self.calls > self.limit

    def headers(self) -> list[tuple[bytes, bytes]]:
        values = {"limit": self.limit, "remaining": max(0, self.limit - self.calls), "reset": self.resets_at}
        return [(f"x-ratelimit-{name}".encode(), str(value).encode()) for name, value in values.items()]


def uncounted(limit: RateLimit, *, now: datetime) -> Standing:
    """What keys are told, whose calls are counted in no window: as if each were the first."""
    return Standing(limit.calls, 1, (int(now.timestamp()) // limit.seconds + 1) * limit.seconds)


async def count(engine: AsyncEngine, limit: RateLimit, key: bytes) -> Standing:
    async with hot_statements(engine) as connection:
        counted = await count_call(connection, key, seconds=limit.seconds)
    return Standing(limit.calls, counted.calls, int(counted.ends_at.timestamp()))


async def forget(engine: AsyncEngine, key: bytes) -> None:
    async with hot_statements(engine) as connection:
        await forget_calls(connection, key)


async def key_of(limit: RateLimit, request: Request, route: str, *, project_id: str, user_id: str) -> bytes:
    """`route` is the pattern: other ids in its place make no other window."""
    parts = [project_id, request.method, request.headers.get("host", ""), route]
    for part in limit.by:
        match part:
            case "address":
                parts.append(request.client.host if request.client else "")
            case "user":
                parts.append(user_id)
            case "email":
                parts.append(str((await read_body(request)).get("email", "")).lower())
            case "chunk":
                parts.append(request.headers.get("content-range", ""))
    return hashlib.sha256("\n".join(parts).encode()).digest()
