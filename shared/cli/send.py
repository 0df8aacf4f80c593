"""`tidings send`: one message from flags or a piped text."""

import json
import sys
from typing import Annotated, Literal

import typer

from shared.cli.client import Client, Endpoint, Key, Project, open_client
from shared.cli.connection import DEFAULT_DIRECTORY, DataDir
from shared.cli.messages import exit_code_of, fetch_message, print_finished, progress_as_json, watch_until_finished
from shared.cli.output import AsJson, print_json, results, say
from shared.errors import ConfigurationError
from shared.ids import UNIQUE

send_app = typer.Typer(no_args_is_help=True, help="Send an e-mail or a push notification.")

Topics = Annotated[list[str] | None, typer.Option("--topic", metavar="ID", help="To this topic; repeat for more.")]
Users = Annotated[list[str] | None, typer.Option("--user", metavar="ID", help="To this user; repeat for more.")]
Targets = Annotated[list[str] | None, typer.Option("--target", metavar="ID", help="To this target; repeat for more.")]
MessageId = Annotated[
    str, typer.Option("--id", metavar="ID", help="Id of the message: sent again with the same one, it is refused.")
]
At = Annotated[str | None, typer.Option("--at", metavar="TIME", help="When, such as 2030-01-31T09:00:00+01:00.")]
Draft = Annotated[bool, typer.Option("--draft", help="Store it without sending it.")]
Wait = Annotated[
    bool, typer.Option("--wait", help="Watch it to its end; exits with 0, 3 when partly sent, 1 when nobody got it.")
]


@send_app.command("email", epilog="Example: tidings send email --topic news --subject 'Spring' < letter.txt")
def send_email(
    *,
    subject: Annotated[str, typer.Option(help="The subject line.")],
    content: Annotated[str | None, typer.Option(help="The text; none: standard input.")] = None,
    html: Annotated[bool, typer.Option("--html", help="The text is HTML.")] = False,
    topic: Topics = None,
    user: Users = None,
    target: Targets = None,
    cc: Annotated[list[str] | None, typer.Option(metavar="ID", help="Copy to this target; repeat for more.")] = None,
    bcc: Annotated[list[str] | None, typer.Option(metavar="ID", help="Blind copy to this target.")] = None,
    message_id: MessageId = UNIQUE,
    at: At = None,
    draft: Draft = False,
    wait: Wait = False,
    endpoint: Endpoint = None,
    project: Project = None,
    key: Key = None,
    data_dir: DataDir = DEFAULT_DIRECTORY,
    as_json: AsJson = False,
) -> None:
    """Send an e-mail to topics, users and targets."""
    body = {
        "subject": subject,
        "content": content if content is not None else _piped_text("--content"),
        "html": html,
        "cc": cc or [],
        "bcc": bcc or [],
        **_common(message_id, topic, user, target, at=at, draft=draft),
    }
    client = open_client(endpoint=endpoint, project=project, key=key, directory=data_dir)
    _send(client, "email", body, wait=wait, as_json=as_json)


@send_app.command("push", epilog="Example: tidings send push --topic news --title 'Spring' --body 'It is here' --wait")
def send_push(
    *,
    title: Annotated[str, typer.Option(help="The title.")],
    body: Annotated[str | None, typer.Option(help="The text; none: standard input.")] = None,
    data: Annotated[str | None, typer.Option(metavar="JSON", help="An object for the app.")] = None,
    action: Annotated[str | None, typer.Option(help="What a tap opens.")] = None,
    icon: Annotated[str | None, typer.Option(help="Android: name of the icon.")] = None,
    sound: Annotated[str | None, typer.Option(help="Name of the sound.")] = None,
    color: Annotated[str | None, typer.Option(help="Android: colour of the icon, #rrggbb.")] = None,
    tag: Annotated[str | None, typer.Option(help="Android: replaces what is shown under the same tag.")] = None,
    badge: Annotated[int | None, typer.Option(min=0, help="iOS: the number on the app's icon.")] = None,
    priority: Annotated[Literal["normal", "high"] | None, typer.Option(help="How urgently devices fetch it.")] = None,
    topic: Topics = None,
    user: Users = None,
    target: Targets = None,
    message_id: MessageId = UNIQUE,
    at: At = None,
    draft: Draft = False,
    wait: Wait = False,
    endpoint: Endpoint = None,
    project: Project = None,
    key: Key = None,
    data_dir: DataDir = DEFAULT_DIRECTORY,
    as_json: AsJson = False,
) -> None:
    """Send a push notification to topics, users and targets."""
    options: dict[str, object] = {
        "data": None if data is None else _json_object(data),
        "action": action,
        "icon": icon,
        "sound": sound,
        "color": color,
        "tag": tag,
        "badge": badge,
        "priority": priority,
    }
    parameters = {
        "title": title,
        "body": body if body is not None else _piped_text("--body"),
        **{name: value for name, value in options.items() if value is not None},
        **_common(message_id, topic, user, target, at=at, draft=draft),
    }
    client = open_client(endpoint=endpoint, project=project, key=key, directory=data_dir)
    _send(client, "push", parameters, wait=wait, as_json=as_json)


def _common(
    message_id: str,
    topics: list[str] | None,
    users: list[str] | None,
    targets: list[str] | None,
    *,
    at: str | None,
    draft: bool,
) -> dict[str, object]:
    parameters: dict[str, object] = {
        "messageId": message_id,
        "topics": topics or [],
        "users": users or [],
        "targets": targets or [],
        "draft": draft,
    }
    return parameters if at is None else {**parameters, "scheduledAt": at}


def _piped_text(option: str) -> str:
    if sys.stdin.isatty():
        raise ConfigurationError("The message has no text.", hint=f"Give {option}, or pipe the text in.")
    return sys.stdin.read()


def _json_object(text: str) -> dict[str, object]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise ConfigurationError(f"--data is not JSON: {error}.") from error
    if not isinstance(value, dict):
        raise ConfigurationError("--data is not a JSON object.", hint="""It looks like '{"page": "news"}'.""")
    return value


def _send(client: Client, channel: str, parameters: dict[str, object], *, wait: bool, as_json: bool) -> None:
    if wait and parameters["draft"]:
        raise ConfigurationError(
            "A draft is not sent, so there is nothing to wait for.", hint="Drop --wait or --draft."
        )
    message = client.post(f"/messaging/messages/{channel}", parameters)
    if not wait:
        _print_accepted(message, as_json=as_json)
        return
    message_id = message["$id"]
    progress = watch_until_finished(client, [message_id])[message_id]
    if as_json:
        print_json({**fetch_message(client, message_id), "progress": progress_as_json(progress)})
    else:
        print_finished(message_id, progress)
    raise typer.Exit(exit_code_of([progress]))


def _print_accepted(message: dict[str, str], *, as_json: bool) -> None:
    if as_json:
        print_json(message)
        return
    results.print(message["$id"], markup=False)
    say(f"The message is {message['status']}. Watch it with: tidings messages watch {message['$id']}")
