"""Who is calling: project and principal out of a request's headers, remembered for a few seconds."""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from pydantic_core import from_json
from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.requests import Request

from api.clock import SharedClock
from api.parameters import read_query_field
from api.tokens import Purpose, TokenRefused, TokenSigner
from shared.db.queries.keys import ProjectIdentity, find_key, find_project
from shared.db.queries.user_sessions import UserIdentity, find_session_holder, find_token_holder
from shared.db.session import hot_statements
from shared.domain.api_key import PREFIX, hash_secret
from shared.errors import RejectedRequest
from shared.ids import PUBLIC_ID

CONSOLE_PROJECT = "console"
"""The contract's project of the console's own users. It has no messaging."""

EVERY_KEY_HAS = frozenset({"health.read"})

# contract §3.3; what a guest or user does with files and documents, their permissions decide
GUEST_SCOPES = frozenset({"sessions.write", "documents.write", "files.read", "files.write"})

# without the contract's targets.*, which open /v1/users to keys: users' own targets are behind `account`
USER_SCOPES = GUEST_SCOPES | {"account", "subscribers.read", "subscribers.write"}


@dataclass(frozen=True, slots=True)
class Guest:
    """No credentials, or none that mean anything."""

    scopes: frozenset[str] = GUEST_SCOPES
    roles: frozenset[str] = frozenset({"any", "guests"})


@dataclass(frozen=True, slots=True)
class KeyHolder:
    """An API key of the project: full access within its scopes, permissions of single things are not applied."""

    key_seq: int
    scopes: frozenset[str]
    calls_per_minute: int | None = None  # None: as the settings have it


@dataclass(frozen=True, slots=True)
class LoggedIn:
    """A user, by session or JWT: reaches what the permissions of single things give to one of these roles."""

    user: UserIdentity
    scopes: frozenset[str] = USER_SCOPES

    @property
    def roles(self) -> frozenset[str]:
        """Contract §3.2; there are no teams here."""
        user = self.user
        standing = "verified" if user.is_verified else "unverified"
        own = {f"user:{user.id}", f"user:{user.id}/{standing}", *(f"label:{label}" for label in user.labels)}
        return frozenset({"any", "users", f"users/{standing}", *own})


Principal = Guest | LoggedIn | KeyHolder
"""Keys pass where permissions of single things are asked for; the others need a role."""

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

    def __init__(
        self, engine: AsyncEngine, tokens: TokenSigner, clock: SharedClock, *, remember_seconds: float
    ) -> None:
        """Sessions are never remembered: one that was ended is ended at once."""
        self._engine = engine
        self._tokens = tokens
        self._clock = clock
        self._projects: _Remembered[ProjectIdentity] = _Remembered(remember_seconds)
        self._keys: _Remembered[KeyHolder] = _Remembered(remember_seconds)

    async def identify(self, request: Request) -> tuple[ProjectIdentity | None, Principal]:
        """Project and caller (contract §3.1 steps 3 and 4). No project: the console's, where only guests exist."""
        project_id = request.headers.get("x-appwrite-project") or read_query_field(request, "project")
        secret = request.headers.get("x-appwrite-key")
        if not project_id or project_id == CONSOLE_PROJECT:
            if secret and not project_id:
                raise RejectedRequest("project_id_missing", "Name the project of the key in X-Appwrite-Project.")
            if secret and may_be_a_key(secret):
                raise RejectedRequest("user_unauthorized", "The console has no such key.")
            return None, GUEST
        project = await self._find_project(project_id) if PUBLIC_ID.fullmatch(project_id) else None
        if project is None:
            raise RejectedRequest("project_not_found", f"There is no project `{project_id}`.")
        if secret and may_be_a_key(secret):
            return project, await self._find_key_holder(project, secret)
        return project, await self._find_user(project, request)

    async def _find_user(self, project: ProjectIdentity, request: Request) -> LoggedIn | Guest:
        """Whose session or JWT it is. A session that is no more makes a guest, a bad JWT is refused."""
        token = request.headers.get("x-appwrite-jwt")
        if token and read_cookie(request, project.id):
            raise RejectedRequest("user_jwt_and_cookie_set", "Send a JWT or a session cookie, not both.")
        if token:
            user = await self._find_token_holder(project, token)
        elif secret := read_session_secret(request, project.id):
            async with hot_statements(self._engine) as connection:
                user = await find_session_holder(connection, project.seq, hash_secret(secret))
        else:
            return GUEST
        return LoggedIn(user) if user else GUEST

    async def _find_token_holder(self, project: ProjectIdentity, token: str) -> UserIdentity | None:
        now = await self._clock.now()
        try:
            claims = self._tokens.verify(Purpose.USER, project.id, token, now=now)
        except TokenRefused as error:
            raise RejectedRequest("user_jwt_invalid", f"The JWT is not valid: {error}") from error
        async with hot_statements(self._engine) as connection:
            return await find_token_holder(connection, project.seq, claims["userId"], claims["sessionId"])

    async def _find_project(self, project_id: str) -> ProjectIdentity | None:
        async def look_up() -> ProjectIdentity | None:
            async with hot_statements(self._engine) as connection:
                return await find_project(connection, project_id)

        return await self._projects.get(project_id, look_up)

    async def _find_key_holder(self, project: ProjectIdentity, secret: str) -> KeyHolder:
        async def look_up() -> KeyHolder | None:
            async with hot_statements(self._engine) as connection:
                key = await find_key(connection, project.seq, secret)
            if key is not None and key.is_expired:
                raise RejectedRequest("project_key_expired", "The key has expired.")
            return KeyHolder(key.seq, EVERY_KEY_HAS.union(key.scopes), key.calls_per_minute) if key else None

        holder = await self._keys.get((project.seq, hash_secret(secret)), look_up)
        if holder is None:
            raise RejectedRequest("user_unauthorized", "The project has no such key.")
        return holder


def cookie_name(project_id: str) -> str:
    return f"a_session_{project_id}"


def read_cookie(request: Request, project_id: str) -> str | None:
    """The session's secret, by either name of the contract.

    Not through `request.cookies`, which reads all of them, and their quotes and escapes in quadratic time (28 s of CPU
    from 120 kB, CPython 3.11.7); what we set has neither.
    """
    name = cookie_name(project_id)
    pairs = (
        cookie.strip().partition("=") for header in request.headers.getlist("cookie") for cookie in header.split(";")
    )
    sent = {known: value for known, _, value in pairs if known in (name, f"{name}_legacy")}
    return sent.get(name) or sent.get(f"{name}_legacy")


def read_session_secret(request: Request, project_id: str) -> str | None:
    """From the cookie, else the header, else the cookies a browser was not allowed to keep (contract §2)."""
    return (
        read_cookie(request, project_id)
        or request.headers.get("x-appwrite-session")
        or _read_fallback(request.headers.get("x-fallback-cookies", ""), cookie_name(project_id))
    )


def _read_fallback(cookies: str, name: str) -> str | None:
    try:
        # not json.loads(): it takes half characters, which nothing can hash, and fails on deep nesting
        secret = from_json(cookies)[name]
    except (ValueError, KeyError, TypeError):  # not JSON, another project's, not an object: no session
        return None
    return secret if isinstance(secret, str) else None


def may_be_a_key(secret: str) -> bool:
    """A text with a prefix we do not know belongs to some other scheme and means nothing here (contract §3.2)."""
    return bool(secret) and ("_" not in secret or secret.startswith(PREFIX))
