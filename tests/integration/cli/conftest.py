"""Running `tidings` as a terminal would, inside the test's own process."""

import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import pytest
import structlog

from shared.cli.main import run
from shared.cli.output import notes, results
from shared.settings import Settings, load_settings


@dataclass(frozen=True, slots=True)
class Finished:
    status: int
    stdout: str
    stderr: str


Tidings = Callable[..., Finished]


@contextmanager
def own_logging() -> Iterator[None]:
    """What a command's process sets for itself is taken back, or it would be heard, or not, in later tests."""
    hooks = sys.excepthook, threading.excepthook, sys.unraisablehook
    configuration = structlog.get_config()
    try:
        yield
    finally:
        sys.excepthook, threading.excepthook, sys.unraisablehook = hooks
        structlog.configure(**configuration)


@pytest.fixture
def tidings(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Tidings:
    """Runs a command line in an empty directory; the TIDINGS_* variables are those of the test."""
    monkeypatch.chdir(tmp_path)
    for console in (results, notes):  # a width that was in the environment at their making stays with them
        monkeypatch.setattr(console, "width", 200)
    monkeypatch.setenv("COLUMNS", "200")

    def run_command(*arguments: str) -> Finished:
        load_settings.cache_clear()
        monkeypatch.setattr("sys.argv", ["tidings", *arguments])
        capsys.readouterr()
        # a command may take over the variables of an installation beside it, and has its own way of logging
        with patch.dict(os.environ), own_logging(), pytest.raises(SystemExit) as ended:
            run()
        load_settings.cache_clear()
        printed = capsys.readouterr()
        return Finished(_status(ended.value), printed.out, printed.err)

    return run_command


def _status(ended: SystemExit) -> int:
    assert isinstance(ended.code, int)
    return ended.code


@pytest.fixture
def installation(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The test's own servers, named by TIDINGS_* variables."""
    assert settings.secret_keys is not None
    monkeypatch.setenv("TIDINGS_DATABASE_URL", settings.require_database_url())
    monkeypatch.setenv("TIDINGS_BROKER_URL", settings.require_broker_url())
    monkeypatch.setenv("TIDINGS_SECRET_KEYS", settings.secret_keys.get_secret_value())
    return settings
