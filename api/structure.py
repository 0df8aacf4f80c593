"""A document's data against its collection's attributes (contract §17)."""

from collections.abc import Callable, Sequence
from typing import Any

from api.schemas.values import is_email, parse_moment
from shared.errors import RejectedRequest

MAX_VALUES = 5_000
"""Of all attributes, each element of an array one: looking at an e-mail address takes up to 50 µs."""


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


_IS: dict[str, Callable[[Any], bool]] = {
    "string": lambda value: isinstance(value, str),
    "integer": _is_integer,
    "double": lambda value: isinstance(value, float) or _is_integer(value),
    "boolean": lambda value: isinstance(value, bool),
    "datetime": lambda value: isinstance(value, str) and parse_moment(value) is not None,
    "email": lambda value: isinstance(value, str) and is_email(value),
}


def structured(data: dict[str, Any], attributes: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """All attributes in their order, defaults filled in. Raises RejectedRequest naming the first that does not fit."""
    if not data:
        raise RejectedRequest("document_missing_data", "`data` is empty.")
    values = sum(len(value) if isinstance(value, list) else 1 for value in data.values())
    if values > MAX_VALUES:
        raise RejectedRequest("document_invalid_structure", f"A document has at most {MAX_VALUES} values.")
    unknown = data.keys() - {attribute["key"] for attribute in attributes}
    if unknown:
        raise _invalid(min(unknown), "is no attribute of the collection")
    return {attribute["key"]: _read(attribute, data.get(attribute["key"])) for attribute in attributes}


def _read(attribute: dict[str, Any], value: Any) -> Any:
    if value is None:
        if attribute["required"]:
            raise _invalid(attribute["key"], "is required")
        return [] if attribute["array"] else attribute["default"]
    if attribute["array"] and not isinstance(value, list):
        raise _invalid(attribute["key"], "is not a list")
    for one in value if attribute["array"] else [value]:
        if not _IS[attribute["type"]](one):
            raise _invalid(attribute["key"], f"is no {attribute['type']}")
        if isinstance(one, str) and len(one) > attribute["size"]:
            raise _invalid(attribute["key"], f"is longer than {attribute['size']} characters")
    return value


def _invalid(key: str, reason: str) -> RejectedRequest:
    return RejectedRequest("document_invalid_structure", f"The document does not fit: `{key}` {reason}.")
