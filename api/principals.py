"""Who is calling: project and principal out of a request's headers, remembered for a few seconds."""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.requests import Request

from shared.db.queries.keys import ProjectIdentity, find_key, find_project
from shared.db.session import hot_transaction
from shared.domain.api_key import PREFIX, hash_secret
from shared.errors import RejectedRequest
from shared.ids import PUBLIC_ID

CONSOLE_PROJECT = "console"
"""The contract's project of the console's own users. It has no messaging."""

EVERY_KEY_HAS = frozenset({"health.read"})


@dataclass(frozen=True, slots=True)
class Guest:
    """No credentials, or none that mean anything."""

    scopes: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class KeyHolder:
    """An API key of the project: full access within its scopes, permissions of single things are not applied."""

    key_seq: int
    scopes: frozenset[str]


Principal = Guest | KeyHolder
"""Users with a session or JWT join here; what only they must pass (roles, own things) matches on the type."""

GUEST = Guest()

Found = TypeVar("Found")


class _Remembered(Generic[Found]):
    """Answers kept for `seconds`. Only what exists is kept, so its size is bounded by what exists."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._answers: dict[object, tuple[float, Found]] = {}  # value: the monotonic second it is forgotten, answer

    async def get(self, key: object, look_up: Callable[[], Awaitable[Found | None]]) -> Found | None:
        remembered = self._answers.get(key)
        if remembered is not None and remembered[0] > time.monotonic():
            return remembered[1]
        found = await look_up()
        if found is None:
            self._answers.pop(key, None)
        else:
            self._answers[key] = (time.monotonic() + self._seconds, found)
        return found


class Directory:
    """Projects and keys by what a request says of itself."""

    def __init__(self, engine: AsyncEngine, *, remember_seconds: float) -> None:
        self._engine = engine
        self._projects: _Remembered[ProjectIdentity] = _Remembered(remember_seconds)
        self._keys: _Remembered[KeyHolder] = _Remembered(remember_seconds)

    async def identify(self, request: Request) -> tuple[ProjectIdentity | None, Principal]:
        """Project and caller (contract §3.1 steps 3 and 4). No project: the console's, where only guests exist."""
        project_id = request.headers.get("x-appwrite-project") or request.query_params.get("project")
        secret = request.headers.get("x-appwrite-key")
        if not project_id or project_id == CONSOLE_PROJECT:
            if secret and not project_id:
                raise RejectedRequest("project_id_missing", "Name the project of the key in X-Appwrite-Project.")
            if secret and _may_be_a_key(secret):
                raise RejectedRequest("user_unauthorized", "The console has no such key.")
            return None, GUEST
        project = await self._find_project(project_id) if PUBLIC_ID.fullmatch(project_id) else None
        if project is None:
            raise RejectedRequest("project_not_found", f"There is no project `{project_id}`.")
        if not secret or not _may_be_a_key(secret):
            return project, GUEST
        return project, await self._find_key_holder(project, secret)

    async def _find_project(self, project_id: str) -> ProjectIdentity | None:
        async def look_up() -> ProjectIdentity | None:
            async with hot_transaction(self._engine) as connection:
                return await find_project(connection, project_id)

        return await self._projects.get(project_id, look_up)

    async def _find_key_holder(self, project: ProjectIdentity, secret: str) -> KeyHolder:
        async def look_up() -> KeyHolder | None:
            async with hot_transaction(self._engine) as connection:
                key = await find_key(connection, project.seq, secret)
            if key is not None and key.is_expired:
                raise RejectedRequest("project_key_expired", "The key has expired.")
            return KeyHolder(key.seq, EVERY_KEY_HAS.union(key.scopes)) if key else None

        holder = await self._keys.get((project.seq, hash_secret(secret)), look_up)
        if holder is None:
            raise RejectedRequest("user_unauthorized", "The project has no such key.")
        return holder


def _may_be_a_key(secret: str) -> bool:
    """A text with a prefix we do not know belongs to some other scheme and means nothing here (contract §3.2)."""
    return "_" not in secret or secret.startswith(PREFIX)
