"""Logs: a fixed phrase plus fields, one JSON object a line. Ids only: no address, body or secret, and of exceptions
types and frames, never texts.
"""

import logging
import re
import sys
import threading
from types import TracebackType
from typing import Any

import structlog

from shared.exception_words import (
    OURS,
    describe,
    exception_in,
    first_words,
    hide_texts,
    without_texts,
    write_uncaught,
)
from shared.settings import Settings

_AT_DEBUG_TOO = (*OURS, "celery")
"""Who may say more than info. Other libraries tell at debug what goes over the wire: hpack each header, with tokens."""

_OF_THE_FORMATTER = ("_record", "_from_structlog")

_ROWS = re.compile(r"^(DETAIL|CONTEXT):.*$", re.MULTILINE)


def hide_rows(_logger: object, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Postgres quotes rows in these lines of its words, and rows hold addresses."""
    if isinstance(event.get("event"), str):
        event["event"] = _ROWS.sub(r"\1: not shown", event["event"])
    return event


def tell_exceptions(_logger: object, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Types and frames in place of exceptions, whoever logs them and however."""
    record: logging.LogRecord | None = event.get("_record")  # none: of a command, which logs to nobody's file
    values = event.pop("positional_args", ())
    raised = _exception_of(event.pop("exc_info", None))
    error = raised or exception_in(values) or exception_in(event)
    is_ours = record is None or bool(event.get("_from_structlog")) or record.name.partition(".")[0] in OURS
    handled = error or sys.exception()  # it may have been formatted into a sentence before
    if handled is None:
        return event
    if record is not None and not is_ours:
        event["event"] = _words_of(record.msg, values)
    told = {name: value if name in _OF_THE_FORMATTER else _told(value, handled) for name, value in event.items()}
    # an exception that is named in passing is no news: SQLAlchemy does so for every connection that it replaces
    is_grave = record is None or record.levelno >= logging.ERROR
    is_told = raised is not None or (is_grave and (error is not None or not is_ours))
    return {**told, "exception": describe(handled)} if is_told else told


def _told(value: Any, error: BaseException) -> Any:
    value = without_texts(value, is_ours=True)
    return hide_texts(value, error) if isinstance(value, str) else value


def _exception_of(exc_info: Any) -> BaseException | None:
    """Of what loggers take: an exception, the triple of one, or `True` for the one being handled."""
    match exc_info:
        case BaseException():
            return exc_info
        case (_, BaseException() as error, _):
            return error
        case None | False | (None, None, None):
            return None
    return sys.exception()


def _words_of(phrase: Any, values: Any) -> str:
    """A library's phrase beside an exception, with those of its values that quote nothing."""
    if not isinstance(phrase, str):
        return "not shown"
    if not values:
        return first_words(phrase)
    try:
        first_line = phrase.partition("\n")[0]
        return str(first_line % without_texts(_values_of(first_line, values), is_ours=False))
    except (TypeError, ValueError, KeyError):  # `%d` of what is not shown
        return first_words(phrase)


def _values_of(first_line: str, values: Any) -> Any:
    """Those that the first line of a phrase asks for."""
    if isinstance(values, tuple):
        return values[: first_line.replace("%%", "").count("%")]
    return values


class _Handler(logging.StreamHandler[Any]):
    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  # the standard library's name
        """Its own prints the line's values and the error's text."""
        write_uncaught(sys.exception(), f"a line of {record.name} cannot be logged")


def log_uncaught_exceptions() -> None:
    """In place of Python's own hooks, which print texts: of the process, of threads, and what no caller hears of."""
    log = structlog.get_logger("shared.uncaught")

    def of_process(_kind: type[BaseException], error: BaseException, _traceback: TracebackType | None) -> None:
        log.critical("the process ends by an exception", exc_info=error)

    def of_thread(caught: threading.ExceptHookArgs) -> None:
        if not isinstance(caught.exc_value, SystemExit):
            name = caught.thread.name if caught.thread else ""
            log.error("a thread ended by an exception", thread=name, exc_info=caught.exc_value)

    def of_nobody(caught: "sys.UnraisableHookArgs") -> None:
        log.error("an exception could not be raised", exc_info=caught.exc_value)

    sys.excepthook, threading.excepthook, sys.unraisablehook = of_process, of_thread, of_nobody


def configure_logging(settings: Settings, *, role: str) -> None:
    """Send structlog and the standard library's loggers to stderr in one shape. Call once per process."""
    level = getattr(logging, settings.log_level.upper())

    def add_role(_logger: object, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        """No context variable: threads start without them."""
        return {"role": role, **event}

    shared_processors: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        add_role,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    renderer: structlog.types.Processor = (
        structlog.processors.JSONRenderer() if settings.log_format == "json" else structlog.dev.ConsoleRenderer()
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        pass_foreign_args=True,
        foreign_pre_chain=shared_processors,
        processors=[
            tell_exceptions,
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            hide_rows,
            renderer,
        ],
    )
    handler = _Handler(sys.stderr)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(level, logging.INFO))
    for name in _AT_DEBUG_TOO:
        logging.getLogger(name).setLevel(level)
    logging.captureWarnings(capture=True)
    structlog.configure(
        processors=[*shared_processors, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    log_uncaught_exceptions()


def configure_command_logging() -> None:
    """For a command: its own words go to stderr as they are, and a bug's exception without texts and locals."""
    structlog.configure(
        processors=[structlog.processors.add_log_level, tell_exceptions, structlog.dev.ConsoleRenderer()],
        # each logger's own, as a terminal's stderr may be taken over later
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),
    )
    log_uncaught_exceptions()
