"""Whose request it is: asked whenever the API does not remember the answer, so on psycopg's own connection."""

from dataclasses import dataclass

from psycopg.rows import class_row

from shared.db.session import HotConnection
from shared.domain.api_key import hash_secret
from shared.ids import ProjectSeq


@dataclass(frozen=True, slots=True)
class ProjectIdentity:
    seq: ProjectSeq
    id: str
    mask_credentials: bool
    sign_up: bool = True
    sessions_limit: int = 10
    calls_per_minute: int | None = None  # None: as the settings have it


@dataclass(frozen=True, slots=True)
class KeyIdentity:
    seq: int
    scopes: list[str]
    is_expired: bool
    calls_per_minute: int | None


async def find_project(connection: HotConnection, project_id: str) -> ProjectIdentity | None:
    async with connection.cursor(row_factory=class_row(ProjectIdentity)) as cursor:
        await cursor.execute(
            "SELECT seq, id, mask_credentials, sign_up, sessions_limit, calls_per_minute FROM projects WHERE id = %s",
            [project_id],
        )
        return await cursor.fetchone()


# looking a hash up in an index tells nothing about the secret, so no constant-time comparison is needed;
# last_used_at is only written when it is minutes old, so a busy key costs no write
_FIND_KEY = """
WITH touched AS (
    UPDATE api_keys SET last_used_at = now()
    WHERE secret_hash = %(hash)s AND project_seq = %(project_seq)s
        AND (last_used_at IS NULL OR last_used_at < now() - interval '5 minutes')
)
SELECT seq, scopes, coalesce(expires_at <= now(), false) AS is_expired, calls_per_minute
FROM api_keys WHERE secret_hash = %(hash)s AND project_seq = %(project_seq)s
"""


async def find_key(connection: HotConnection, project_seq: ProjectSeq, secret: str) -> KeyIdentity | None:
    """The project's key with this secret, also when it is expired."""
    async with connection.cursor(row_factory=class_row(KeyIdentity)) as cursor:
        await cursor.execute(_FIND_KEY, {"hash": hash_secret(secret), "project_seq": project_seq})
        return await cursor.fetchone()
