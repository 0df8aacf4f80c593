"""The long-running roles, each started in place of this process by the name of its module."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from shared.cli import simulator_faults
from shared.cli.connection import DEFAULT_DIRECTORY, DataDir, settings_beside

Host = Annotated[str | None, typer.Option(help="Address to listen on (TIDINGS_HOST).")]
Port = Annotated[int | None, typer.Option(min=0, max=65535, help="Port to listen on (TIDINGS_PORT).")]


def run_api(*, host: Host = None, port: Port = None, data_dir: DataDir = DEFAULT_DIRECTORY) -> None:
    """Run the HTTP API. Start as many as you like."""
    _become("api", data_dir, TIDINGS_HOST=host, TIDINGS_PORT=port)


def run_worker(
    *,
    queues: Annotated[str | None, typer.Option(help="Which queues, comma-separated; * stands for any part.")] = None,
    concurrency: Annotated[int | None, typer.Option(min=1, help="Processes; none: one per core.")] = None,
    data_dir: DataDir = DEFAULT_DIRECTORY,
) -> None:
    """Run a Celery worker. Any number of them, on any number of machines, share the work."""
    options = {"--queues": queues, "--concurrency": concurrency}
    _become("workers", data_dir, *_given(options))


def run_scheduler(*, data_dir: DataDir = DEFAULT_DIRECTORY) -> None:
    """Run the scheduler: releases, sweeps, retention. Two are safe, and better than one."""
    _become("scheduler", data_dir)


def run_simulator(context: typer.Context) -> None:
    """Run the simulator: the other side of every provider, with a record of all it accepted. Has options of its own.

    `tidings simulator faults` shows and changes how one that is running misbehaves.
    """
    if context.args[:1] == ["faults"]:
        simulator_faults.run(context.args[1:])
    _become("shared.simulator", None, *context.args)


def _become(module: str, data_dir: Path | None, *arguments: str, **settings: object) -> NoReturn:
    if data_dir is not None:
        settings_beside(data_dir)  # a wrong setting is said here, before anything starts
    environment = {**os.environ, **{name: str(value) for name, value in settings.items() if value is not None}}
    # -P: a folder called `api` in the current directory is not ours
    os.execve(sys.executable, [sys.executable, "-P", "-m", module, *arguments], environment)  # noqa: S606  # no shell


def _given(options: Mapping[str, object]) -> list[str]:
    return [part for name, value in options.items() if value is not None for part in (name, str(value))]
