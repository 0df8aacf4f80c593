"""`tidings simulator faults`: how the running simulator misbehaves, and for whom."""

import http.client
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import typer

from shared.cli.output import AsJson, print_json, print_table, results
from shared.errors import ConfigurationError, NotReachable
from shared.settings import load_settings

TIMEOUT_SECONDS = 10.0

faults_app = typer.Typer(
    no_args_is_help=True,
    help="Show and change how the running simulator misbehaves.",
    pretty_exceptions_enable=False,
    pretty_exceptions_show_locals=False,
)

Directory = Annotated[
    Path | None, typer.Option("--dir", metavar="DIR", help="The simulator's directory (TIDINGS_SIMULATOR_DIR).")
]
Url = Annotated[str | None, typer.Option("--url", help="Its inbox instead, where it runs on another machine.")]


@faults_app.command("show", epilog="Example: tidings simulator faults show")
def show_faults(*, directory: Directory = None, url: Url = None, as_json: AsJson = False) -> None:
    """Show what departs from good behaviour. As JSON: every field of every provider."""
    if as_json:
        print_json(_ask(directory, url, "GET", "/faults"))
    else:
        _print_departures(_ask(directory, url, "GET", "/faults/departures"))


@faults_app.command("set", epilog="Example: tidings simulator faults set fcm latency_ms=200 dead_rate=0.1")
def set_faults(
    *,
    provider: Annotated[str, typer.Argument(help="As `show --json` names it.")],
    fields: Annotated[list[str], typer.Argument(metavar="FIELD=VALUE...", help="What it is to do.")],
    directory: Directory = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Give a provider a profile: these fields, and the others as they are by themselves.

    `show --json` has all fields, as has the answer to one that does not exist. recipients=*@acme.example makes it the
    trouble of these people alone, opening=refused lets nobody in.
    """
    wishes = {provider: dict(map(_read_field, fields))}
    told = _ask(directory, url, "PUT", "/faults", wishes)
    if as_json:
        print_json(told[provider])
    else:
        _print_departures(_ask(directory, url, "GET", "/faults/departures"))


@faults_app.command("clear", epilog="Example: tidings simulator faults clear")
def clear_faults(
    *,
    providers: Annotated[list[str] | None, typer.Argument(help="Which; none: all.", show_default=False)] = None,
    directory: Directory = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Let providers behave well again."""
    cleared = providers or list(_ask(directory, url, "GET", "/faults"))
    told = _ask(directory, url, "PUT", "/faults", {name: {} for name in cleared})
    if as_json:
        print_json({name: told[name] for name in cleared})
    else:
        _print_departures(_ask(directory, url, "GET", "/faults/departures"))


@faults_app.command("magic", epilog="Example: tidings simulator faults magic")
def list_magic(*, directory: Directory = None, url: Url = None, as_json: AsJson = False) -> None:
    """List the recipients that decide their own fate, whatever the profile says.

    A word stands in a token, or in an address before the @, at its start or after a separator: dead-7@example.com. A
    number is the end of a phone number: +12025550190.
    """
    words = _ask(directory, url, "GET", "/magic")
    if as_json:
        print_json(words)
    else:
        rows = [[name, word["word"], word["reply"]] for name, its in words.items() for word in its]
        print_table(["PROVIDER", "WORD", "REPLY"], rows)


def _read_field(text: str) -> tuple[str, Any]:
    """A value is JSON, or else a text."""
    name, equals, value = text.partition("=")
    if not equals:
        raise ConfigurationError(f"{text!r} is no FIELD=VALUE.", hint="It looks like latency_ms=200.")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def _print_departures(departures: Mapping[str, Mapping[str, Any]]) -> None:
    rows = [[name, field, str(value)] for name, its in departures.items() for field, value in its.items()]
    if rows:
        print_table(["PROVIDER", "FIELD", "VALUE"], rows)
    else:
        results.print("Every provider behaves well.")


def _ask(directory: Path | None, url: str | None, method: str, path: str, body: object = None) -> Any:
    """Raises NotReachable, or ConfigurationError with what the simulator says."""
    address = url or _address_of(directory or load_settings().simulator_dir)
    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=TIMEOUT_SECONDS)
    try:
        connection.request(method, path, None if body is None else json.dumps(body).encode())
        response = connection.getresponse()
        answer = json.loads(response.read())
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise NotReachable(f"No simulator answers at {address}: {error}.", hint=_START) from error
    finally:
        connection.close()
    if response.status >= 400:
        raise ConfigurationError(str(answer["error"]["message"]))
    return answer


_START = "Start one with `tidings up` or `tidings simulator`."


def _address_of(directory: Path) -> str:
    try:
        address: str = json.loads((directory / "simulator.json").read_bytes())["http"]
    except (OSError, ValueError, KeyError) as error:
        raise NotReachable(f"No simulator runs on {directory}.", hint=f"{_START} --dir names its directory.") from error
    return address


def run(arguments: Sequence[str]) -> None:
    """Ends the process as commands do."""
    faults_app(list(arguments), prog_name="tidings simulator faults")
