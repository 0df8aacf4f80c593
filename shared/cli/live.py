"""`tidings live`: whether this installation sends to real people."""

from enum import StrEnum
from typing import Annotated

import typer

from shared.cli.connection import DEFAULT_DIRECTORY, DataDir, settings_beside
from shared.cli.database import open_session, run_async
from shared.cli.output import AsJson, print_json, results
from shared.db.queries import installation
from shared.settings import Settings


class Switch(StrEnum):
    ON = "on"
    OFF = "off"


def switch_live(
    *,
    switch: Annotated[Switch | None, typer.Argument(help="What it is to be; none: only say what it is.")] = None,
    data_dir: DataDir = DEFAULT_DIRECTORY,
    as_json: AsJson = False,
) -> None:
    """Say or change whether workers may reach providers' real addresses.

    A new installation is off: its messages go to the simulator, or wait. Workers see a change at their next batch;
    `tidings up` leaves its simulator out from the next start on.
    """

    async def read_or_write(settings: Settings) -> bool:
        async with open_session(settings) as session:
            if switch is not None:
                await installation.set_live(session, live=switch is Switch.ON)
            return await installation.is_live(session)

    is_live = run_async(read_or_write(settings_beside(data_dir)))
    if as_json:
        print_json({"live": is_live})
    else:
        results.print("Live: real providers are reached." if is_live else "Not live: no real provider is reached.")
