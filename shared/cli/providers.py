"""`tidings providers`: the accounts messages go through, how they are, and a message to try one."""

from typing import Annotated

import typer

from shared.cli.connection import DEFAULT_DIRECTORY, DataDir, settings_beside
from shared.cli.database import run_async
from shared.cli.output import AsJson, print_json, print_table, results
from shared.cli.projects import in_project
from shared.cli.provider_trial import MEANINGS, account_of, content_for, read_address, try_account
from shared.clock import to_wire
from shared.db.models import Provider
from shared.db.queries import installation
from shared.db.queries.providers import find_provider, list_all_providers
from shared.db.secrets import open_secret_box
from shared.domain.outcome import Accepted, Retry
from shared.domain.status import Channel
from shared.errors import ConfigurationError
from shared.ids import ProjectSeq
from shared.settings import Settings

providers_app = typer.Typer(no_args_is_help=True, help="List, show and try the accounts that messages go through.")

ProjectId = Annotated[
    str | None, typer.Option("--project", metavar="ID", help="Whose providers; none: the only project there is.")
]
ProviderId = Annotated[str, typer.Argument(metavar="ID", help="As `tidings providers list` shows it.")]


@providers_app.command("list", epilog="Example: tidings providers list")
def list_providers(
    *, project_id: ProjectId = None, data_dir: DataDir = DEFAULT_DIRECTORY, as_json: AsJson = False
) -> None:
    """List the providers of a project, oldest first, with where their traffic goes and how they are."""
    settings = settings_beside(data_dir)

    async def find() -> tuple[list[Provider], bool]:
        async with in_project(settings, project_id) as (session, project):
            return list(await list_all_providers(session, ProjectSeq(project.seq))), await installation.is_live(session)

    providers, live = run_async(find())
    shown = [_describe(provider, settings, is_live=live) for provider in providers]
    if as_json:
        print_json(shown)
    else:
        columns = ("id", "kind", "name", "enabled", "goes_to", "health")
        rows = [[_in_words(provider[column]) for column in columns] for provider in shown]
        print_table([column.replace("_", " ").upper() for column in columns], rows)


@providers_app.command("show", epilog="Example: tidings providers show mail")
def show_provider(
    *,
    provider_id: ProviderId,
    project_id: ProjectId = None,
    data_dir: DataDir = DEFAULT_DIRECTORY,
    as_json: AsJson = False,
) -> None:
    """Show one provider. Its credentials stay where they are."""
    settings = settings_beside(data_dir)
    provider, live = run_async(_load(settings, project_id, provider_id))
    shown = {**_describe(provider, settings, is_live=live), "options": provider.options}
    if as_json:
        print_json(shown)
    else:
        rows = [[name.replace("_", " "), _in_words(value)] for name, value in shown.items() if name != "options"]
        print_table(["FIELD", "VALUE"], [*rows, *([name, _in_words(each)] for name, each in provider.options.items())])


@providers_app.command("test", epilog="Example: tidings providers test mail --to me@example.com")
def try_provider(
    *,
    provider_id: ProviderId,
    to: Annotated[str, typer.Option("--to", metavar="ADDRESS", help="E-mail address, phone number or device token.")],
    text: Annotated[str, typer.Option(help="What it says.")] = "This is a test.",
    project_id: ProjectId = None,
    data_dir: DataDir = DEFAULT_DIRECTORY,
    as_json: AsJson = False,
) -> None:
    """Send one real message through a provider, enabled or not, and explain its answer.

    It is no message of the project: nothing is counted, and no suppression is asked. Exits with 0 when the provider
    took it, 4 when it could not take it now, 1 when it would not or nobody can tell.
    """
    settings = settings_beside(data_dir)
    provider, live = run_async(_load(settings, project_id, provider_id))
    address = read_address(provider.channel, to)
    outcome = run_async(
        try_account(
            provider.kind,
            account_of(provider, open_secret_box(settings)),
            address,
            content_for(Channel(provider.channel), text),
            settings=settings,
            live=live,
        )
    )
    verdict = MEANINGS[type(outcome)]
    told = {
        "provider": provider.id,
        "kind": provider.kind,
        "to": address,
        "goes_to": _destination(provider.kind, settings, is_live=live),
        "outcome": verdict.word,
        "reason": "" if isinstance(outcome, Accepted) else outcome.reason,
        "message_id": outcome.provider_message_id if isinstance(outcome, Accepted) else "",
        "retry_after_seconds": outcome.after_seconds if isinstance(outcome, Retry) else None,
        "advice": verdict.advice,
    }
    if as_json:
        print_json(told)
    else:
        rows = [[name.replace("_", " "), _in_words(value)] for name, value in told.items() if value not in ("", None)]
        print_table(["FIELD", "VALUE"], rows)
        if told["goes_to"] != REAL_SERVERS:
            results.print("Nothing went to the provider itself.")
    raise typer.Exit(verdict.status)


async def _load(settings: Settings, project_id: str | None, provider_id: str) -> tuple[Provider, bool]:
    """The provider, and whether the installation is live. The session is over before anything is sent."""
    async with in_project(settings, project_id) as (session, project):
        provider = await find_provider(session, ProjectSeq(project.seq), provider_id)
        if provider is None:
            raise ConfigurationError(
                f"There is no provider {provider_id!r}.", hint="`tidings providers list` shows the providers there are."
            )
        is_live = await installation.is_live(session)
    return provider, is_live if settings.live is None else settings.live


REAL_SERVERS = "the provider"
NOWHERE = "nowhere: not live, and no endpoint is set"


def _destination(kind: str, settings: Settings, *, is_live: bool) -> str:
    if endpoint := settings.endpoint_of(kind):
        return endpoint
    return REAL_SERVERS if is_live else NOWHERE


def _describe(provider: Provider, settings: Settings, *, is_live: bool) -> dict[str, object]:
    return {
        "id": provider.id,
        "kind": provider.kind,
        "channel": provider.channel,
        "name": provider.name,
        "enabled": provider.enabled,
        "goes_to": _destination(provider.kind, settings, is_live=is_live),
        "health": provider.fault_reason or "ok",
        "fault_since": provider.fault_since and to_wire(provider.fault_since),
        "updated_at": to_wire(provider.updated_at),
    }


def _in_words(value: object) -> str:
    if value is None or value == "":
        return "-"
    return str(value).lower() if isinstance(value, bool) else str(value)
