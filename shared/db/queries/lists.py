"""One page of any list: filters, order, cursor and total, with the same rules for every table (contract §6)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    ARRAY,
    BigInteger,
    ColumnElement,
    Row,
    ScalarSelect,
    Select,
    SQLColumnExpression,
    and_,
    case,
    func,
    literal,
    or_,
    select,
)
from sqlalchemy.ext.asyncio import AsyncSession

from shared.errors import RejectedRequest

AnySelect = Select[*tuple[Any, ...]]

DEFAULT_LIMIT = 25
MAX_LIMIT = 5_000
PART_ROWS = 200
MAX_TOTAL = 5_000
"""The contract's cap on `total`; it also bounds what counting costs."""


@dataclass(frozen=True, slots=True)
class Order:
    """`is_nullable`: nulls come first ascending and last descending, and a cursor cannot stand on one."""

    column: SQLColumnExpression[Any]
    is_descending: bool
    is_nullable: bool = False


@dataclass(frozen=True, slots=True)
class Selection:
    """Which part of a list is wanted. The list's own seq, ascending, is the last order of every list."""

    filters: tuple[ColumnElement[bool], ...] = ()
    orders: tuple[Order, ...] = ()
    limit: int = DEFAULT_LIMIT
    offset: int = 0
    cursor_id: str | None = None
    is_before_cursor: bool = False  # the page that ends just before the cursor, in list order
    with_total: bool = True


@dataclass(frozen=True, slots=True)
class Page:
    """`rows` are shaped as the list's function says.

    `total`: matches without regard to limit, offset and cursor, at most MAX_TOTAL; 0 when it was not wanted.
    """

    rows: Sequence[Any]
    total: int


async def select_page(
    session: AsyncSession,
    statement: AnySelect,
    selection: Selection,
    *,
    seq: SQLColumnExpression[Any],
    public_id: SQLColumnExpression[Any],
) -> Page:
    """Raises RejectedRequest when the cursor's item is not in the list or cannot be compared."""
    if not selection.filters:
        return await _select_counted(session, statement, selection, seq=seq, public_id=public_id)
    matching = statement.where(*selection.filters)
    total, few = await _find_few(session, matching, seq)
    wanted = matching if few is None else statement.where(seq == func.any(few))
    position = await _find_position(session, statement, selection, seq=seq, public_id=public_id)
    rows = await _fetch(session, wanted, selection, seq=seq, position=position)
    return Page(rows, total if selection.with_total else 0)


async def _select_counted(
    session: AsyncSession,
    statement: AnySelect,
    selection: Selection,
    *,
    seq: SQLColumnExpression[Any],
    public_id: SQLColumnExpression[Any],
) -> Page:
    """Without filters, the total travels in a column of the page's own rows."""
    position = await _find_position(session, statement, selection, seq=seq, public_id=public_id)
    if not selection.with_total:
        return Page(await _fetch(session, statement, selection, seq=seq, position=position), 0)
    total = _count(statement, seq)
    rows = await _fetch(session, statement.add_columns(total), selection, seq=seq, position=position)
    if not rows:  # beyond the last one
        return Page(rows, int(await session.scalar(select(total)) or 0))
    return Page([row[:-1] for row in rows], int(rows[0][-1]))


async def _fetch(
    session: AsyncSession,
    wanted: AnySelect,
    selection: Selection,
    *,
    seq: SQLColumnExpression[Any],
    position: Sequence[Any] | None,
) -> Sequence[Row[Any]]:
    orders = _orders(selection, seq)
    if position is not None:
        wanted = wanted.where(_beyond(orders, position, is_reversed=selection.is_before_cursor))
    wanted = wanted.order_by(*(_order_by(order, is_reversed=selection.is_before_cursor) for order in orders))
    rows = await _read(session, wanted.limit(selection.limit).offset(selection.offset), selection.limit)
    return rows[::-1] if selection.is_before_cursor else rows


async def _read(session: AsyncSession, wanted: AnySelect, limit: int) -> Sequence[Row[Any]]:
    """A long page in parts, so that the loop turns between them: of five thousand messages each may have 64 kB."""
    if limit <= PART_ROWS:
        return (await session.execute(wanted)).all()
    rows: list[Row[Any]] = []
    async for part in (await session.stream(wanted.execution_options(yield_per=PART_ROWS))).partitions():
        rows += part
    return rows


def _orders(selection: Selection, seq: SQLColumnExpression[Any]) -> tuple[Order, ...]:
    return (*selection.orders, Order(seq, is_descending=False))


async def _find_few(
    session: AsyncSession, matching: AnySelect, seq: SQLColumnExpression[Any]
) -> tuple[int, list[int] | None]:
    """How many match, at most MAX_TOTAL; and where they are fewer, their seqs, of which a page is then put in order.

    Asked for the first of them in order, the planner likes to walk the whole list until enough have matched, and where
    they are rare, or all at its end, reads everything: 10 s for a word that is in one of a million messages.
    """
    few = matching.with_only_columns(seq.label("seq"), maintain_column_froms=True).limit(MAX_TOTAL).subquery()
    seqs = func.coalesce(func.array_agg(few.c.seq), [], type_=ARRAY(BigInteger))
    total, found = (
        await session.execute(select(func.count(), case((func.count() < MAX_TOTAL, seqs))).select_from(few))
    ).one()
    return total, found


async def _find_position(
    session: AsyncSession,
    statement: AnySelect,
    selection: Selection,
    *,
    seq: SQLColumnExpression[Any],
    public_id: SQLColumnExpression[Any],
) -> Row[Any] | None:
    """The cursor item's values of the ordered columns; None without a cursor."""
    if selection.cursor_id is None:
        return None
    columns = [order.column for order in _orders(selection, seq)]
    of_cursor = statement.with_only_columns(*columns, maintain_column_froms=True).where(
        public_id == selection.cursor_id
    )
    position = (await session.execute(of_cursor)).one_or_none()
    if position is None:
        raise RejectedRequest("general_cursor_not_found", "The cursor names no item of this list.")
    if None in position:
        raise RejectedRequest("database_query_order_null", "The cursor's item has no value to order by.")
    return position


def _beyond(orders: Sequence[Order], position: Sequence[Any], *, is_reversed: bool) -> ColumnElement[bool]:
    """Past the position: larger in the first order, or equal there and past it in the others.

    That the first is at least equal is said on its own, so that an index of the first order starts right there.
    """
    past = _past(orders[0], position[0], is_reversed=is_reversed)
    if len(orders) == 1:
        return past
    reached = _past(orders[0], position[0], is_reversed=is_reversed, or_at=True)
    return and_(reached, or_(past, _beyond(orders[1:], position[1:], is_reversed=is_reversed)))


def _past(order: Order, value: object, *, is_reversed: bool, or_at: bool = False) -> ColumnElement[bool]:
    column = order.column
    if order.is_descending == is_reversed:
        return column >= value if or_at else column > value
    past = column <= value if or_at else column < value
    return or_(past, column.is_(None)) if order.is_nullable else past


def _order_by(order: Order, *, is_reversed: bool) -> ColumnElement[Any]:
    if order.is_descending == is_reversed:
        ascending = order.column.asc()
        return ascending.nulls_first() if order.is_nullable else ascending
    descending = order.column.desc()
    return descending.nulls_last() if order.is_nullable else descending


def _count(statement: AnySelect, seq: SQLColumnExpression[Any]) -> ScalarSelect[Any]:
    """How many there are, at most MAX_TOTAL: of the list's own table alone, along its own index.

    So other projects' items before them do not matter, nor what is joined to show them.
    """
    assert statement.whereclause is not None  # every list has its project's or its parent's
    items = select(literal(1)).where(statement.whereclause).order_by(seq).limit(MAX_TOTAL).subquery()
    return select(func.count()).select_from(items).scalar_subquery()
