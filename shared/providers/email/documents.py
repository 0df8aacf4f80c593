"""JSON from mailers, its texts such that a database keeps them."""

import json
from typing import Any

from shared.domain.storable import storable


def read_document(body: bytes | str) -> Any:
    """JSON can spell NUL and halves of surrogate pairs, which nothing can store: they are taken out, or replaced.

    Raises ValueError for what is no JSON, or nested too deep.
    """
    try:
        return _storable(json.loads(body))
    except RecursionError as error:
        raise ValueError("nested too deep") from error


def _storable(value: Any) -> Any:
    if isinstance(value, str):
        return storable(value, limit=None)
    if isinstance(value, list):
        return [_storable(one) for one in value]
    if isinstance(value, dict):
        return {_storable(name): _storable(one) for name, one in value.items()}
    return value
