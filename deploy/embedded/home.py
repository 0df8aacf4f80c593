"""Where the engines keep their files: a directory of their own that the account they run as can reach.

DIR/engines/           theirs alone (mode 700)
DIR/engines.location   instead of it: where that home is, when their account cannot reach DIR
"""

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from deploy.embedded.account import Account, engine_account, owner_of
from shared.errors import EngineError

# where root puts a home when DIR lies under a directory closed to others, such as /root: the lasting places first
OUTSIDE_PARENTS = (Path("/var/lib"), Path("/var/tmp"))  # noqa: S108  # the home in it is made by mkdtemp


@dataclass(frozen=True, slots=True)
class EngineHome:
    path: Path
    account: Account | None  # None: we are an ordinary user and the engines run as ourselves


def engine_home(directory: Path) -> EngineHome:
    """The home that belongs to this data directory, made at the first start.

    No permission of a path that was there before is changed. Raises EngineError when an earlier home is gone
    or out of reach.
    """
    path = _recorded_home(directory)
    if path is None:
        return _make_home(directory)
    if os.geteuid() != 0:
        return EngineHome(path, None)
    account = owner_of(path)
    if account.uid == 0:  # an earlier start died between making it and giving it away
        return _hand_over(path, engine_account())
    if not account.can_reach(path):
        raise EngineError(
            f"{path} is out of reach for {account.name}, the user that Postgres runs as.",
            hint="Move the data directory to a place that every user can enter.",
        )
    return EngineHome(path, account)


def _recorded_home(directory: Path) -> Path | None:
    location = directory / "engines.location"
    if not location.exists():
        home = directory / "engines"
        return home if home.is_dir() else None
    home = Path(location.read_text().strip())
    if not home.is_dir():
        raise EngineError(
            f"{location} says that the data is in {home}, but that is gone.",
            hint=f"Bring it back, or remove {location} to start with an empty database.",
        )
    return home


def _make_home(directory: Path) -> EngineHome:
    account = engine_account()
    home = directory / "engines"
    if account is not None and not account.can_reach(home):
        home = _make_outside(account)
        (directory / "engines.location").write_text(f"{home}\n")
    else:
        home.mkdir(mode=0o700)
    return _hand_over(home, account)


def _hand_over(home: Path, account: Account | None) -> EngineHome:
    if account is not None:
        os.chown(home, account.uid, account.gid)
    return EngineHome(home, account)


def _make_outside(account: Account) -> Path:
    for parent in (*OUTSIDE_PARENTS, Path(tempfile.gettempdir())):
        if not (parent.is_dir() and account.can_reach(parent / "home")):
            continue
        try:
            return Path(tempfile.mkdtemp(prefix="tidings-", dir=parent))
        except OSError:
            continue  # read-only here: the next place may not be
    raise EngineError(
        f"{account.name}, the user that Postgres runs as, can reach neither the data directory nor "
        f"{', '.join(str(parent) for parent in OUTSIDE_PARENTS)}.",
        hint="Give a --data-dir that every user can enter.",
    )
