"""Objects that no chunk refers to: those being written, and those whose file was deleted."""

from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import delete, func
from sqlalchemy.ext.asyncio import AsyncSession

from shared.db.models import LooseObject
from shared.db.session import HotConnection

LONGEST_UPLOAD = timedelta(hours=1)
"""Of one chunk; an object that no chunk refers to after that is removed."""

LONGEST_TRANSACTION = timedelta(minutes=1)
"""Well beyond what timeouts allow: an object that becomes due while a chunk takes it over would be removed."""


async def announce_object(connection: HotConnection, key: str) -> None:
    """Before it is written: whatever happens then, somebody knows of it."""
    await connection.execute("INSERT INTO loose_objects (key, due_at) VALUES (%s, now() + %s)", [key, LONGEST_UPLOAD])


async def adopt_object(session: AsyncSession, key: str) -> bool:
    """From this commit on a chunk refers to it. False: it is about to be removed."""
    adopted = delete(LooseObject).where(LooseObject.key == key, LooseObject.due_at > func.now() + LONGEST_TRANSACTION)
    return await session.scalar(adopted.returning(LooseObject.key)) is not None


async def find_loose_objects(connection: HotConnection, *, limit: int) -> list[str]:
    """Keys of those that are due."""
    cursor = await connection.execute(
        "SELECT key FROM loose_objects WHERE due_at <= now() ORDER BY due_at LIMIT %s", [limit]
    )
    return [key for (key,) in await cursor.fetchall()]


async def forget_loose_objects(connection: HotConnection, keys: Sequence[str]) -> None:
    """Once they are removed."""
    await connection.execute("DELETE FROM loose_objects WHERE key = ANY(%s)", [list(keys)])
