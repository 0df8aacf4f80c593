"""What `tidings up` leaves in its data directory for other commands, and how they find it."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import typer

from shared.errors import ConfigurationError
from shared.settings import Settings, load_settings

DEFAULT_DIRECTORY = Path(".tidings")

DataDir = Annotated[
    Path, typer.Option("--data-dir", metavar="DIR", help="Data directory of `tidings up`.", show_default=True)
]


@dataclass(frozen=True, slots=True)
class Connection:
    """All that a client needs; DIR/connection.json holds exactly this."""

    endpoint: str  # ends in /v1
    project: str
    key: str
    console: str


def read_connection(directory: Path) -> Connection | None:
    """How to reach the installation of this data directory; None before its API first answered."""
    path = directory / "connection.json"
    try:
        return Connection(**json.loads(path.read_text()))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as error:
        raise ConfigurationError(
            f"{path} cannot be used: {error}.", hint="Remove it; `tidings up` writes it."
        ) from error


def write_connection(directory: Path, connection: Connection) -> None:
    write_private(directory / "connection.json", json.dumps(asdict(connection), indent=2) + "\n")


def write_environment(directory: Path, environment: Mapping[str, str]) -> None:
    """Record the TIDINGS_* variables of the running roles: they hold passwords, hence the mode."""
    write_private(directory / "environment.json", json.dumps(dict(environment), indent=2) + "\n")


def forget_environment(directory: Path) -> None:
    (directory / "environment.json").unlink(missing_ok=True)


def settings_beside(directory: Path) -> Settings:
    """The settings; where they name no server, those of a `tidings up` that runs on this data directory.

    Either all of its variables are taken or none: mixing two installations would send one's mail through the other.
    """
    settings = load_readable_settings()
    path = directory / "environment.json"
    if settings.database_url or settings.broker_url or not path.exists():
        return settings
    try:
        os.environ.update(json.loads(path.read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise ConfigurationError(
            f"{path} cannot be used: {error}.", hint="Start `tidings up` again on this directory; it writes it."
        ) from error
    load_settings.cache_clear()
    return load_settings()


def load_readable_settings() -> Settings:
    """The settings. Raises ConfigurationError for an address whose parts cannot be told from each other.

    Libraries would do so with the whole address, and the password in it.
    """
    settings = load_settings()
    for name in ("database_url", "broker_url"):
        if not is_readable_address(getattr(settings, name) or ""):
            raise ConfigurationError(
                f"TIDINGS_{name.upper()} cannot be read: its host or port is none.",
                hint="In a password write / as %2F, @ as %40, : as %3A, # as %23 and % as %25.",
            )
    return settings


def is_readable_address(url: str) -> bool:
    """Whether host and port can be told from the rest."""
    try:
        urlsplit(url).port  # noqa: B018  # reading it is the check
    except ValueError:
        return False
    return True


def write_private(path: Path, text: str) -> None:
    """Write for our own eyes (mode 600), all or nothing."""
    unfinished = path.with_name(f"{path.name}.new")
    unfinished.unlink(missing_ok=True)
    with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    unfinished.replace(path)
