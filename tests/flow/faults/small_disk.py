"""A small disk under the embedded Postgres, which can be filled: a file system in memory, of limited size."""

import errno
import mmap
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from deploy.embedded import EmbeddedPostgres
from shared.cli.system import System

ROOM_BYTES = 64 * 2**20
"""What is free at first: some segments of the log, and rows for minutes."""


@dataclass(frozen=True, slots=True)
class SmallDisk:
    path: Path

    @property
    def free_bytes(self) -> int:
        return shutil.disk_usage(self.path).free

    @contextmanager
    def full(self) -> Iterator[None]:
        """Not a byte is left, until the block ends."""
        ballast = self.path / "ballast"
        with ballast.open("wb") as file:
            step = self.free_bytes
            while free := self.free_bytes:  # Postgres takes some and gives some back meanwhile
                step = min(step, free)
                try:
                    os.posix_fallocate(file.fileno(), os.fstat(file.fileno()).st_size, step)
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise
                    if step == mmap.PAGESIZE:  # what is free by its own account need not be there
                        break
                    step = max(step // 2, mmap.PAGESIZE)
        try:
            yield
        finally:
            ballast.unlink()


@contextmanager
def small_disk(system: System) -> Iterator[SmallDisk]:
    """Postgres is stopped, and its data moved there; afterwards back again. Skips where nothing can be mounted."""
    postgres = system.postgres
    assert postgres is not None
    data = system.directory.home.path / "postgres"
    original = data.with_name("postgres.original")
    postgres.stop()
    data.rename(original)
    try:
        with _mounted(data, like=original, size_bytes=_size_of(original) + ROOM_BYTES):
            _copy(original, data)
            with _started(postgres):
                yield SmallDisk(data)
            moved_back = data.with_name("postgres.moved_back")
            _copy(data, moved_back)
            shutil.rmtree(original)
            moved_back.rename(original)
    finally:
        original.rename(data)
        postgres.start()


@contextmanager
def _started(postgres: EmbeddedPostgres) -> Iterator[None]:
    postgres.start()
    try:
        yield
    finally:
        postgres.stop()


@contextmanager
def _mounted(path: Path, *, like: Path, size_bytes: int) -> Iterator[None]:
    """`path` is made, and gone afterwards."""
    owner = like.stat()
    options = f"size={size_bytes},mode=700,uid={owner.st_uid},gid={owner.st_gid}"
    path.mkdir()
    try:
        _mount(path, options)
        try:
            yield
        finally:
            # even where somebody still has a file open in it
            subprocess.run(["umount", "--lazy", str(path)], check=True)  # noqa: S607
    finally:
        path.rmdir()


def _mount(path: Path, options: str) -> None:
    if os.geteuid() != 0:
        pytest.skip("a disk of limited size is mounted by root alone")
    command = ["mount", "-t", "tmpfs", "-o", options, "tidings-tests", str(path)]
    mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    if mounted.returncode != 0:
        pytest.skip(f"a disk of limited size cannot be mounted here: {mounted.stderr.strip()}")


def _size_of(directory: Path) -> int:
    return sum(file.stat().st_blocks * 512 for file in directory.rglob("*"))


def _copy(source: Path, target: Path) -> None:
    """With its owners. What the target has beside it stays."""
    subprocess.run(["cp", "-a", "-T", str(source), str(target)], check=True)  # noqa: S607
