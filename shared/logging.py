"""Logs: a fixed phrase plus fields, one JSON object a line. Ids only: no address, body or secret."""

import logging
import re
import sys

import structlog

from shared.settings import Settings

_AT_DEBUG_TOO = ("api", "workers", "scheduler", "shared", "deploy", "celery")
"""Who may say more than info. Other libraries tell at debug what goes over the wire: hpack each header, with tokens."""

_ROWS = re.compile(r"^(DETAIL|CONTEXT):.*$", re.MULTILINE)


def hide_rows(_logger: object, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Postgres quotes rows in these lines of its errors, and rows hold addresses."""
    for name in ("event", "exception"):
        if isinstance(event.get(name), str):
            event[name] = _ROWS.sub(r"\1: not shown", event[name])
    return event


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
        foreign_pre_chain=shared_processors,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            hide_rows,
            renderer,
        ],
    )
    handler = logging.StreamHandler(sys.stderr)
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
