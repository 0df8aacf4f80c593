"""What adapters rendered from a message's content, kept as long as its batches are likely to come."""

from collections.abc import Callable
from typing import Final, Generic, TypeVar

from shared.providers.contract import Content

Rendered = TypeVar("Rendered")

KEPT: Final = 16
"""Batches of so many messages may interleave on one adapter before one is rendered twice."""

KEPT_BYTES: Final = 64 * 1024 * 1024
"""Rendered. A message with large files takes the place of several; the newest is kept whatever it holds."""


class Renderings(Generic[Rendered]):
    def __init__(self, render: Callable[[Content], Rendered], *, kept_bytes: int = KEPT_BYTES) -> None:
        self._render = render
        self._most_bytes = kept_bytes
        self._kept: dict[int, tuple[Content, Rendered]] = {}  # by identity, oldest first
        self._kept_bytes = 0

    def of(self, content: Content) -> Rendered:
        """Rendered once for each Content object; the same object comes with every group of one batch."""
        kept = self._kept.get(id(content))
        if kept is not None:
            return kept[1]
        rendered = self._render(content)
        self._kept_bytes += _size_of(content)
        while self._kept and (len(self._kept) == KEPT or self._kept_bytes > self._most_bytes):
            oldest, _ = self._kept.pop(next(iter(self._kept)))
            self._kept_bytes -= _size_of(oldest)
        self._kept[id(content)] = (content, rendered)  # holding the object keeps its id from being given away
        return rendered


def _size_of(content: Content) -> int:
    """Its files as rendered, in base64; all else that a message may hold is small beside the cap."""
    return sum(len(file.content) for file in content.files) * 4 // 3
