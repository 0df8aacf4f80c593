"""How SMS providers are asked and answer: forms in, JSON out, a password with each request."""

import base64
import json
import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote_plus, urlencode

from shared.domain.storable import storable

FORM_TYPE: Final = "content-type: application/x-www-form-urlencoded"

DELIVERY: Final = "tidings_delivery"
"""The parameter of a callback's address that names our delivery, where the provider has no field for it: a message
whose answer was lost has no other name.
"""

_NUMBER: Final = re.compile(r"-?[0-9]{1,9}")
_ID: Final = re.compile(r"[\w.:+-]{1,100}", re.ASCII)


def form(fields: Mapping[str, str | int | None]) -> bytes:
    """Without what is None or empty."""
    return urlencode({name: value for name, value in fields.items() if value not in (None, "")}).encode()


def form_value(text: str) -> bytes:
    return quote_plus(text).encode()


def basic_authorization(user: str, password: str) -> str:
    return f"authorization: Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"


def callback_for_delivery(url: str) -> str:
    """The address with room at its end for a delivery's id; "" for none."""
    return f"{url}{'&' if '?' in url else '?'}{DELIVERY}=" if url else ""


def read_object(body: bytes) -> dict[str, Any]:
    """A reply's JSON object; empty where it is none, as with the HTML of a provider's edge."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def read_id(value: Any) -> str:
    """An id or an address as a provider writes it; "" where it is none that we could keep."""
    return value if isinstance(value, str) and _ID.fullmatch(value) else ""


def reason_of(text: str) -> str:
    """A provider's words as far as they can be kept."""
    return storable(text, limit=300)


def read_number(value: Any) -> int:
    """A code that may come as a number or a text; 0 where it is neither."""
    text = str(value)
    return int(text) if _NUMBER.fullmatch(text) else 0
