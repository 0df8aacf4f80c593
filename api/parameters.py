"""What a request carries beside its path: JSON, forms and query strings, read into one shape and checked."""

import asyncio
import re
from collections.abc import Iterable
from typing import Final, TypeVar
from urllib.parse import parse_qsl

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails, from_json
from python_multipart.multipart import parse_options_header
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import Message, Receive

from shared.aside import aside
from shared.errors import RejectedRequest

Model = TypeVar("Model", bound=BaseModel)

_BRACKETED = re.compile(r"([^\[\]]+)\[([^\[\]]*)\]")
_INDEX = re.compile(r"[0-9]{1,6}")
_FORM, _FORM_IN_PARTS = "application/x-www-form-urlencoded", "multipart/form-data"
_NUL_ESCAPE = b"\\u0000"

SHORT_BYTES: Final = 32 * 1024
"""Of a body that is read on the spot, in a few milliseconds whatever it says; a longer one is read beside the loop."""

MAX_QUERY_FIELDS: Final = 1_000
"""Ten times as many as lists take queries."""

MAX_FORM_FIELDS: Final = 1_000

MAX_CONTENT_TYPE: Final = 512
_CHARSETS = frozenset({b"", b"utf-8", b"utf8", b"us-ascii", b"iso-8859-1", b"latin1", b"windows-1252"})
"""Of forms. Python has a hundred more, some of which take quadratic time to decode, and nobody sends them."""


def refusal(parameter: str, reason: str) -> RejectedRequest:
    return RejectedRequest("general_argument_invalid", f"Parameter `{parameter}` {reason}.")


def within_limit(receive: Receive, limit: int) -> Receive:
    """The same stream, refused once it grows past `limit` bytes, whatever its length header said.

    In pieces of SHORT_BYTES, and the loop turns between them: a form is read as it comes.
    """
    total = 0
    rest = b""
    has_more = True

    async def receive_counted() -> Message:
        nonlocal total, rest, has_more
        if rest:
            await asyncio.sleep(0)
        else:
            message = await receive()
            if message["type"] != "http.request":
                return message
            rest, has_more = message.get("body", b""), message.get("more_body", False)
            total += len(rest)
            if total > limit:
                raise RejectedRequest("general_body_too_large", f"The body is longer than {limit} bytes.")
        piece, rest = rest[:SHORT_BYTES], rest[SHORT_BYTES:]
        return {"type": "http.request", "body": piece, "more_body": has_more or bool(rest)}

    return receive_counted


async def read_body(request: Request) -> dict[str, object]:
    """The parameters in a body. `[]`, `{}` and no body at all are the same (contract §1.4)."""
    content_type = request.headers.get("content-type", "").lower()
    if content_type.startswith(_FORM_IN_PARTS):
        return fields_of(await receive_form(request))
    read = _fields_in if content_type.startswith(_FORM) else _parameters_in
    raw = await request.body()
    return read(raw) if len(raw) <= SHORT_BYTES else await aside(read, raw)


async def read_parameters(request: Request, model: type[Model]) -> Model:
    """A body as its type. Raises RejectedRequest naming the first parameter that is wrong."""
    parameters = await read_body(request)
    length = request.headers.get("content-length", "")
    is_short = length.isdecimal() and len(length) < 10 and int(length) <= SHORT_BYTES
    return check(model, parameters) if is_short else await aside(check, model, parameters)


def _fields_in(form: bytes) -> dict[str, object]:
    try:
        pairs = parse_qsl(form.decode("latin-1"), keep_blank_values=True, max_num_fields=MAX_FORM_FIELDS)
    except ValueError as error:
        raise RejectedRequest(
            "general_argument_invalid", f"The form cannot be read: it has more than {MAX_FORM_FIELDS} fields."
        ) from error
    return unfold(pairs)


def _parameters_in(raw: bytes) -> dict[str, object]:
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
    """A form in parts; its files stay open until the request is closed."""
    content_type = request.headers.get("content-type", "")
    if len(content_type) > MAX_CONTENT_TYPE:
        raise RejectedRequest("general_argument_invalid", "The form cannot be read: its Content-Type is too long.")
    if parse_options_header(content_type)[1].get(b"charset", b"").lower() not in _CHARSETS:
        raise RejectedRequest("general_argument_invalid", "The form cannot be read: it is not in UTF-8.")
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
    """Raises RejectedRequest for a query of more parts than any list takes."""
    return unfold(_pairs_of(request))


def read_query_field(request: Request, name: str) -> str:
    """The last one of this name, as it stands; "" where there is none."""
    return next((value for known, value in reversed(_pairs_of(request)) if known == name), "")


def _pairs_of(request: Request) -> list[tuple[str, str]]:
    query = request.scope["query_string"].decode("latin-1")
    try:
        return parse_qsl(query, keep_blank_values=True, max_num_fields=MAX_QUERY_FIELDS)
    except ValueError as error:
        raise RejectedRequest(
            "general_argument_invalid", f"The query has more than {MAX_QUERY_FIELDS} parts."
        ) from error


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
        raise _explain(error.errors(include_url=False, include_context=False, include_input=False)[0]) from error


def _explain(fault: ErrorDetails) -> RejectedRequest:
    parameter = ".".join(str(part) for part in fault["loc"])
    if fault["type"] == "missing":
        return refusal(parameter, "is required")
    return refusal(parameter, f"is not valid: {fault['msg']}")
