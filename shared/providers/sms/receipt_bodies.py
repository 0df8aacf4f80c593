"""Receipts in any form that a provider lets its customers choose: a form, a form in parts, JSON, a query."""

import json
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

from python_multipart.multipart import Field, create_form_parser

from shared.providers.receipts import ReceiptCall, ReceiptRefused

MAX_CONTENT_TYPE: Final = 512
MAX_PARTS: Final = 1_000
"""Or fields: providers send some twenty."""


def read_body(call: ReceiptCall) -> Any:
    """JSON values, or the fields of a form by name. An empty body stands for the query. Raises ReceiptRefused."""
    content_type = call.headers.get("content-type", "").lower()
    try:
        if not call.body.strip():
            return dict(parse_qsl(urlsplit(call.url).query, keep_blank_values=True, max_num_fields=MAX_PARTS))
        if content_type.startswith("multipart/form-data"):
            return _fields_in_parts(call.headers["content-type"], call.body)
        if call.body.lstrip()[:1] in (b"{", b"["):  # some say "form" of it
            return json.loads(call.body)
        return _fields_in(call.body)
    except (ValueError, RecursionError) as error:
        raise ReceiptRefused("its body is neither a form nor JSON") from error


def _fields_in(form: bytes) -> dict[str, str]:
    return dict(parse_qsl(form.decode(), keep_blank_values=True, strict_parsing=True, max_num_fields=MAX_PARTS))


def first_of(fields: Mapping[str, Any], *names: str) -> str:
    """The first of these fields that says something, as text; "" where none does."""
    said = (fields.get(name) for name in names)
    return next((str(value) for value in said if isinstance(value, (str, int)) and value != ""), "")


def _fields_in_parts(content_type: str, body: bytes) -> dict[str, str]:
    """Raises ValueError for what is no form, or has parts whose heads are longer than python-multipart lets them be."""
    if len(content_type) > MAX_CONTENT_TYPE:
        raise ValueError("its content type is too long")
    fields: dict[str, str] = {}

    def keep(field: Field) -> None:
        if len(fields) >= MAX_PARTS:
            raise ValueError(f"it has more than {MAX_PARTS} parts")
        fields[(field.field_name or b"").decode()] = (field.value or b"").decode()

    parser = create_form_parser({"Content-Type": content_type.encode()}, keep, None)
    parser.write(body)
    parser.finalize()
    return fields
