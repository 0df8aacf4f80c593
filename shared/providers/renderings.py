"""What adapters rendered from a message's content, kept as long as its batches are likely to come."""

from collections.abc import Callable
from typing import Final, Generic, TypeVar

from shared.providers.contract import Content

Rendered = TypeVar("Rendered")

KEPT: Final = 16
"""Batches of so many messages may interleave on one adapter before one is rendered twice."""


class Renderings(Generic[Rendered]):
    def __init__(self, render: Callable[[Content], Rendered]) -> None:
        self._render = render
        self._kept: dict[int, tuple[Content, Rendered]] = {}  # by identity, oldest first

    def of(self, content: Content) -> Rendered:
        """Rendered once for each Content object; the same object comes with every group of one batch."""
        kept = self._kept.get(id(content))
        if kept is not None:
            return kept[1]
        rendered = self._render(content)
        if len(self._kept) == KEPT:
            del self._kept[next(iter(self._kept))]
        self._kept[id(content)] = (content, rendered)  # holding the object keeps its id from being given away
        return rendered
