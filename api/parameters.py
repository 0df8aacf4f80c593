"""What a request carries beside its path: JSON, forms and query strings, read into one shape and checked."""

import re
from collections.abc import Iterable
from typing import TypeVar
from urllib.parse import parse_qsl

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails, from_json
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import Message, Receive

from shared.errors import RejectedRequest

Model = TypeVar("Model", bound=BaseModel)

_BRACKETED = re.compile(r"([^\[\]]+)\[([^\[\]]*)\]")
_INDEX = re.compile(r"[0-9]{1,6}")
_FORM_TYPES = ("application/x-www-form-urlencoded", "multipart/form-data")
_NUL_ESCAPE = b"\\u0000"


def refusal(parameter: str, reason: str) -> RejectedRequest:
    return RejectedRequest("general_argument_invalid", f"Parameter `{parameter}` {reason}.")


def within_limit(receive: Receive, limit: int) -> Receive:
    """The same stream, refused once it grows past `limit` bytes, whatever its length header said."""
    total = 0

    async def receive_counted() -> Message:
        nonlocal total
        message = await receive()
        total += len(message.get("body", b""))
        if total > limit:
            raise RejectedRequest("general_body_too_large", f"The body is longer than {limit} bytes.")
        return message

    return receive_counted


async def read_body(request: Request) -> dict[str, object]:
    """The parameters in a body. `[]`, `{}` and no body at all are the same (contract §1.4)."""
    if request.headers.get("content-type", "").lower().startswith(_FORM_TYPES):
        return fields_of(await receive_form(request))
    raw = await request.body()
    if not raw:
        return {}
    try:
        body = from_json(raw, allow_inf_nan=False)
    except ValueError as error:
        raise RejectedRequest("general_argument_invalid", f"The body is not JSON: {error}.") from error
    if body == []:
        return {}
    if not isinstance(body, dict):
        raise RejectedRequest("general_argument_invalid", "The body is not a JSON object.")
    if _NUL_ESCAPE in raw:
        _refuse_nul(body)
    return body


async def receive_form(request: Request) -> FormData:
    """Its files stay open until the request is closed."""
    try:
        form = await request.form()
        # the caller chooses the encoding, and some of Python's end in half characters, which nothing can store
        for name, value in form.multi_items():
            for text in (name, value if isinstance(value, str) else value.filename or ""):
                text.encode()
    except HTTPException as error:  # how starlette says that a form is broken
        raise RejectedRequest("general_argument_invalid", f"The form cannot be read: {error.detail}") from error
    except UnicodeError as error:
        raise RejectedRequest("general_argument_invalid", "The form cannot be read: it is not in UTF-8.") from error
    return form


def fields_of(form: FormData) -> dict[str, object]:
    """The parameters in a form; its files are none."""
    return unfold((name, value) for name, value in form.multi_items() if isinstance(value, str))


def read_query(request: Request) -> dict[str, object]:
    return unfold(parse_qsl(request.scope["query_string"].decode("latin-1"), keep_blank_values=True))


def unfold(pairs: Iterable[tuple[str, str]]) -> dict[str, object]:
    """Parameters out of names with brackets: `a[0]`, `a[1]` or `a[]` make a list, `a[b]` an object.

    A plain name given twice has its last value, as the contract's PHP clients mean it.
    """
    parameters: dict[str, object] = {}
    for name, value in pairs:
        _refuse_nul(value)
        bracketed = _BRACKETED.fullmatch(name)
        if bracketed is None:
            parameters[name] = value
            continue
        group = parameters.setdefault(bracketed[1], {})
        if isinstance(group, dict):
            group[bracketed[2] or str(len(group))] = value
    return {name: _list_or_object(value) for name, value in parameters.items()}


def _list_or_object(value: object) -> object:
    if isinstance(value, dict) and all(_INDEX.fullmatch(key) for key in value):
        return [value[key] for key in sorted(value, key=int)]
    return value


def _refuse_nul(value: object) -> None:
    """Postgres keeps no NUL in texts; nobody means to send one."""
    match value:
        case str() if "\0" in value:
            raise RejectedRequest("general_argument_invalid", "A parameter holds a NUL character.")
        case dict():
            for inner in value.values():
                _refuse_nul(inner)
        case list():
            for inner in value:
                _refuse_nul(inner)


def check(model: type[Model], parameters: dict[str, object]) -> Model:
    """The parameters as their type. Raises RejectedRequest naming the first one that is wrong."""
    try:
        return model.model_validate(parameters)
    except ValidationError as error:
        raise _explain(error.errors(include_url=False, include_input=False)[0]) from error


def _explain(fault: ErrorDetails) -> RejectedRequest:
    parameter = ".".join(str(part) for part in fault["loc"])
    if fault["type"] == "missing":
        return refusal(parameter, "is required")
    return refusal(parameter, f"is not valid: {fault['msg']}")
