"""Rate limits (contract §15-§17): fixed windows in Postgres, so that all API processes count together.

What a window is known by is computed from what a request means, never from how it is written: who could choose the
spelling could choose a new window. Of the request's own words there are the account, read as the login reads it, and
the number of a chunk, of which a file has few.
"""

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.requests import Request

from api.parameters import read_body
from shared.db.queries import rate_windows
from shared.db.queries.chunks import CHUNK_BYTES
from shared.db.session import hot_statements
from shared.domain.contacts.addresses import NotAnAddress, read_email

Part = Literal["network", "user", "account", "chunk"]

Fingerprint = Callable[..., bytes]
"""TokenSigner.fingerprint(): of any texts 32 bytes that tell nothing about them."""

IPV6_NETWORK_BITS: Final = 64
"""The least that one customer of a provider gets (RFC 6177): the rest of the address is the client's to choose."""

_CHUNK = re.compile(r"bytes (\d{1,15})-\d{1,15}/\d{1,15}")


@dataclass(frozen=True, slots=True)
class RateLimit:
    """At most `calls` in `seconds` to one route by those who are alike in every part of `by`.

    `before` and `after`: further windows of the same calls, looked at before and after this one. A call that one of
    them refuses is counted in none of the later ones, and callers are told of them only where they refuse.
    """

    calls: int
    seconds: int
    by: tuple[Part, ...]
    is_forgotten: bool = False  # by a call that succeeds; else the call may only be taken back, see Counted
    spares_known: bool = False  # whether those who succeeded from the same network lately are let through
    before: tuple["RateLimit", ...] = ()
    after: tuple["RateLimit", ...] = ()


@dataclass(frozen=True, slots=True)
class Standing:
    """How a caller stands after this call, as the headers tell it."""

    limit: int
    calls: int  # this one included
    resets_at: int  # Unix second
    seconds: int = 0  # that the window lasts

    @property
    def is_exceeded(self) -> bool:
        return self.calls > self.limit

    def headers(self) -> list[tuple[bytes, bytes]]:
        values = {"limit": self.limit, "remaining": max(0, self.limit - self.calls), "reset": self.resets_at}
        return [(f"x-ratelimit-{name}".encode(), str(value).encode()) for name, value in values.items()]


@dataclass(frozen=True, slots=True)
class _Window:
    limit: RateLimit
    key: bytes


def uncounted(limit: RateLimit, *, now: datetime) -> Standing:
    """What keys are told, whose calls are counted in no window: as if each were the first."""
    return Standing(limit.calls, 1, (int(now.timestamp()) // limit.seconds + 1) * limit.seconds, limit.seconds)


@dataclass(slots=True)
class Counted:
    """A call in its windows."""

    _engine: AsyncEngine
    _told: RateLimit
    _windows: tuple[_Window, ...]
    _pass: bytes  # what a success is remembered by
    _counts: list[tuple[_Window, rate_windows.RateCount]]

    async def count(self) -> Standing:
        """How the caller stands: in the first window that refuses the call, else in the one that is told of."""
        told: Standing | None = None
        async with hot_statements(self._engine) as connection:
            for window in self._windows:
                limit = window.limit
                counted = await rate_windows.count_call(connection, window.key, seconds=limit.seconds)
                self._counts.append((window, counted))
                standing = Standing(limit.calls, counted.calls, int(counted.ends_at.timestamp()), limit.seconds)
                if standing.is_exceeded and not (
                    limit.spares_known and await rate_windows.is_remembered(connection, self._pass)
                ):
                    return standing
                if limit is self._told:
                    told = standing
        assert told is not None
        return told

    async def succeed(self) -> None:
        """Only what fails shall count. Nobody's success undoes the failures of others that share a window with it:
        but for the window that is forgotten, no more than the call itself is taken back.
        """
        async with hot_statements(self._engine) as connection:
            for window, counted in self._counts:
                if window.limit.is_forgotten:
                    await rate_windows.forget_calls(connection, window.key)
                else:
                    await rate_windows.take_back_call(connection, window.key, counted.ends_at)
            await rate_windows.remember(connection, self._pass)


async def find_windows(
    engine: AsyncEngine,
    limit: RateLimit,
    request: Request,
    route: str,
    *,
    project_id: str,
    user_id: str,
    fingerprint: Fingerprint,
    largest_file: int,
) -> Counted:
    """`route` is the pattern: other ids in its place make no other window. `largest_file`: bytes."""
    limits = (*limit.before, limit, *limit.after)
    parts = {"network": network_of(request.client.host if request.client else ""), "user": user_id}
    wanted = {part for each in limits for part in each.by}
    if "account" in wanted:
        parts["account"] = _read_account((await read_body(request)).get("email"))
    if "chunk" in wanted:
        parts["chunk"] = _read_chunk(request.headers.get("content-range", ""), largest_file)

    def key(words: str, by: tuple[Part, ...]) -> bytes:
        return fingerprint(words, project_id, request.method, route, *(f"{part}:{parts[part]}" for part in by))

    windows = tuple(_Window(each, key(f"{each.calls} in {each.seconds} s", each.by)) for each in limits)
    known = key("known", tuple(part for part in ("network", "account") if part in parts))
    return Counted(engine, limit, windows, known, [])


def network_of(host: str) -> str:
    """What one client has of addresses: an IPv4 address, or a network of IPv6."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:  # no address: a socket of another family
        return host
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is None:
            return str(ipaddress.ip_network((int(address), IPV6_NETWORK_BITS), strict=False))
        address = address.ipv4_mapped
    return str(address)


def _read_account(email: object) -> str:
    """As the login looks it up. What is no address has one window for all."""
    try:
        return read_email(email) if isinstance(email, str) else ""
    except NotAnAddress:
        return ""


def _read_chunk(header: str, largest_file: int) -> str:
    """The number of the chunk; what no file can have has one window for all."""
    match = _CHUNK.fullmatch(header)
    if match is None or int(match[1]) % CHUNK_BYTES or int(match[1]) >= largest_file:
        return ""
    return str(int(match[1]) // CHUNK_BYTES)
