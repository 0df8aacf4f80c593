"""Where the data of the tests' engines and installations lies."""

import secrets
import shutil
import tempfile
from pathlib import Path

MEMORY = Path("/dev/shm")  # noqa: S108  # what is made in it has a name that nobody can guess

ROOM_BYTES = 2 * 2**30
"""What must be free there: containers often have no more than 64 MiB of it."""


def new_directory() -> Path:
    """A path that nothing has yet, in memory where there is room.

    Each test's database is 560 files, made and deleted again: 0.4 s of CPU on ext4, 0.03 s in memory.
    """
    parent = MEMORY if _has_room(MEMORY) else Path(tempfile.gettempdir())
    return parent / f"tidings-tests-{secrets.token_hex(4)}"


def _has_room(directory: Path) -> bool:
    return directory.is_dir() and shutil.disk_usage(directory).free >= ROOM_BYTES
