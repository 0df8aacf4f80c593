"""Errors of the database in logs: what happened and where, without the rows that Postgres quotes."""

import json
import subprocess
import sys

import pytest

from shared.settings import Settings

PROGRAM = """
import logging
import os
import psycopg
import structlog
from shared.logging import configure_logging
from shared.settings import Settings

configure_logging(Settings(), role="test")
with psycopg.connect(os.environ["TIDINGS_DATABASE_URL"]) as connection:
    try:
        {statement}
    except psycopg.Error as error:
        assert "canary" in str(error)
        structlog.get_logger().exception("ours")
        logging.getLogger("theirs").exception("theirs: %s", error)
"""

TWICE = "connection.execute(\"INSERT INTO projects (id, name) SELECT 'can' || 'ary', '' FROM generate_series(1, 2)\")"
COPIED = """with connection.cursor() as cursor, cursor.copy("COPY projects (id, name) FROM STDIN") as copy:
            copy.write("can" "ary\\t\\\\N\\n")"""


@pytest.mark.parametrize(("statement", "error"), [(TWICE, "UniqueViolation"), (COPIED, "NotNullViolation")])
def test_rows_are_not_shown(settings: Settings, statement: str, error: str) -> None:
    program = [sys.executable, "-c", PROGRAM.format(statement=statement)]
    environment = {"TIDINGS_DATABASE_URL": settings.require_database_url()}
    finished = subprocess.run(program, env=environment, capture_output=True, check=True, text=True)
    assert "canary" not in finished.stderr
    lines = [json.loads(line) for line in finished.stderr.splitlines()]
    assert len(lines) == 2
    for line in lines:
        assert error in line["exception"]
    assert lines[1]["event"] == f"theirs: psycopg.errors.{error}"
