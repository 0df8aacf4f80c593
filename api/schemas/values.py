"""The contract's kinds of values (§5) as types; a field's type is its validation."""

import re
from datetime import UTC, datetime
from math import isfinite
from typing import Annotated, Any, cast

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints, WithJsonSchema
from pydantic_core import PydanticCustomError, from_json

from shared.domain.contacts.addresses import NotAnAddress, read_email, read_phone
from shared.ids import UNIQUE, new_public_id

ID_PATTERN = r"[A-Za-z0-9][A-Za-z0-9._-]{0,35}"
INTEGER_LIMIT = 2**31

Text = Annotated[str, StringConstraints(min_length=1)]
Text128 = Annotated[str, StringConstraints(min_length=1, max_length=128)]
Text255 = Annotated[str, StringConstraints(min_length=1, max_length=255)]
Text256 = Annotated[str, StringConstraints(min_length=1, max_length=256)]
EmptyOrText128 = Annotated[str, StringConstraints(max_length=128)]
Subject = Annotated[str, StringConstraints(min_length=1, max_length=998)]
LongText = Annotated[str, StringConstraints(min_length=1, max_length=64230)]


def _make_when_asked(custom_id: str) -> str:
    return new_public_id() if custom_id == UNIQUE else custom_id


CustomId = Annotated[
    str,
    StringConstraints(pattern=rf"^(unique\(\)|{ID_PATTERN})$"),
    AfterValidator(_make_when_asked),
    Field(description="Your own id, or `unique()` to have one made", examples=["unique()"]),
]
PublicId = Annotated[str, StringConstraints(pattern=rf"^{ID_PATTERN}$")]
CompoundId = Annotated[str, StringConstraints(pattern=rf"^{ID_PATTERN}(:{ID_PATTERN})+$")]

Integer = Annotated[int, Field(ge=-INTEGER_LIMIT, le=INTEGER_LIMIT - 1)]


def _number_in_text(value: object) -> object:
    """Numeric strings become numbers; everything else is left for the type to judge."""
    return int(value) if isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,10}", value) else value


NumericInteger = Annotated[
    Integer,
    BeforeValidator(_number_in_text),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": -INTEGER_LIMIT, "maximum": INTEGER_LIMIT - 1},
                {"type": "string", "pattern": "^-?[0-9]{1,9}$"},
            ]
        }
    ),
]
Port = Annotated[
    int,
    Field(ge=1, le=65535),
    BeforeValidator(_number_in_text),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 1, "maximum": 65535},
                {"type": "string", "pattern": "^[1-9][0-9]{0,3}$"},
            ]
        }
    ),
]

# "True" and "False" are what the Python SDKs write into a query, 20.1.0 for one; 27.0.0 no longer does
_LOOSE = {
    **dict.fromkeys(("true", "True", "1", 1), True),
    **dict.fromkeys(("false", "False", "0", 0), False),
}


def _loose_boolean(value: object) -> object:
    return _LOOSE.get(value, value) if isinstance(value, str | int) else value


LooseBoolean = Annotated[
    bool,
    Field(strict=True),
    BeforeValidator(_loose_boolean),
    WithJsonSchema({"anyOf": [{"type": "boolean"}, {"enum": list(_LOOSE)}]}),
]


def is_email(text: str) -> bool:
    try:
        read_email(text)
    except NotAnAddress:
        return False
    return True


def is_phone(text: str) -> bool:
    """E.164 without any decoration."""
    try:
        return read_phone(text) == text
    except NotAnAddress:
        return False


def _check_email(text: str) -> str:
    if not is_email(text):
        raise PydanticCustomError("email", "is not a valid e-mail address")
    return text


def _check_phone(text: str) -> str:
    if not is_phone(text):
        raise PydanticCustomError("phone", "is not a phone number in international form, such as +12065550100")
    return text


Email = Annotated[
    str, AfterValidator(_check_email), WithJsonSchema({"type": "string", "format": "email", "minLength": 1})
]
Phone = Annotated[
    str,
    AfterValidator(_check_phone),
    WithJsonSchema({"type": "string", "format": "phone", "pattern": r"^\+[1-9][0-9]{6,14}$"}),
]


def parse_moment(text: str) -> datetime | None:
    """An ISO 8601 date-time, with `T` or a space; without a zone it means UTC. None: not one."""
    try:
        moment = datetime.fromisoformat(text)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):  # the latter: year 1 or 9999 moved past the calendar's end by its zone
        return None


def _read_moment(value: object) -> datetime:
    moment = parse_moment(value) if isinstance(value, str) else None
    if moment is None:
        raise PydanticCustomError("moment", "is not a date-time, such as 2030-01-31T09:00:00.000+00:00")
    return moment


Moment = Annotated[
    datetime,
    BeforeValidator(_read_moment),
    WithJsonSchema({"type": "string", "format": "date-time", "examples": ["2030-01-31T09:00:00.000+00:00"]}),
]

_LABEL = r"[A-Za-z0-9._-]{1,36}"
ROLE_PATTERN = (
    rf"^(any|guests|users(/(un)?verified)?|user:{ID_PATTERN}(/(un)?verified)?"
    rf"|team:{ID_PATTERN}(/{_LABEL})?|member:{ID_PATTERN}|label:{_LABEL})$"
)
Role = Annotated[str, StringConstraints(pattern=ROLE_PATTERN, max_length=64)]
Roles = Annotated[list[Role], Field(max_length=100)]


def _read_object(value: object) -> object:
    """Earlier clients send objects as text that holds JSON."""
    if not isinstance(value, str):
        return value
    try:
        return from_json(value, allow_inf_nan=False)
    except ValueError as error:
        raise PydanticCustomError("json_object", "is not a JSON object") from error


OBJECT_SIZE = 65_535
"""Characters and values of an object, names included; the Messaging API's own columns for them hold as many bytes."""


def _check_size(value: dict[str, Any]) -> dict[str, Any]:
    left, waiting = OBJECT_SIZE, [cast("Any", value)]
    while waiting and left >= 0:
        match waiting.pop():
            case dict() as inner:
                left -= len(inner)
                waiting += [*inner.keys(), *inner.values()] if left >= 0 else ()
            case list() as inner:
                left -= len(inner)
                waiting += inner if left >= 0 else ()
            case str() as text:
                left -= len(text)
    if left < 0:
        raise PydanticCustomError("json_object", f"is larger than {OBJECT_SIZE} characters and values")
    return value


def _check_storable(value: Any) -> Any:
    """JSON may say what Postgres cannot keep: NUL in a text, a number beyond any float."""
    match value:
        case dict():
            for key, inner in value.items():
                _check_storable(key)
                _check_storable(inner)
        case list():
            for inner in value:
                _check_storable(inner)
        case str() if "\0" in value:
            raise PydanticCustomError("json_object", "holds a NUL character")
        case float() if not isfinite(value):
            raise PydanticCustomError("json_object", "holds a number that is too large")
    return value


DocumentData = Annotated[dict[str, Any], BeforeValidator(_read_object), AfterValidator(_check_storable)]

JsonObject = Annotated[
    dict[str, Any], BeforeValidator(_read_object), AfterValidator(_check_size), AfterValidator(_check_storable)
]
