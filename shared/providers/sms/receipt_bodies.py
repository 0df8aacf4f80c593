"""Receipts in any form that a provider lets its customers choose: a form, a form in parts, JSON, a query."""

import json
from collections.abc import Mapping
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import HTTP
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from shared.providers.receipts import ReceiptCall, ReceiptRefused


def read_body(call: ReceiptCall) -> Any:
    """JSON values, or the fields of a form by name. An empty body stands for the query. Raises ReceiptRefused."""
    content_type = call.headers.get("content-type", "").lower()
    try:
        if not call.body.strip():
            return dict(parse_qsl(urlsplit(call.url).query, keep_blank_values=True))
        if content_type.startswith("multipart/form-data"):
            return _fields_in_parts(call.headers["content-type"], call.body)
        if call.body.lstrip()[:1] in (b"{", b"["):  # some say "form" of it
            return json.loads(call.body)
        return dict(parse_qsl(call.body.decode(), keep_blank_values=True, strict_parsing=True))
    except (ValueError, RecursionError) as error:
        raise ReceiptRefused("its body is neither a form nor JSON") from error


def first_of(fields: Mapping[str, Any], *names: str) -> str:
    """The first of these fields that says something, as text; "" where none does."""
    said = (fields.get(name) for name in names)
    return next((str(value) for value in said if isinstance(value, (str, int)) and value != ""), "")


def _fields_in_parts(content_type: str, body: bytes) -> dict[str, str]:
    form = message_from_bytes(b"Content-Type: %b\r\n\r\n%b" % (content_type.encode(), body), EmailMessage, policy=HTTP)
    parts = [part for part in form.iter_parts() if isinstance(part, EmailMessage)]
    return {str(part.get_param("name", header="content-disposition")): _text_of(part) for part in parts}


def _text_of(part: EmailMessage) -> str:
    content = part.get_payload(decode=True)
    return content.decode() if isinstance(content, bytes) else ""
