"""The transport that adapters get: HTTP/2 connections of our own where a pool asks for them, libcurl for the rest."""

from collections.abc import AsyncGenerator, Iterator
from pathlib import Path

from shared.providers.curl import CurlTransport
from shared.providers.http2 import Http2Transport
from shared.providers.transport import Failure, Pool, Reply, Request


class HttpTransport:
    """See `transport.Transport`. Belongs to the event loop it is first used in."""

    def __init__(
        self,
        *,
        timeout_seconds: float,
        connect_timeout_seconds: float = 3.0,
        ca_file: Path | None = None,
        connections: int = 500,
    ) -> None:
        """`connections`: the most to one origin, whatever its pool asks for."""
        self.timeout_seconds = timeout_seconds
        self._curl = CurlTransport(
            timeout_seconds=timeout_seconds,
            connect_timeout_seconds=connect_timeout_seconds,
            ca_file=ca_file,
            connections=connections,
        )
        self._http2 = Http2Transport(
            timeout_seconds=timeout_seconds,
            connect_timeout_seconds=connect_timeout_seconds,
            ca_file=ca_file,
            connections=connections,
        )

    def exchange(
        self,
        origin: str,
        requests: Iterator[tuple[int, Request]],
        *,
        pool: Pool | None = None,
        leave_by: float | None = None,
    ) -> AsyncGenerator[list[tuple[int, Reply | Failure]], None]:
        is_ours = pool is not None and pool.is_http2 and origin.startswith("https:")
        transport = self._http2 if is_ours else self._curl
        return transport.exchange(origin, requests, pool=pool, leave_by=leave_by)

    async def aclose(self) -> None:
        await self._http2.aclose()
        await self._curl.aclose()
