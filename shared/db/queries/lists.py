"""One page of any list: filters, order, cursor and total, with the same rules for every table (contract §6)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, SQLColumnExpression, and_, false, func, literal, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from shared.errors import RejectedRequest

AnySelect = Select[*tuple[Any, ...]]

DEFAULT_LIMIT = 25
MAX_LIMIT = 5_000
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
    orders = (*selection.orders, Order(seq, is_descending=False))
    matching = statement.where(*selection.filters)
    wanted = matching
    if selection.cursor_id is not None:
        position = await _find_position(session, statement, orders, public_id == selection.cursor_id)
        wanted = wanted.where(_beyond(orders, position, is_reversed=selection.is_before_cursor))
    wanted = wanted.order_by(*(_order_by(order, is_reversed=selection.is_before_cursor) for order in orders))
    rows = (await session.execute(wanted.limit(selection.limit).offset(selection.offset))).all()
    if selection.is_before_cursor:
        rows = rows[::-1]
    return Page(rows, await _count(session, matching) if selection.with_total else 0)


async def _find_position(
    session: AsyncSession, statement: AnySelect, orders: Sequence[Order], is_cursor: ColumnElement[bool]
) -> Row[Any]:
    """The cursor item's values of the ordered columns."""
    columns = [order.column for order in orders]
    position = (
        await session.execute(statement.with_only_columns(*columns, maintain_column_froms=True).where(is_cursor))
    ).one_or_none()
    if position is None:
        raise RejectedRequest("general_cursor_not_found", "The cursor names no item of this list.")
    if None in position:
        raise RejectedRequest("database_query_order_null", "The cursor's item has no value to order by.")
    return position


def _beyond(orders: Sequence[Order], position: Row[Any], *, is_reversed: bool) -> ColumnElement[bool]:
    """Past the position: larger in the first order, or equal there and larger in the second, and so on."""
    alternatives = []
    for index, order in enumerate(orders):
        equal = [before.column == value for before, value in zip(orders[:index], position, strict=False)]
        alternatives.append(and_(*equal, _past(order, position[index], is_reversed=is_reversed)))
    return or_(false(), *alternatives)


def _past(order: Order, value: object, *, is_reversed: bool) -> ColumnElement[bool]:
    if order.is_descending == is_reversed:
        return order.column > value
    past = order.column < value
    return or_(past, order.column.is_(None)) if order.is_nullable else past


def _order_by(order: Order, *, is_reversed: bool) -> ColumnElement[Any]:
    if order.is_descending == is_reversed:
        ascending = order.column.asc()
        return ascending.nulls_first() if order.is_nullable else ascending
    descending = order.column.desc()
    return descending.nulls_last() if order.is_nullable else descending


async def _count(session: AsyncSession, matching: AnySelect) -> int:
    counted = matching.with_only_columns(literal(1), maintain_column_froms=True).limit(MAX_TOTAL).subquery()
    return int(await session.scalar(select(func.count()).select_from(counted)) or 0)
