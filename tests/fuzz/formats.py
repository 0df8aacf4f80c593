"""Values of the description's formats that are not only well formed but mean something."""

import json
from datetime import UTC, datetime

import schemathesis
from hypothesis import strategies

LARGEST_FILE = 2**53 - 1

_FIRST, _LAST = datetime(2100, 1, 1), datetime(2199, 12, 31)  # noqa: DTZ001  # Hypothesis adds the zone

_WINDOWS = strategies.one_of(
    strategies.integers(1, 5000).map(lambda rows: {"method": "limit", "values": [rows]}),
    strategies.integers(0, 5000).map(lambda rows: {"method": "offset", "values": [rows]}),
)
"""The queries that every list takes. test_queries.py has the rest of the language."""

_FORMATS = {
    # most well-formed addresses and numbers belong to no domain and no country, and are refused
    "email": strategies.integers(0, 10**9).map(lambda number: f"{number}@mail.example.com"),
    "phone": strategies.integers(0, 9999).map(lambda number: f"+1206555{number:04}"),
    # the only moments that are sent are those a message is to go at, which lie ahead
    "date-time": strategies.datetimes(_FIRST, _LAST, timezones=strategies.just(UTC)).map(datetime.isoformat),
    "query": _WINDOWS.map(json.dumps),
}


def register() -> None:
    """With Schemathesis, which keeps them for the process."""
    for name, values in _FORMATS.items():
        schemathesis.openapi.format(name, values)
