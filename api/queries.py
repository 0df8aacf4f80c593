"""The list-query language (contract §6): JSON texts are parsed, checked and turned into SQL conditions."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum, auto
from typing import Any

from pydantic_core import from_json
from sqlalchemy import BigInteger, ColumnElement, SQLColumnExpression, and_, any_, func, literal, not_, or_

from api.parameters import refusal
from api.schemas.lists import ListParameters, UnsearchableListParameters
from api.schemas.values import parse_moment
from shared.db.queries.lists import MAX_LIMIT, Order, Selection
from shared.db.queries.search import Searched, Words
from shared.errors import RejectedRequest
from shared.ids import PUBLIC_ID

MAX_VALUES = 500
MAX_DEPTH = 10  # of `and` and `or` in each other
MAX_COMPARISONS = 500
"""Of all queries of a list together, each value one: making SQL of one takes up to 0.2 ms."""

_MILLISECOND = timedelta(milliseconds=1)
_LAST_MOMENT = datetime.max.replace(tzinfo=UTC)

Column = SQLColumnExpression[Any]
Condition = ColumnElement[bool]


class Kind(Enum):
    """What values an attribute is compared with."""

    TEXT = auto()
    INTEGER = auto()
    BOOLEAN = auto()
    MOMENT = auto()
    TEXTS = auto()  # an array of texts


@dataclass(frozen=True, slots=True)
class Attribute:
    """Something a list may be filtered and ordered by; its key in a list's table is the wire's name."""

    column: Column
    kind: Kind = Kind.TEXT
    is_nullable: bool = False


Attributes = Mapping[str, Attribute]


def stored_attributes(model: Any) -> dict[str, Attribute]:
    """The attributes every list has."""
    return {
        "$id": Attribute(model.id),
        "$createdAt": Attribute(model.created_at, Kind.MOMENT),
        "$updatedAt": Attribute(model.updated_at, Kind.MOMENT),
        "$sequence": Attribute(model.seq, Kind.INTEGER),
    }


@dataclass(frozen=True, slots=True)
class Query:
    """One parsed query; `values` as JSON had them, which for `and` and `or` are queries again."""

    method: str
    attribute: str
    values: list[Any]


def _refuse(reason: str) -> RejectedRequest:
    return refusal("queries", f"is not valid: {reason}")


def parse_query(text: str) -> Query:
    try:
        return _as_query(from_json(text, allow_inf_nan=False))
    except ValueError as error:
        raise _refuse("each query is a JSON object") from error


def _as_query(parsed: object) -> Query:
    if not isinstance(parsed, dict):
        raise _refuse("each query is a JSON object")
    query = Query(parsed.get("method", ""), parsed.get("attribute", ""), parsed.get("values", []))
    if not (isinstance(query.method, str) and isinstance(query.attribute, str) and isinstance(query.values, list)):
        raise _refuse("a query has a `method`, an `attribute` and a list of `values`")
    return query


def _escape_like(text: str) -> str:
    return re.sub(r"([\\%_])", r"\\\1", text)


def _like(attribute: Attribute, pattern: str, values: Sequence[Any]) -> Condition:
    """`pattern` says with `{}` where the value stands."""
    return or_(*(attribute.column.like(pattern.format(_escape_like(value)), escape="\\") for value in values))


def _equal(attribute: Attribute, values: Sequence[Any]) -> Condition:
    match attribute.kind:
        case Kind.TEXTS:
            return or_(*(attribute.column == [value] for value in values))
        case Kind.MOMENT:
            return or_(*(_between(attribute, [value, value]) for value in values))
    return attribute.column.in_(values)


def _ends_of(attribute: Attribute, value: Any) -> tuple[object, object]:
    """The first stored value that equals what the wire calls `value`, and the first beyond.

    Moments leave us in milliseconds and come back so: one of them stands for all stored moments within it. What is
    compared is the column itself, so that its index serves.
    """
    if attribute.kind is not Kind.MOMENT:
        return value, value
    within = timedelta(microseconds=value.microsecond % 1000)
    after = _MILLISECOND - within
    beyond = value + after if value <= _LAST_MOMENT - after else _LAST_MOMENT
    return (beyond if within else value), beyond


def _less(attribute: Attribute, values: Sequence[Any]) -> Condition:
    return attribute.column < _ends_of(attribute, values[0])[0]


def _greater_or_equal(attribute: Attribute, values: Sequence[Any]) -> Condition:
    return attribute.column >= _ends_of(attribute, values[0])[0]


def _less_or_equal(attribute: Attribute, values: Sequence[Any]) -> Condition:
    first, beyond = _ends_of(attribute, values[0])
    return attribute.column < beyond if attribute.kind is Kind.MOMENT else attribute.column <= first


def _greater(attribute: Attribute, values: Sequence[Any]) -> Condition:
    first, beyond = _ends_of(attribute, values[0])
    return attribute.column >= beyond if attribute.kind is Kind.MOMENT else attribute.column > first


def _between(attribute: Attribute, values: Sequence[Any]) -> Condition:
    return and_(_greater_or_equal(attribute, values[:1]), _less_or_equal(attribute, values[1:]))


def _contains(attribute: Attribute, values: Sequence[Any]) -> Condition:
    if attribute.kind is Kind.TEXTS:
        return or_(*(literal(value) == any_(attribute.column) for value in values))
    return _like(attribute, "%{}%", values)


@dataclass(frozen=True, slots=True)
class Method:
    """How a filter becomes SQL, and how many values it takes."""

    condition: Callable[[Attribute, Sequence[Any]], Condition]
    least: int = 1
    most: int = 1
    kinds: frozenset[Kind] = frozenset(Kind)


_COMPARABLE = frozenset(Kind) - {Kind.TEXTS}
_TEXT = frozenset({Kind.TEXT})
_CONTAINERS = frozenset({Kind.TEXT, Kind.TEXTS})

FILTERS: Mapping[str, Method] = {
    "equal": Method(_equal, most=MAX_VALUES),
    "notEqual": Method(lambda attribute, values: not_(_equal(attribute, values))),
    "lessThan": Method(_less, kinds=_COMPARABLE),
    "lessThanEqual": Method(_less_or_equal, kinds=_COMPARABLE),
    "greaterThan": Method(_greater, kinds=_COMPARABLE),
    "greaterThanEqual": Method(_greater_or_equal, kinds=_COMPARABLE),
    "between": Method(_between, 2, 2, _COMPARABLE),
    "notBetween": Method(lambda attribute, values: not_(_between(attribute, values)), 2, 2, _COMPARABLE),
    "isNull": Method(lambda attribute, _: attribute.column.is_(None), 0, 0),
    "isNotNull": Method(lambda attribute, _: attribute.column.is_not(None), 0, 0),
    "startsWith": Method(lambda attribute, values: _like(attribute, "{}%", values), kinds=_TEXT),
    "notStartsWith": Method(lambda attribute, values: not_(_like(attribute, "{}%", values)), kinds=_TEXT),
    "endsWith": Method(lambda attribute, values: _like(attribute, "%{}", values), kinds=_TEXT),
    "notEndsWith": Method(lambda attribute, values: not_(_like(attribute, "%{}", values)), kinds=_TEXT),
    "contains": Method(_contains, most=MAX_VALUES, kinds=_CONTAINERS),
    "notContains": Method(lambda attribute, values: not_(_contains(attribute, values)), 1, MAX_VALUES, _CONTAINERS),
}
_JOINS: Mapping[str, Callable[..., Condition]] = {"and": and_, "or": or_}
_SEARCHES = frozenset({"search", "notSearch"})
_ORDERS = {"orderAsc": False, "orderDesc": True}  # value: is it descending


def _read_value(value: object, kind: Kind) -> object:
    """A value as the database compares it. Types are not coerced."""
    read: object = None
    match kind:
        case Kind.TEXT | Kind.TEXTS:
            read = value if isinstance(value, str) and "\0" not in value else None
        case Kind.BOOLEAN:
            read = value if isinstance(value, bool) else None
        case Kind.INTEGER:
            is_integer = isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63
            # by its own kind: beyond 32 bits a number of the column's would be an error, not a larger one
            read = literal(value, BigInteger) if is_integer else None
        case Kind.MOMENT:
            read = parse_moment(value) if isinstance(value, str) else None
    if read is None:
        raise _refuse(f"{value!r} is no value of this attribute")
    return read


def _find(attributes: Attributes, name: str) -> Attribute:
    if name not in attributes:
        raise _refuse(f"there is no attribute `{name}`; this list has {', '.join(attributes)}")
    return attributes[name]


def _count_comparisons(query: Query) -> int:
    if query.method in _JOINS:
        return sum(_count_comparisons(_as_query(inner)) for inner in query.values)
    return max(1, len(query.values))


def _filter(query: Query, attributes: Attributes, depth: int = 0) -> Condition:
    if query.method in _JOINS:
        if len(query.values) < 2 or depth >= MAX_DEPTH:
            raise _refuse(f"`{query.method}` joins at least two filters, at most {MAX_DEPTH} deep")
        return _JOINS[query.method](*(_filter(_as_query(inner), attributes, depth + 1) for inner in query.values))
    attribute = _find(attributes, query.attribute) if query.method in FILTERS or query.method in _SEARCHES else None
    if query.method in _SEARCHES:
        raise RejectedRequest("general_query_invalid", f"`{query.attribute}` has no index of words to search in.")
    if attribute is None:
        raise _refuse(f"there is no filter `{query.method}`")
    method = FILTERS[query.method]
    if attribute.kind not in method.kinds:
        raise _refuse(f"`{query.method}` does not apply to `{query.attribute}`")
    if not method.least <= len(query.values) <= method.most:
        raise _refuse(f"`{query.method}` takes {method.least} to {method.most} values")
    return method.condition(attribute, [_read_value(value, attribute.kind) for value in query.values])


def _read_number(query: Query, *, least: int) -> int:
    match query.values:
        case [int(number)] if number >= least and not isinstance(number, bool):
            return min(number, 2**31 - 1)
    raise _refuse(f"`{query.method}` takes one number, at least {least}")


def _read_cursor(query: Query) -> str:
    match query.values:
        case [str(cursor)] if PUBLIC_ID.fullmatch(cursor):
            return cursor
    raise _refuse(f"`{query.method}` takes the id of an item")


def select(
    wanted: ListParameters | UnsearchableListParameters,
    attributes: Attributes,
    *,
    search_in: Searched | Sequence[Column] = (),
) -> Selection:
    """The part of a list that was asked for. `search_in`: what `search` reads; columns: without an index.

    Raises RejectedRequest for whatever is not in the language or not in `attributes`.
    """
    filters: list[Condition] = []
    orders: list[Order] = []
    paging: dict[str, Any] = {}
    is_random = False
    comparisons_left = MAX_COMPARISONS
    for query in map(parse_query, wanted.queries):
        comparisons_left -= _count_comparisons(query)
        if comparisons_left < 0:
            raise _refuse(f"they compare with more than {MAX_COMPARISONS} values")
        match query.method:
            case "limit":
                paging["limit"] = min(_read_number(query, least=1), MAX_LIMIT)
            case "offset":
                paging["offset"] = _read_number(query, least=0)
            case "cursorAfter" | "cursorBefore":
                paging["cursor_id"] = _read_cursor(query)
                paging["is_before_cursor"] = query.method == "cursorBefore"
            case "orderRandom":
                orders.append(Order(func.random(), is_descending=False))
                is_random = True
            case "orderAsc" | "orderDesc":
                attribute = _find(attributes, query.attribute or "$sequence")
                orders.append(Order(attribute.column, _ORDERS[query.method], attribute.is_nullable))
            case _:
                filters.append(_filter(query, attributes))
    if is_random and "cursor_id" in paging:
        raise _refuse("a cursor has no place in a random order")
    if isinstance(wanted, ListParameters) and wanted.search:
        searched = Words(func.concat_ws(" ", *search_in), {}) if isinstance(search_in, Sequence) else search_in
        filters.append(searched.condition(wanted.search))
    return Selection(tuple(filters), tuple(orders), with_total=wanted.total, **paging)


def select_window(wanted: UnsearchableListParameters) -> Selection:
    """Limit and offset, all that logs know of the language."""
    for query in map(parse_query, wanted.queries):
        if query.method not in ("limit", "offset"):
            raise _refuse(f"logs know limit and offset, not `{query.method}`")
    return select(wanted, {})
