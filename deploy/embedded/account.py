"""Whom the engines run as: Postgres refuses root, so under root an unprivileged account takes its place."""

import os
import pwd
import stat
from dataclasses import dataclass
from pathlib import Path

from shared.errors import EngineError

# nobody first: a real Postgres of this machine belongs to `postgres`, and its files are none of our business
CANDIDATES = ("nobody", "daemon", "postgres")

READ_AND_EXECUTE = stat.S_IROTH | stat.S_IXOTH
ENTER = stat.S_IXOTH


@dataclass(frozen=True, slots=True)
class Account:
    name: str
    uid: int
    gid: int  # the only group: supplementary ones are dropped

    def may(self, path: Path, wanted: int) -> bool:
        """Whether the mode of this path alone grants `wanted`, given as the bits for others."""
        status = path.stat()
        if status.st_uid == self.uid:
            granted = status.st_mode >> 6
        elif status.st_gid == self.gid:
            granted = status.st_mode >> 3
        else:
            granted = status.st_mode
        return granted & wanted == wanted

    def can_reach(self, path: Path) -> bool:
        """Whether every directory above this path lets the account through."""
        return all(self.may(parent, ENTER) for parent in path.resolve().parents)


def engine_account() -> Account | None:
    """The account for new engines; None where we are an ordinary user and the engines run as ourselves."""
    if os.geteuid() != 0:
        return None
    for name in CANDIDATES:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(name, entry.pw_uid, entry.pw_gid)
    raise EngineError(
        f"Postgres does not run as root, and none of the accounts {', '.join(CANDIDATES)} exists.",
        hint="Run as an ordinary user, or set TIDINGS_DATABASE_URL and TIDINGS_BROKER_URL.",
    )


def owner_of(path: Path) -> Account:
    """The account of data that is already there: under root it goes on as whoever made it.

    Raises EngineError where that uid has no name, which Postgres insists on.
    """
    status = path.stat()
    try:
        entry = pwd.getpwuid(status.st_uid)
    except KeyError:
        raise EngineError(
            f"{path} belongs to user {status.st_uid}, who does not exist here.",
            hint="Run as that user, or give another --data-dir.",
        ) from None
    return Account(entry.pw_name, status.st_uid, status.st_gid)
