"""`tidings`: every command, and the one place where an error becomes a line on stderr and an exit code."""

import sys

import typer

from shared.cli import (
    configuration,
    contacts,
    database,
    demo,
    doctor,
    live,
    messages,
    projects,
    providers,
    roles,
    send,
    suppressions,
    up,
)
from shared.cli.output import complain
from shared.errors import TidingsError
from shared.exception_words import write_uncaught
from shared.exits import FAILED, exit_code
from shared.logging import configure_command_logging

RUNNING = "Run it"
OPERATING = "Operate it"
SENDING = "Send with it"

app = typer.Typer(
    name="tidings",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    pretty_exceptions_show_locals=False,
    help="Tidings delivers push, e-mail and SMS to millions. `tidings up` starts all of it on this machine.",
    epilog="Exit codes: 0 done, 1 failed, 2 wrong usage or settings, 3 partly sent, 4 a server cannot be reached.",
)


def _add_commands() -> None:
    """In the order in which help lists them."""
    command, group = app.command, app.add_typer
    command("up", epilog="Example: tidings up --port 8090 --workers 4", rich_help_panel=RUNNING)(up.start_all)
    command("demo", epilog="Example: tidings demo --keep", rich_help_panel=RUNNING)(demo.run_demo)
    command("api", epilog="Example: tidings api --host 0.0.0.0 --port 8080", rich_help_panel=RUNNING)(roles.run_api)
    command("worker", epilog="Example: tidings worker --queues 'fan_out,email.*'", rich_help_panel=RUNNING)(
        roles.run_worker
    )
    command("scheduler", epilog="Example: tidings scheduler", rich_help_panel=RUNNING)(roles.run_scheduler)
    command(
        "simulator",
        context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
        add_help_option=False,
        rich_help_panel=RUNNING,
    )(roles.run_simulator)
    command("import", epilog="Example: tidings import contacts.csv --map 'E-Mail=email'", rich_help_panel=SENDING)(
        contacts.import_file
    )
    group(send.send_app, name="send", rich_help_panel=SENDING)
    group(messages.messages_app, name="messages", rich_help_panel=SENDING)
    group(suppressions.suppressions_app, name="suppressions", rich_help_panel=SENDING)
    command("migrate", epilog="Example: tidings migrate", rich_help_panel=OPERATING)(database.migrate)
    command("live", epilog="Example: tidings live on", rich_help_panel=OPERATING)(live.switch_live)
    group(providers.providers_app, name="providers", rich_help_panel=OPERATING)
    group(projects.project_app, name="project", rich_help_panel=OPERATING)
    group(projects.key_app, name="key", rich_help_panel=OPERATING)
    command("config", epilog="Example: tidings config --json", rich_help_panel=OPERATING)(
        configuration.show_configuration
    )
    command("doctor", epilog="Example: tidings doctor --workers 16", rich_help_panel=OPERATING)(doctor.examine)


_add_commands()


def run() -> None:
    """The entry point."""
    configure_command_logging()
    try:
        app()
    except TidingsError as error:
        complain(error)
        sys.exit(exit_code(error))
    except Exception as error:  # noqa: BLE001  # a bug; Python and Typer would print its text
        write_uncaught(error, "a bug in this command")
        sys.exit(FAILED)
