"""Projects and their API keys, as the operator makes, lists and revokes them."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from shared.db.models import ApiKey, Project
from shared.domain.api_key import hash_secret, new_secret
from shared.errors import ConfigurationError
from shared.ids import new_public_id


async def create_project(session: AsyncSession, *, id: str, name: str) -> Project | None:  # noqa: A002  # its name
    """The new project; None when there is one of this id, which is left as it is."""
    statement = insert(Project).values(id=id, name=name).on_conflict_do_nothing().returning(Project)
    return await session.scalar(statement)


async def list_projects(session: AsyncSession) -> Sequence[Project]:
    """Oldest first."""
    return (await session.scalars(select(Project).order_by(Project.seq))).all()


async def find_project(session: AsyncSession, project_id: str) -> Project:
    """Raises ConfigurationError when there is none of this id."""
    project = await session.scalar(select(Project).where(Project.id == project_id))
    if project is None:
        raise ConfigurationError(
            f"There is no project {project_id!r}.", hint="`tidings project list` shows the projects there are."
        )
    return project


async def create_api_key(
    session: AsyncSession,
    project: Project,
    *,
    name: str,
    scopes: Sequence[str],
    expires_at: datetime | None = None,
    calls_per_minute: int | None = None,
) -> tuple[ApiKey, str]:
    """The key's row and its secret, which is stored nowhere."""
    secret = new_secret()
    key = ApiKey(
        project_seq=project.seq,
        id=new_public_id(),
        name=name,
        secret_hash=hash_secret(secret),
        scopes=list(scopes),
        expires_at=expires_at,
        calls_per_minute=calls_per_minute,
    )
    session.add(key)
    await session.flush()
    return key, secret


async def list_api_keys(session: AsyncSession, project: Project) -> Sequence[ApiKey]:
    """Oldest first."""
    return (await session.scalars(select(ApiKey).where(ApiKey.project_seq == project.seq).order_by(ApiKey.seq))).all()


async def limit_api_key(
    session: AsyncSession, project: Project, key_id: str, *, calls_per_minute: int
) -> ApiKey | None:
    """The key as it is now; None: the project has none of this id."""
    statement = select(ApiKey).where(ApiKey.project_seq == project.seq, ApiKey.id == key_id).with_for_update()
    key = await session.scalar(statement)
    if key is not None:
        key.calls_per_minute = calls_per_minute
    return key


async def revoke_api_key(session: AsyncSession, project: Project, key_id: str) -> bool:
    """False when the project has no key of this id. API processes notice within their key cache's time."""
    statement = delete(ApiKey).where(ApiKey.project_seq == project.seq, ApiKey.id == key_id).returning(ApiKey.seq)
    return await session.scalar(statement) is not None


async def has_api_key(session: AsyncSession, project_id: str, secret: str) -> bool:
    """Whether this secret is a key of this project."""
    statement = (
        select(ApiKey.seq)
        .join(Project, Project.seq == ApiKey.project_seq)
        .where(Project.id == project_id, ApiKey.secret_hash == hash_secret(secret))
    )
    return await session.scalar(statement) is not None
