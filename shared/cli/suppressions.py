"""`tidings suppressions`: the addresses that nothing is sent to any more."""

from typing import Annotated, Any

import typer

from shared.cli.client import Endpoint, Key, Project, open_client
from shared.cli.connection import DEFAULT_DIRECTORY, DataDir
from shared.cli.output import AsJson, print_json, print_table, results

suppressions_app = typer.Typer(no_args_is_help=True, help="List, add and remove addresses that must not be used.")

PAGE = 1_000

Channel = Annotated[str, typer.Argument(help="email or sms.")]
Address = Annotated[str, typer.Argument(help="An e-mail address, or a number such as +12065550100.")]


@suppressions_app.command("list", epilog="Example: tidings suppressions list --json")
def list_suppressions(
    *,
    endpoint: Endpoint = None,
    project: Project = None,
    key: Key = None,
    data_dir: DataDir = DEFAULT_DIRECTORY,
    as_json: AsJson = False,
) -> None:
    """List all of them, by channel and address."""
    client = open_client(endpoint=endpoint, project=project, key=key, directory=data_dir)
    listed: list[dict[str, Any]] = []
    cursor: str | None = ""
    while cursor is not None:
        page = client.get("/tidings/suppressions", [("limit", str(PAGE)), ("cursor", cursor)])
        listed += page["suppressions"]
        cursor = page["cursor"]
    if as_json:
        print_json(listed)
        return
    columns = ("address", "channel", "cause", "$createdAt", "reason")
    print_table(
        ["ADDRESS", "CHANNEL", "CAUSE", "SINCE", "REASON"], [[entry[name] for name in columns] for entry in listed]
    )


@suppressions_app.command("add", epilog="Example: tidings suppressions add email ada@example.com --reason 'asked us'")
def add_suppression(
    *,
    channel: Channel,
    address: Address,
    reason: Annotated[str, typer.Option(help="A note for people.")] = "",
    endpoint: Endpoint = None,
    project: Project = None,
    key: Key = None,
    data_dir: DataDir = DEFAULT_DIRECTORY,
    as_json: AsJson = False,
) -> None:
    """Send nothing to an address from now on; who has it is skipped."""
    client = open_client(endpoint=endpoint, project=project, key=key, directory=data_dir)
    added = client.post("/tidings/suppressions", {"channel": channel, "address": address, "reason": reason})
    if as_json:
        print_json(added)
    else:
        results.print(f"Nothing is sent to {address} any more.", markup=False)


@suppressions_app.command("remove", epilog="Example: tidings suppressions remove email ada@example.com")
def remove_suppression(
    *,
    channel: Channel,
    address: Address,
    endpoint: Endpoint = None,
    project: Project = None,
    key: Key = None,
    data_dir: DataDir = DEFAULT_DIRECTORY,
    as_json: AsJson = False,
) -> None:
    """Use an address again. The provider may still have it on a list of its own."""
    client = open_client(endpoint=endpoint, project=project, key=key, directory=data_dir)
    client.delete("/tidings/suppressions", [("channel", channel), ("address", address)])
    if as_json:
        print_json({"channel": channel, "address": address})
    else:
        results.print(f"{address} is used again.", markup=False)
