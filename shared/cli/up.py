"""`tidings up`: all of Tidings on this machine in one command, until Ctrl-C."""

import os
import time
from dataclasses import asdict
from typing import Annotated

import typer

from shared.cli.connection import DEFAULT_DIRECTORY, Connection, DataDir
from shared.cli.first_message import with_curl, with_sdk
from shared.cli.output import AsJson, print_json, results, say
from shared.cli.stop_signals import StopRequested, StopSignals
from shared.cli.system import Plan, System

WATCH_SECONDS = 0.2
LEAST_WORKERS = 2
"""So that one may die, or be busy, without everything standing still."""


def start_all(
    *,
    data_dir: DataDir = DEFAULT_DIRECTORY,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Port of the API; 0 takes a free one.")] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Worker processes; none: one per core, at least two.")
    ] = None,
    simulator: Annotated[
        bool, typer.Option(help="Play the providers' other side, so that nothing leaves this machine.")
    ] = True,
    as_json: AsJson = False,
) -> None:
    """Start everything: Postgres, Redis, simulator, API, scheduler and workers. Ctrl-C stops it.

    Data stays in DIR, and the next start goes on where this one stopped. Postgres and Redis of your own are used
    where TIDINGS_DATABASE_URL and TIDINGS_BROKER_URL name them.
    """
    plan = Plan(
        directory=data_dir,
        workers=workers or max(LEAST_WORKERS, os.cpu_count() or 1),
        port=port,
        has_simulator=simulator,
    )
    system: System | None = None
    with StopSignals() as signals:
        try:
            system = System(plan, say=say, hurry=lambda: signals.hurry)
            connection = system.start()
            _announce(system, connection, as_json=as_json)
            while True:
                system.watch()
                time.sleep(WATCH_SECONDS)
        except StopRequested:
            longest = max((role.grace_seconds for role in system.roles), default=0.0) if system else 0.0
            say(f"Stopping; this may take {longest:.0f} s. Ctrl-C again kills what is still running.")
        finally:
            signals.only_hurry()
            if system:
                system.stop()
    say("Everything is stopped.")


def _announce(system: System, connection: Connection, *, as_json: bool) -> None:
    if as_json:
        print_json(asdict(connection))
        return
    lines = {
        "endpoint": connection.endpoint,
        "project": connection.project,
        "API key": connection.key,
        "console": connection.console,
        "inbox": system.simulation.inbox if system.simulation else "no simulator: messages go to real providers",
        "data, logs": f"{system.directory.path}, {system.directory.logs}",
        "running": ", ".join(system.running),
    }
    results.print("\n[bold green]Tidings is running.[/]\n")
    for name, value in lines.items():
        results.print(f"  {name:<12}{value}", markup=False)
    results.print("\n[bold]Send a first message with curl[/] (it turns up in the inbox)\n")
    results.print(with_curl(connection), markup=False)
    results.print("[bold]or with the SDK[/] (pip install appwrite)\n")
    results.print(with_sdk(connection), markup=False)
    elsewhere = "" if system.directory.path == DEFAULT_DIRECTORY.absolute() else f" --data-dir {system.directory.path}"
    results.print("[bold]and the next ones from another terminal[/]\n")
    results.print(
        f"tidings send email --user ada --subject Again --content 'Hello again' --wait{elsewhere}\n", markup=False
    )
    say("Ctrl-C stops everything; the data stays.")
