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


EXCEPTIONS = """
import asyncio
import logging
import sys
import threading
import structlog
from shared.logging import configure_logging
from shared.settings import Settings

configure_logging(Settings(log_format=sys.argv[1]), role="test")
CANARY = "cnry " + "of a customer: <b>"


class Odd(ValueError):
    def __str__(self):
        return "shown as " + CANARY


def fail():
    local = CANARY
    try:
        {}[local]
    except KeyError as first:
        first.add_note(CANARY)
        raise ExceptionGroup(CANARY, [Odd(CANARY), RuntimeError(CANARY, 7)]) from first


async def forget():
    asyncio.get_running_loop().call_soon(lambda _words: fail(), CANARY)
    asyncio.get_running_loop().create_task(asyncio.to_thread(fail), name=CANARY)
    await asyncio.sleep(0.2)


class Final:
    def __del__(self):
        fail()


ours, theirs = structlog.get_logger("shared.some"), logging.getLogger("library")
try:
    fail()
except ExceptionGroup as error:
    one = error.exceptions[0]
    ours.exception("ours")
    ours.error("ours with a field", reason=str(one), error=one, errors=[one])
    ours.error("ours, said of it: %s" % one)
    theirs.exception("theirs")
    theirs.error("theirs with a value: %s", one)
    theirs.error("theirs with texts: %(exc)s\\n%(traceback)s", {"exc": repr(one)[:12], "traceback": CANARY})
    theirs.error("theirs, formatted before: " + CANARY[:6])
    theirs.warning(one)
    logging.getLogger("celery.app.trace").error("Task %(name)s raised: %(exc)s", {"name": "drain", "exc": repr(one)},
        exc_info=sys.exc_info())
    logging.getLogger("uvicorn.error").error("Exception in ASGI application\\n", exc_info=error)
    logging.getLogger("broken").error("%d and " + "%s", CANARY)
thread = threading.Thread(target=fail, name="of ours")
thread.start()
thread.join()
asyncio.run(forget())
Final()
fail()
"""


def test_exceptions_are_types_and_frames_and_never_texts_whoever_logs_them() -> None:
    program = [sys.executable, "-c", EXCEPTIONS, "json"]
    finished = subprocess.run(program, capture_output=True, check=False, text=True)

    assert "cnry" not in finished.stdout + finished.stderr
    objects = [line for line in finished.stderr.splitlines() if line.startswith("{")]
    told = {line["event"]: line for line in map(json.loads, objects)}
    for event in (
        "ours",
        "theirs",
        "theirs with a value: __main__.Odd",
        "theirs, formatted before",
        "Task drain raised: not shown",
        "Exception in ASGI application",
        "a thread ended by an exception",
        "Exception in callback forget.",
        "Task exception was never retrieved",
        "an exception could not be raised",
        "the process ends by an exception",
    ):
        assert "Odd" in told[event]["exception"], event
    assert "KeyError" in told["ours"]["exception"]
    assert "<string>:25 fail" in told["ours"]["exception"]
    assert told["ours with a field"]["error"] == "__main__.Odd"
    assert "a line of broken cannot be logged" in finished.stderr


def test_text_for_reading_along_shows_no_texts_of_exceptions_either() -> None:
    program = [sys.executable, "-c", EXCEPTIONS, "text"]
    finished = subprocess.run(program, capture_output=True, check=False, text=True)

    assert "cnry" not in finished.stdout + finished.stderr
    assert "<string>:25 fail" in finished.stderr
