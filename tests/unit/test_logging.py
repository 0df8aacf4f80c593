"""Who may say what in the logs, and in which shape."""

import json
import subprocess
import sys
from typing import Any

PROGRAM = """
import logging
import threading
import warnings
import hpack
import structlog
from shared.logging import configure_logging
from shared.settings import Settings

configure_logging(Settings(log_level="debug"), role="test")
hpack.Decoder().decode(hpack.Encoder().encode([("authorization", "bearer canary")]))
logging.getLogger("hpack.table").info("what it says at info")
logging.getLogger("shared.simulator").debug("what we say at debug")
structlog.get_logger("shared.queue").debug("what we say at debug through structlog")
in_a_thread = threading.Thread(target=structlog.get_logger("shared.queue").info, args=["what a thread says"])
in_a_thread.start()
in_a_thread.join()
warnings.warn("what Python warns of", stacklevel=1)
"""


def written() -> list[dict[str, Any]]:
    finished = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, check=True, text=True)
    return [json.loads(line) for line in finished.stderr.splitlines()]


def test_debug_lets_us_speak_and_not_what_tells_all_that_goes_over_the_wire() -> None:
    lines = written()

    assert [line["event"] for line in lines[:3]] == [
        "what it says at info",
        "what we say at debug",
        "what we say at debug through structlog",
    ]
    assert "canary" not in json.dumps(lines)


def test_every_line_names_the_role_threads_lines_too() -> None:
    lines = written()

    assert "what a thread says" in [line["event"] for line in lines]
    assert {line["role"] for line in lines} == {"test"}


def test_warnings_are_lines_like_all_others() -> None:
    *_, last = written()

    assert "what Python warns of" in last["event"]
    assert last["level"] == "warning"
