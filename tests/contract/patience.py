"""How long adapters under test wait for an answer: long, so that a busy machine makes no difference, except in tests
that are about answers which never come.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shared.providers.http import HttpTransport

LONG_SECONDS = 4.0
SHORT_SECONDS = 0.6

_chosen = [LONG_SECONDS]


def answer_seconds() -> float:
    """For whoever makes an adapter for the test that runs."""
    return _chosen[-1]


def make_transport(ca_file: Path) -> HttpTransport:
    """Of two connections, so that tests reach the end of its room."""
    seconds = answer_seconds()
    return HttpTransport(
        timeout_seconds=seconds, connect_timeout_seconds=seconds * 2 / 3, ca_file=ca_file, connections=2
    )


@contextmanager
def hurried() -> Iterator[None]:
    _chosen.append(SHORT_SECONDS)
    try:
        yield
    finally:
        _chosen.pop()
