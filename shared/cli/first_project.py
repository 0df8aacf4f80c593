"""What a new installation needs before anybody can call it: a project and an API key."""

from shared.cli.connection import Connection
from shared.cli.database import open_session, run_async
from shared.db.queries.installation import is_live
from shared.db.queries.projects import create_api_key, create_project, find_project, has_api_key
from shared.domain.api_key import SCOPES
from shared.settings import Settings

PROJECT_ID = "default"


def ensure_project(settings: Settings, known: Connection | None) -> tuple[str, str]:
    """Id of the project and secret of a key: those of an earlier start while they are good, else new ones."""

    async def ensure() -> tuple[str, str]:
        async with open_session(settings) as session:
            if known and await has_api_key(session, known.project, known.key):
                return known.project, known.key
            await create_project(session, id=PROJECT_ID, name="Default")
            project = await find_project(session, PROJECT_ID)
            _key, secret = await create_api_key(session, project, name="tidings up", scopes=SCOPES)
            return project.id, secret

    return run_async(ensure())


def read_is_live(settings: Settings) -> bool:
    """Whether real people are reached."""

    async def read() -> bool:
        async with open_session(settings) as session:
            return await is_live(session)

    return run_async(read()) if settings.live is None else settings.live
