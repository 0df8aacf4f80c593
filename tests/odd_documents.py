"""Documents with one odd value each, for whatever reads what others wrote."""

import copy
from collections.abc import Iterator
from typing import Any

ODD: tuple[Any, ...] = (None, 7, -1, "", "x", [], [7], [None], {}, {"a": 1}, True, "\ud800", "\0", "anna@example.com")


def places_of(document: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    inner = (
        document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    )
    for name, value in inner:
        yield from places_of(value, (*path, name))


def variants_of(document: Any) -> Iterator[Any]:
    """The document with one place changed, or gone."""
    for path in places_of(document):
        if not path:
            yield from ODD
            continue
        for value in (*ODD, "gone"):
            changed = copy.deepcopy(document)
            parent = changed
            for name in path[:-1]:
                parent = parent[name]
            if value == "gone":
                del parent[path[-1]]
            else:
                parent[path[-1]] = value
            yield changed
