"""Short-lived provider tokens in Postgres: made once, encrypted, used by all workers."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import psycopg
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, TimeoutError  # noqa: A004  # its name for it
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from shared.db.secrets import SecretBox
from shared.providers.contract import Account, TokenMaker, TokenUnavailable

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


class PostgresTokenStore:
    """One per process; see shared.providers.contract.TokenStore."""

    def __init__(self, engine: AsyncEngine, secret_box: SecretBox) -> None:
        self._engine = engine
        self._secret_box = secret_box

    async def get(self, account: Account, purpose: str) -> tuple[str, float] | None:
        with _told_as_unavailable():
            async with self._engine.connect() as connection:
                return await self._read(connection, account, purpose)

    async def renew(
        self, account: Account, purpose: str, *, stale: str | None, make: TokenMaker, margin_seconds: float
    ) -> str:
        """A session lock lets one worker at a time make the token; no transaction is open while it asks the provider.

        The lock dies with its connection, so a killed worker holds nobody up. Who waits for it longer than for any
        lock tries again later, when the token is likely to be there.
        """
        with _told_as_unavailable():
            return await self._renew(account, purpose, stale=stale, make=make, margin_seconds=margin_seconds)

    async def _renew(
        self, account: Account, purpose: str, *, stale: str | None, make: TokenMaker, margin_seconds: float
    ) -> str:
        async with self._engine.connect() as opened:
            connection = await opened.execution_options(isolation_level="AUTOCOMMIT")
            lock = {"key": f"tidings token {account.provider_seq} {purpose}"}
            await connection.execute(text("SELECT pg_advisory_lock(hashtextextended(:key, 0))"), lock)
            try:
                stored = await self._read(connection, account, purpose)
                if stored and stored[0] != stale and stored[1] > datetime.now(UTC).timestamp() + margin_seconds:
                    return stored[0]
                token, expires_at = await make()
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
                return token
            finally:
                await connection.execute(text("SELECT pg_advisory_unlock(hashtextextended(:key, 0))"), lock)

    async def _read(self, connection: AsyncConnection, account: Account, purpose: str) -> tuple[str, float] | None:
        result = await connection.execute(
            _READ, {"provider": account.provider_seq, "purpose": purpose, "version": account.version}
        )
        row = result.one_or_none()
        if row is None:
            return None
        token = self._secret_box.decrypt(row.token_encrypted, context=_context(account, purpose))
        return token, row.expires_at.timestamp()


@contextmanager
def _told_as_unavailable() -> Iterator[None]:
    """Nothing was sent for want of a token: recipients may be tried again, and are in no doubt."""
    try:
        yield
    except (DBAPIError, TimeoutError) as error:  # the latter: every pooled connection was busy for too long
        is_waiting = isinstance(getattr(error, "orig", None), psycopg.errors.LockNotAvailable)
        reason = "another worker is still asking for the token" if is_waiting else "the stored tokens are out of reach"
        raise TokenUnavailable(reason) from error


def _context(account: Account, purpose: str) -> str:
    return f"provider_tokens/{account.provider_seq}/{purpose}"
