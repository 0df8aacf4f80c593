"""Engines, sessions and the two hot ways to the wire: psycopg's own connection, and COPY."""

import asyncio
import select
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import psycopg
from psycopg import sql
from psycopg.abc import PQGen
from psycopg.errors import IdleInTransactionSessionTimeout
from psycopg.pq import TransactionStatus
from psycopg.waiting import wait_async
from sqlalchemy import event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import InvalidatePoolError, OperationalError
from sqlalchemy.ext.asyncio import (
    AsyncConnection,
    AsyncEngine,
    AsyncSession,
    async_sessionmaker,
    create_async_engine,
)
from sqlalchemy.util import greenlet_spawn

from shared.db.fair_pool import FairPool
from shared.settings import Settings

HotConnection = psycopg.AsyncConnection[Any]
WaitedFor = TypeVar("WaitedFor")

STATEMENT_TIMEOUT_MS = 10_000
LOCK_TIMEOUT_MS = 2_000
POOL_TIMEOUT_SECONDS = 10.0
IDLE_IN_TRANSACTION_TIMEOUT_MS = 10_000  # queue tables die of dead rows behind one long transaction


class AbandonableConnection(psycopg.AsyncConnection[Any]):
    """Whoever is cancelled while a statement runs gives the connection up at once.

    psycopg first asks the server to end the statement, and waits up to ten seconds for that: as long again as the
    caller was ready to wait, where the server stands still. Postgres ends it by itself once it meets the closed line.
    """

    async def wait(self, gen: PQGen[WaitedFor], interval: float = 0.1, timeout: float | None = None) -> WaitedFor:  # noqa: ASYNC109  # psycopg's
        try:
            return await wait_async(gen, self.pgconn.socket, interval=interval, timeout=timeout)
        except asyncio.CancelledError:
            self.pgconn.finish()
            raise


def create_engine(
    settings: Settings, *, role: str, pool_size: int = 5, pool_timeout_seconds: float = POOL_TIMEOUT_SECONDS
) -> AsyncEngine:
    """An engine whose sessions carry the role's name, so a database view tells who holds what.

    A kept connection that Postgres has closed is replaced when it is taken out, so that a restart costs nobody an
    error afterwards. One that breaks on use fails with a disconnect and empties the pool. One that Postgres ended
    because its transaction stood still, as behind a line that was dead for a while, is an OperationalError as well:
    the driver counts it among those that are not worth another try.
    """
    engine = create_async_engine(
        settings.require_database_url(),
        poolclass=FairPool,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=pool_timeout_seconds,
        hide_parameters=True,  # errors end up in logs; addresses and contents must not
        connect_args={
            "application_name": f"tidings-{role}",
            "client_encoding": "utf8",  # whatever PGCLIENTENCODING, the role or the database would have it be
            "async_creator_fn": AbandonableConnection.connect,
            "connect_timeout": 5,
            "tcp_user_timeout": 5_000,
            "options": (
                f"-c statement_timeout={STATEMENT_TIMEOUT_MS} -c lock_timeout={LOCK_TIMEOUT_MS}"
                f" -c idle_in_transaction_session_timeout={IDLE_IN_TRANSACTION_TIMEOUT_MS}"
                # a page of fan-out or a claim runs for milliseconds: compiling it would cost more than it saves
                " -c jit=off"
                # whoever reads in parts reads to the end, so plans are made for all of it
                " -c cursor_tuple_fraction=1"
                # likewise: starting workers takes longer than most answers, and the cores belong to all
                " -c max_parallel_workers_per_gather=0"
                # a server east of Greenwich would show the last hours of the year 9999 as ones that Python has not
                " -c timezone=UTC"
            ),
        },
    )

    @event.listens_for(engine.sync_engine, "connect")
    def prepare_early(dbapi_connection: Any, _record: object) -> None:
        # hot statements are prepared at their second execution instead of the sixth
        dbapi_connection.driver_connection.prepare_threshold = 1

    @event.listens_for(engine.sync_engine, "checkout")
    def refuse_the_dead(dbapi_connection: Any, _record: object, _proxy: object) -> None:
        if _has_ended(dbapi_connection.driver_connection):
            raise InvalidatePoolError("Postgres closed the connection while it was idle.")  # the pool makes another

    @event.listens_for(engine.sync_engine, "handle_error")
    def tell_of_a_lost_connection(context: ExceptionContext) -> None:
        if isinstance(context.original_exception, IdleInTransactionSessionTimeout):
            raise OperationalError(context.statement, None, context.original_exception, hide_parameters=True)

    return engine


def _has_ended(connection: HotConnection) -> bool:
    """An idle connection is silent; something to read on it is its end. Asks the kernel: no round trip."""
    if connection.closed:
        return True
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    return bool(poll.poll(0))


def create_sessions(engine: AsyncEngine) -> async_sessionmaker[AsyncSession]:
    return async_sessionmaker(engine, expire_on_commit=False)


@asynccontextmanager
async def hot_transaction(engine: AsyncEngine) -> AsyncIterator[HotConnection]:
    """One transaction on psycopg's own connection out of the pool: committed at the end, rolled back on an error.

    For the paths whose cost counts (auth, accept, claim, marks, outcomes): the same insert costs 1,753 µs of CPU
    through SQLAlchemy's asyncio layer and 442 µs here (architecture §5). A psycopg.OperationalError that leaves
    may have been committed: callers repeat only what is safe to repeat.
    """
    async with _hot_connection(engine) as connection:
        try:
            yield connection
            await connection.commit()
        except BaseException:
            if not connection.closed:
                await connection.rollback()
            raise


@asynccontextmanager
async def hot_statements(engine: AsyncEngine) -> AsyncIterator[HotConnection]:
    """Likewise, but every statement is a transaction of its own: one round trip to Postgres where a transaction of
    one statement costs three.
    """
    async with _hot_connection(engine) as connection:
        await connection.set_autocommit(True)
        try:
            yield connection
        finally:
            if connection.info.transaction_status is TransactionStatus.IDLE:
                await connection.set_autocommit(False)
            else:  # broken off within a statement: nobody may get it as it is
                await connection.close()


@asynccontextmanager
async def _hot_connection(engine: AsyncEngine) -> AsyncIterator[HotConnection]:
    pooled = await engine.raw_connection()
    connection: HotConnection = pooled.driver_connection  # type: ignore[assignment]
    try:
        yield connection
    except BaseException as error:
        if connection.closed:
            # Postgres restarted or the line broke: its siblings in the pool are dead too
            await greenlet_spawn(pooled.invalidate)
            await engine.dispose()
        if isinstance(error, IdleInTransactionSessionTimeout):
            raise psycopg.OperationalError(str(error)) from error
        raise
    finally:
        await greenlet_spawn(pooled.close)


async def copy_rows(
    connection: HotConnection, table: str, columns: Sequence[str], rows: Iterable[Sequence[object]]
) -> None:
    """COPY rows into a table within the connection's transaction (130,000 ledger rows a second, bench.md)."""
    statement = sql.SQL("COPY {} ({}) FROM STDIN").format(
        sql.Identifier(table), sql.SQL(", ").join(map(sql.Identifier, columns))
    )
    async with connection.cursor() as cursor, cursor.copy(statement) as copy:
        for row in rows:
            await copy.write_row(row)


async def copy_within(
    connection: AsyncConnection, table: str, columns: Sequence[str], rows: Iterable[Sequence[object]]
) -> None:
    """COPY inside a SQLAlchemy transaction opened with `engine.begin()`.

    SQLAlchemy commits only a transaction it has itself sent a statement in: without one, its commit is a no-op
    and the copied rows vanish. So one is sent first, always.
    """
    await connection.exec_driver_sql("SELECT 1")
    pooled = await connection.get_raw_connection()
    await copy_rows(pooled.driver_connection, table, columns, rows)  # type: ignore[arg-type]
