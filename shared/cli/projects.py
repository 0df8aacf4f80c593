"""Projects and their API keys: whom an installation serves, and who may call it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Annotated

import typer
from sqlalchemy.ext.asyncio import AsyncSession

from shared.cli.connection import DEFAULT_DIRECTORY, DataDir, settings_beside
from shared.cli.database import open_session, run_async
from shared.cli.output import AsJson, print_json, print_table, results, say
from shared.clock import to_wire, utc_now
from shared.db.models import ApiKey, Project
from shared.db.queries import projects as queries
from shared.db.queries import rotation
from shared.db.secrets import new_secret_key, open_secret_box
from shared.domain.api_key import SCOPES
from shared.errors import ConfigurationError, TidingsError
from shared.ids import PUBLIC_ID, new_public_id
from shared.settings import Settings

project_app = typer.Typer(no_args_is_help=True, help="Create, list and change projects.")
key_app = typer.Typer(no_args_is_help=True, help="Create, list and revoke API keys; make a secret key.")

MAX_KEY_DAYS = 36_500
MAX_CALLS = 1_000_000_000
MAX_SESSIONS = 100
"""Of a user; Appwrite's bound, too."""

ProjectId = Annotated[
    str | None, typer.Option("--project", metavar="ID", help="Whose keys; none: the only project there is.")
]


CallsPerMinute = Annotated[
    int | None,
    typer.Option(min=0, max=MAX_CALLS, help="Most calls in a minute; 0: no limit. None: as the settings have it."),
]


@project_app.command("create", epilog="Example: tidings project create 'Web shop' --id shop")
def create_project(
    *,
    name: Annotated[str, typer.Argument(help="What people call it.")],
    project_id: Annotated[
        str | None, typer.Option("--id", help="Its id, as clients send it; none: a new one is made.")
    ] = None,
    data_dir: DataDir = DEFAULT_DIRECTORY,
    as_json: AsJson = False,
) -> None:
    """Create a project: its own users, topics, providers, messages and keys."""
    if project_id is not None and not PUBLIC_ID.fullmatch(project_id):
        raise ConfigurationError(
            f"{project_id!r} cannot be an id.", hint="At most 36 of a-z A-Z 0-9 . _ -, none of the last three first."
        )

    async def create(settings: Settings) -> Project:
        async with open_session(settings) as session:
            project = await queries.create_project(session, id=project_id or new_public_id(), name=name)
        if project is None:
            raise TidingsError(f"There is a project {project_id!r} already.")
        return project

    project = run_async(create(settings_beside(data_dir)))
    if as_json:
        print_json(_project_as_json(project))
    else:
        results.print(f"Created project {project.id}.", markup=False)
        say(f"Next: tidings key create --project {project.id}")


@project_app.command("list", epilog="Example: tidings project list --json")
def list_projects(*, data_dir: DataDir = DEFAULT_DIRECTORY, as_json: AsJson = False) -> None:
    """List the projects, oldest first."""

    async def find(settings: Settings) -> list[Project]:
        async with open_session(settings) as session:
            return list(await queries.list_projects(session))

    projects = run_async(find(settings_beside(data_dir)))
    if as_json:
        print_json([_project_as_json(project) for project in projects])
    else:
        print_table(["ID", "NAME", "CREATED"], [[each.id, each.name, to_wire(each.created_at)] for each in projects])


@project_app.command("update", epilog="Example: tidings project update shop --mask-credentials")
def update_project(
    *,
    project_id: Annotated[str, typer.Argument(metavar="PROJECT_ID", help="As `tidings project list` shows it.")],
    name: Annotated[str | None, typer.Option(help="What people call it from now on.")] = None,
    mask_credentials: Annotated[
        bool | None,
        typer.Option(
            "--mask-credentials/--show-credentials", help="Whether the API hides the providers' credentials it returns."
        ),
    ] = None,
    sign_up: Annotated[
        bool | None,
        typer.Option("--sign-up/--no-sign-up", help="Whether guests may become users; keys always may create users."),
    ] = None,
    sessions: Annotated[
        int | None,
        typer.Option(min=1, max=MAX_SESSIONS, help="How many each user may have; with another one the oldest ends."),
    ] = None,
    calls_per_minute: CallsPerMinute = None,
    data_dir: DataDir = DEFAULT_DIRECTORY,
    as_json: AsJson = False,
) -> None:
    """Change what is given. API processes may go by the old values for some seconds (TIDINGS_KEY_CACHE_SECONDS)."""

    async def update(settings: Settings) -> Project:
        async with open_session(settings) as session:
            project = await queries.find_project(session, project_id)
            project.name = project.name if name is None else name
            project.mask_credentials = project.mask_credentials if mask_credentials is None else mask_credentials
            project.sign_up = project.sign_up if sign_up is None else sign_up
            project.sessions_limit = project.sessions_limit if sessions is None else sessions
            project.calls_per_minute = project.calls_per_minute if calls_per_minute is None else calls_per_minute
        return project

    project = run_async(update(settings_beside(data_dir)))
    if as_json:
        print_json(_project_as_json(project))
    else:
        shown = "masked" if project.mask_credentials else "returned in clear"
        results.print(f"Project {project.id} is called {project.name}; credentials are {shown}.", markup=False)
        if sign_up is not None:
            results.print(f"Guests may {'' if project.sign_up else 'not '}sign up.")
        if sessions is not None:
            results.print(f"Each user may have {project.sessions_limit} sessions.")
        if calls_per_minute is not None:
            results.print(f"Its keys together may make {_calls(calls_per_minute)}.")


@key_app.command("create", epilog="Example: tidings key create --project shop --scope messages.write")
def create_key(
    *,
    name: Annotated[str, typer.Option(help="What it is for.")] = "key",
    project_id: ProjectId = None,
    scope: Annotated[
        list[str] | None, typer.Option(help="What it may do; repeat for more. None: everything.", metavar="SCOPE")
    ] = None,
    expires_in_days: Annotated[
        float | None, typer.Option(min=0, max=MAX_KEY_DAYS, help="None: it does not expire.")
    ] = None,
    calls_per_minute: CallsPerMinute = None,
    data_dir: DataDir = DEFAULT_DIRECTORY,
    as_json: AsJson = False,
) -> None:
    """Create an API key. Its secret is shown once and stored nowhere."""
    for unknown in sorted(set(scope or ()).difference(SCOPES)):
        say(f"No endpoint asks for the scope {unknown!r}. There are {', '.join(SCOPES)}.")
    expires_at = None if expires_in_days is None else utc_now() + timedelta(days=expires_in_days)

    async def create(settings: Settings) -> tuple[ApiKey, str]:
        async with in_project(settings, project_id) as (session, project):
            return await queries.create_api_key(
                session,
                project,
                name=name,
                scopes=scope or SCOPES,
                expires_at=expires_at,
                calls_per_minute=calls_per_minute,
            )

    key, secret = run_async(create(settings_beside(data_dir)))
    if as_json:
        print_json({**_key_as_json(key), "secret": secret})
    else:
        say(f"Created key {key.id}. This is its secret; it cannot be shown again:")
        results.print(secret, markup=False)


@key_app.command("update", epilog="Example: tidings key update 0683f0a1b2c3d4e5f607 --calls-per-minute 600")
def update_key(
    *,
    key_id: Annotated[str, typer.Argument(metavar="KEY_ID", help="As `tidings key list` shows it.")],
    calls_per_minute: Annotated[int, typer.Option(min=0, max=MAX_CALLS, help="0: no limit.")],
    project_id: ProjectId = None,
    data_dir: DataDir = DEFAULT_DIRECTORY,
    as_json: AsJson = False,
) -> None:
    """Limit the calls of an API key. API processes may go by the old limit for some seconds."""

    async def update() -> ApiKey | None:
        async with in_project(settings_beside(data_dir), project_id) as (session, project):
            return await queries.limit_api_key(session, project, key_id, calls_per_minute=calls_per_minute)

    key = run_async(update())
    if key is None:
        raise TidingsError(f"There is no key {key_id!r}.", hint="`tidings key list` shows the keys there are.")
    if as_json:
        print_json(_key_as_json(key))
    else:
        results.print(f"Key {key_id} may make {_calls(calls_per_minute)}.", markup=False)


@key_app.command("list", epilog="Example: tidings key list --project shop")
def list_keys(*, project_id: ProjectId = None, data_dir: DataDir = DEFAULT_DIRECTORY, as_json: AsJson = False) -> None:
    """List the API keys of a project, oldest first."""

    async def find(settings: Settings) -> list[ApiKey]:
        async with in_project(settings, project_id) as (session, project):
            return list(await queries.list_api_keys(session, project))

    keys = run_async(find(settings_beside(data_dir)))
    if as_json:
        print_json([_key_as_json(key) for key in keys])
    else:
        print_table(
            ["ID", "NAME", "SCOPES", "EXPIRES", "LAST USED"],
            [[key.id, key.name, _scopes(key), _moment(key.expires_at), _moment(key.last_used_at)] for key in keys],
        )


@key_app.command("revoke", epilog="Example: tidings key revoke 0683f0a1b2c3d4e5f607 --project shop")
def revoke_key(
    *,
    key_id: Annotated[str, typer.Argument(metavar="KEY_ID", help="As `tidings key list` shows it.")],
    project_id: ProjectId = None,
    data_dir: DataDir = DEFAULT_DIRECTORY,
    as_json: AsJson = False,
) -> None:
    """Delete an API key. API processes may honour it for some seconds more (TIDINGS_KEY_CACHE_SECONDS)."""
    settings = settings_beside(data_dir)

    async def revoke() -> bool:
        async with in_project(settings, project_id) as (session, project):
            return await queries.revoke_api_key(session, project, key_id)

    if not run_async(revoke()):
        raise TidingsError(f"There is no key {key_id!r}.", hint="`tidings key list` shows the keys there are.")
    if as_json:
        print_json({"revoked": key_id})
    else:
        results.print(f"Revoked {key_id}; it is refused everywhere within {settings.key_cache_seconds:g} s.")


@key_app.command("secret", epilog="Example: tidings key secret > secret.key")
def make_secret_key(*, as_json: AsJson = False) -> None:
    """Make a key for TIDINGS_SECRET_KEYS, which encrypts provider credentials. Put it first and keep the old ones."""
    key = new_secret_key()
    if as_json:
        print_json({"secret_key": key})
    else:
        results.print(key, markup=False)


@asynccontextmanager
async def in_project(settings: Settings, project_id: str | None) -> AsyncIterator[tuple[AsyncSession, Project]]:
    """A transaction and the project of this id, or the only one there is."""
    async with open_session(settings) as session:
        if project_id is not None:
            project = await queries.find_project(session, project_id)
        else:
            project = await _only_project(session)
        yield session, project


async def _only_project(session: AsyncSession) -> Project:
    projects = await queries.list_projects(session)
    if len(projects) != 1:
        raise ConfigurationError(
            f"There are {len(projects)} projects.", hint="Say which with --project; `tidings project list` shows them."
        )
    return projects[0]


def _project_as_json(project: Project) -> dict[str, object]:
    return {
        "id": project.id,
        "name": project.name,
        "mask_credentials": project.mask_credentials,
        "sign_up": project.sign_up,
        "sessions_limit": project.sessions_limit,
        "created_at": to_wire(project.created_at),
    }


def _key_as_json(key: ApiKey) -> dict[str, object]:
    return {
        "id": key.id,
        "name": key.name,
        "scopes": key.scopes,
        "calls_per_minute": key.calls_per_minute,
        "expires_at": key.expires_at and to_wire(key.expires_at),
        "last_used_at": key.last_used_at and to_wire(key.last_used_at),
    }


def _calls(per_minute: int) -> str:
    return f"{per_minute:,} calls a minute" if per_minute else "any number of calls"


def _scopes(key: ApiKey) -> str:
    return "all" if set(SCOPES) <= set(key.scopes) else " ".join(key.scopes)


def _moment(moment: datetime | None) -> str:
    return "-" if moment is None else to_wire(moment)


@key_app.command("rotate", epilog="Example: tidings key rotate")
def rotate_secret_key(*, data_dir: DataDir = DEFAULT_DIRECTORY, as_json: AsJson = False) -> None:
    """Encrypt provider credentials again with the newest secret key, after every role was started with it.

    Put the new key first and keep the old one; when this is done, the old one may go.
    """

    async def rotate(settings: Settings) -> int:
        box, total, page = open_secret_box(settings), 0, -1
        while page:
            async with open_session(settings) as session:
                page = await rotation.encrypt_credentials_again(session, box)
                total += page
        async with open_session(settings) as session:
            await rotation.drop_older_secrets(session, box)
        return total

    total = run_async(rotate(settings_beside(data_dir)))
    if as_json:
        print_json({"providers": total})
    else:
        results.print(f"Encrypted the credentials of {total:,} providers again. Older keys are no longer needed.")
