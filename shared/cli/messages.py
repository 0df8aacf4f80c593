"""`tidings messages`: what was sent, how far it is, and watching it."""

import json
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Annotated, Any

import typer

from shared.cli.client import Client, Endpoint, Key, Project, open_client
from shared.cli.connection import DEFAULT_DIRECTORY, DataDir
from shared.cli.output import AsJson, print_json, print_table, results
from shared.cli.watch import Board, MessageProgress, describe_counts, watch_messages
from shared.domain.status import MessageStatus
from shared.errors import ConfigurationError, TidingsError
from shared.exits import DONE, FAILED, PARTLY_SENT
from shared.ids import PUBLIC_ID

messages_app = typer.Typer(no_args_is_help=True, help="List, show and watch messages.")

TITLE_LENGTH = 32


@messages_app.command("list", epilog="Example: tidings messages list --status failed --limit 10")
def list_messages(
    *,
    status: Annotated[MessageStatus | None, typer.Option(help="Only those in this state.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=5000, help="How many.")] = 25,
    endpoint: Endpoint = None,
    project: Project = None,
    key: Key = None,
    data_dir: DataDir = DEFAULT_DIRECTORY,
    as_json: AsJson = False,
) -> None:
    """List messages, newest first."""
    client = open_client(endpoint=endpoint, project=project, key=key, directory=data_dir)
    queries: list[dict[str, object]] = [
        {"method": "orderDesc", "attribute": "$sequence"},
        {"method": "limit", "values": [limit]},
    ]
    if status is not None:
        queries.append({"method": "equal", "attribute": "status", "values": [status.value]})
    parameters = [(f"queries[{number}]", json.dumps(query)) for number, query in enumerate(queries)]
    answer = client.get("/messaging/messages", parameters)
    if as_json:
        print_json(answer)
        return
    print_table(
        ["ID", "CHANNEL", "STATUS", "SENT", "CREATED", "CONTENT"],
        [
            [
                message["$id"],
                message["providerType"],
                message["status"],
                f"{message['deliveredTotal']:,}",
                message["$createdAt"],
                headline(message),
            ]
            for message in answer["messages"]
        ],
    )


@messages_app.command("show", epilog="Example: tidings messages show 0683f0a1b2c3d4e5f607")
def show_message(
    *,
    message_id: Annotated[str, typer.Argument(metavar="ID")],
    endpoint: Endpoint = None,
    project: Project = None,
    key: Key = None,
    data_dir: DataDir = DEFAULT_DIRECTORY,
    as_json: AsJson = False,
) -> None:
    """Show one message with its recipients by state."""
    client = open_client(endpoint=endpoint, project=project, key=key, directory=data_dir)
    message = fetch_message(client, message_id)
    progress = client.get(f"/tidings/messages/{message_id}/progress")
    if as_json:
        print_json({**message, "progress": progress})
        return
    print_table(["FIELD", "VALUE"], _fields(message, progress))


@messages_app.command("watch", epilog="Example: tidings messages watch spring-news spring-push")
def watch(
    *,
    message_ids: Annotated[list[str], typer.Argument(metavar="ID...", help="One or more messages.")],
    endpoint: Endpoint = None,
    project: Project = None,
    key: Key = None,
    data_dir: DataDir = DEFAULT_DIRECTORY,
    as_json: AsJson = False,
) -> None:
    """Watch messages until they are finished: recipients by state, rate, time left.

    Exits with 0 when all were sent, 3 when some recipients were not reached, 1 when nobody was.
    """
    client = open_client(endpoint=endpoint, project=project, key=key, directory=data_dir)
    finished = watch_until_finished(client, message_ids)
    if as_json:
        print_json({message_id: progress_as_json(progress) for message_id, progress in finished.items()})
    raise typer.Exit(exit_code_of(list(finished.values())))


def fetch_message(client: Client, message_id: str) -> dict[str, Any]:
    if not PUBLIC_ID.fullmatch(message_id):  # it might lead somewhere else, as `ID/logs` does
        raise ConfigurationError(
            f"{message_id!r} cannot be the id of a message.",
            hint="`tidings messages list` shows the messages there are.",
        )
    message: dict[str, Any] = client.get(f"/messaging/messages/{message_id}")
    return message


def watch_until_finished(client: Client, message_ids: Sequence[str]) -> dict[str, MessageProgress]:
    """Draw the messages until the last one is finished. Raises TidingsError when one is not going to be sent."""
    titles = {}
    for message_id in message_ids:
        message = fetch_message(client, message_id)
        if message["status"] == MessageStatus.DRAFT:
            raise TidingsError(
                f"The message {message_id!r} is a draft, so there is nothing to wait for.",
                hint="Update it with draft false or with a time to be sent at.",
            )
        titles[message_id] = f"{message_id} {headline(message)}"

    with Board() as board:
        return watch_messages(titles, partial(fetch_progress, client), board=board)


def fetch_progress(client: Client, message_id: str) -> MessageProgress:
    return MessageProgress.read(client.get(f"/tidings/messages/{message_id}/progress"))


def exit_code_of(finished: Sequence[MessageProgress]) -> int:
    """As the contract judges a message: somebody skipped is no error, nobody reached is."""
    sent = [progress.counts["sent"] for progress in finished]
    missed = [progress.done - progress.counts["sent"] - progress.counts["skipped"] for progress in finished]
    if all(sent) and not any(missed):
        return DONE
    return PARTLY_SENT if any(sent) else FAILED


def progress_as_json(progress: MessageProgress) -> dict[str, object]:
    return {
        "planned": progress.planned,
        **progress.counts,
        "resends": progress.resends,
        "errors": list(progress.errors),
    }


def headline(message: Mapping[str, Any]) -> str:
    """The words by which a person knows it again."""
    content = message["data"]
    text = str(content.get("subject") or content.get("title") or content.get("content") or content.get("body") or "")
    line = " ".join(text.split())
    return line if len(line) <= TITLE_LENGTH else f"{line[: TITLE_LENGTH - 1]}…"


def _fields(message: Mapping[str, Any], wire: Mapping[str, Any]) -> list[list[str]]:
    """`wire`: its progress as it was answered."""
    progress = MessageProgress.read(wire)
    fields = [
        ["id", message["$id"]],
        ["channel", message["providerType"]],
        ["status", message["status"]],
        ["content", headline(message)],
        ["topics", ", ".join(message["topics"])],
        ["users", f"{len(message['users']):,}"],
        ["targets", f"{len(message['targets']):,}"],
        ["created", message["$createdAt"]],
        ["scheduled", message["scheduledAt"] or "-"],
        ["delivered", message["deliveredAt"] or "-"],
        ["recipients", describe_counts(progress)],
    ]
    if segments := wire["segments"]:
        fields.append(["segments", f"{segments['parts']} each ({segments['units']} units of {segments['encoding']})"])
    return fields + [["error", error] for error in progress.errors]


def print_finished(message_id: str, progress: MessageProgress) -> None:
    results.print(f"{message_id}: {describe_counts(progress)}", markup=False)
