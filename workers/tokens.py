"""Short-lived provider tokens in Postgres: made once, encrypted, used by all workers."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Final

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, TimeoutError  # noqa: A004  # its name for it
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from shared.db.secrets import SecretBox
from shared.providers.contract import Account, TokenMaker, TokenUnavailable

PATIENCE_SECONDS: Final = 2.0
POLL_SECONDS: Final = 0.1

_READ = text(
    "SELECT token_encrypted, expires_at FROM provider_tokens"
    " WHERE provider_seq = :provider AND purpose = :purpose AND version = :version"
)
_WRITE = text(
    "INSERT INTO provider_tokens (provider_seq, purpose, version, token_encrypted, expires_at)"
    " VALUES (:provider, :purpose, :version, :token, :expires_at)"
    " ON CONFLICT (provider_seq, purpose) DO UPDATE SET version = excluded.version,"
    " token_encrypted = excluded.token_encrypted, expires_at = excluded.expires_at"
)
_TAKE_LEASE = text(
    "INSERT INTO provider_tokens (provider_seq, purpose, version, token_encrypted, expires_at)"
    " VALUES (:provider, :purpose, 0, '', now() + :seconds * interval '1 second')"
    " ON CONFLICT (provider_seq, purpose) DO UPDATE SET expires_at = excluded.expires_at"
    " WHERE provider_tokens.expires_at <= now() RETURNING 1"
)
_END_LEASE = text("DELETE FROM provider_tokens WHERE provider_seq = :provider AND purpose = :purpose")


class PostgresTokenStore:
    """One per process; see shared.providers.contract.TokenStore."""

    def __init__(self, engine: AsyncEngine, secret_box: SecretBox, *, lease_seconds: float = 30.0) -> None:
        """`lease_seconds`: longer than asking a provider for a token may take."""
        self._engine = engine
        self._secret_box = secret_box
        self._lease_seconds = lease_seconds
        self._turns = asyncio.Semaphore()  # one connection for all accounts, each for the time of a statement

    async def get(self, account: Account, purpose: str) -> tuple[str, float] | None:
        async with self._connection() as connection:
            return await self._read(connection, account, purpose)

    async def renew(
        self, account: Account, purpose: str, *, stale: str | None, make: TokenMaker, margin_seconds: float
    ) -> str:
        """A lease lets one worker at a time make the token; no connection is held while it asks the provider, for a
        silent one would keep it from all others.

        The lease runs out, so a killed worker holds nobody up for long. Who waits for another worker's token for
        PATIENCE_SECONDS tries again later, when it is likely to be there.
        """
        give_up_at = time.monotonic() + PATIENCE_SECONDS
        while True:
            async with self._connection() as connection:
                stored = await self._read(connection, account, purpose)
                if stored and stored[0] != stale and stored[1] > datetime.now(UTC).timestamp() + margin_seconds:
                    return stored[0]
                if await self._take_lease(connection, account, purpose):
                    break
            if time.monotonic() > give_up_at:
                raise TokenUnavailable("another worker is still asking for the token")
            await asyncio.sleep(POLL_SECONDS)
        try:
            token, expires_at = await make()
            await self._write(account, purpose, token, expires_at)
        finally:
            await self._end_lease(account, purpose)
        return token

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[AsyncConnection]:
        """For some statements. That they fail is told as what it means: nothing was sent for want of a token, so
        recipients may be tried again, and are in no doubt.
        """
        try:
            async with self._turns, self._engine.begin() as connection:
                yield connection
        except (DBAPIError, TimeoutError) as error:  # the latter: every pooled connection was busy for too long
            raise TokenUnavailable("the stored tokens are out of reach") from error

    async def _take_lease(self, connection: AsyncConnection, account: Account, purpose: str) -> bool:
        lease = {"provider": account.provider_seq, "purpose": _lease_of(purpose), "seconds": self._lease_seconds}
        return (await connection.execute(_TAKE_LEASE, lease)).one_or_none() is not None

    async def _end_lease(self, account: Account, purpose: str) -> None:
        async with self._connection() as connection:
            await connection.execute(_END_LEASE, {"provider": account.provider_seq, "purpose": _lease_of(purpose)})

    async def _write(self, account: Account, purpose: str, token: str, expires_at: float) -> None:
        async with self._connection() as connection:
            await connection.execute(
                _WRITE,
                {
                    "provider": account.provider_seq,
                    "purpose": purpose,
                    "version": account.version,
                    "token": self._secret_box.encrypt(token, context=_context(account, purpose)),
                    "expires_at": datetime.fromtimestamp(expires_at, UTC),
                },
            )

    async def _read(self, connection: AsyncConnection, account: Account, purpose: str) -> tuple[str, float] | None:
        result = await connection.execute(
            _READ, {"provider": account.provider_seq, "purpose": purpose, "version": account.version}
        )
        row = result.one_or_none()
        if row is None:
            return None
        token = self._secret_box.decrypt(row.token_encrypted, context=_context(account, purpose))
        return token, row.expires_at.timestamp()


def _lease_of(purpose: str) -> str:
    """The purpose of a row that holds no token, but the time until which somebody may be making one."""
    return f"making {purpose}"


def _context(account: Account, purpose: str) -> str:
    return f"provider_tokens/{account.provider_seq}/{purpose}"
