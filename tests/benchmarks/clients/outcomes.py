"""A client program's record: rows gathered while it sends, written by COPY, five hundred a commit."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

import psycopg

ROWS_PER_COMMIT = 500

CREATE = """
CREATE TABLE client_outcomes (
    run bigint, recipient bigint, state text NOT NULL, provider_message_id text NOT NULL, PRIMARY KEY (run, recipient)
)
"""
COPY = "COPY client_outcomes (run, recipient, state, provider_message_id) FROM STDIN"
SENT = "sent"


class Row(NamedTuple):
    recipient: int
    state: str  # SENT, or what the library said instead, which fails the run
    provider_message_id: str = ""


class Outcomes:
    """Written by a task of its own, so that sending goes on meanwhile."""

    def __init__(self, connection: psycopg.AsyncConnection[tuple[object, ...]], run: int) -> None:
        self._connection = connection
        self._run = run
        self._rows: list[Row] = []
        self._is_full = asyncio.Event()
        self._writing = asyncio.create_task(self._write_full_pages())

    def add(self, rows: Sequence[Row]) -> None:
        self._rows += rows
        if len(self._rows) >= ROWS_PER_COMMIT:
            self._is_full.set()

    async def close(self) -> None:
        """Returns when the last row is committed."""
        self._writing.cancel()
        with suppress(asyncio.CancelledError):
            await self._writing
        await self._write()

    async def _write_full_pages(self) -> None:
        while True:
            await self._is_full.wait()
            self._is_full.clear()
            await asyncio.shield(self._write())

    async def _write(self) -> None:
        rows, self._rows = self._rows, []
        text = "".join([f"{self._run}\t{recipient}\t{state}\t{message_id}\n" for recipient, state, message_id in rows])
        async with self._connection.cursor() as cursor, cursor.copy(COPY) as copy:
            await copy.write(text)
