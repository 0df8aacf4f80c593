"""What adapters rendered from a message's content, kept while its batches are likely to come.

A rendering may take a second (25 MB of attachments in base64), and it is a customer's content that decides so. A large
one is therefore made aside, so that nobody else on the event loop waits for it, and those of a project wait in a line
of their own.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Final, Generic, NamedTuple, TypeVar

import structlog

from shared.aside import aside
from shared.domain.outcome import Refused
from shared.exception_words import frames_of
from shared.providers.contract import Content

Rendered = TypeVar("Rendered")

KEPT: Final = 16
"""Batches of so many messages may interleave on one adapter before one is rendered twice."""

KEPT_BYTES: Final = 64 * 1024 * 1024
"""Rendered. A message with large files takes the place of several; the newest is kept whatever it holds."""

KEPT_SECONDS: Final = 10.0
"""Some providers are told how long a message may be held, in seconds from its rendering."""

SMALL_CHARACTERS: Final = 4_000
"""Below it a rendering takes 2 ms at most, hostile HTML included, which is not worth a thread."""

log = structlog.get_logger()


class Kept(NamedTuple, Generic[Rendered]):
    content: Content
    rendered: Rendered
    until: float  # monotonic


class Making(NamedTuple, Generic[Rendered]):
    content: Content
    task: asyncio.Task[Rendered]


class Renderings(Generic[Rendered]):
    """Of one account's adapter, and so of one version of it."""

    def __init__(
        self,
        render: Callable[[Content], Rendered],
        refused: Callable[[Refused], Rendered],
        *,
        kept_bytes: int = KEPT_BYTES,
    ) -> None:
        """`render` reads nothing that changes: it may run in a thread. `refused` is what stands for a content that it
        fails at: nothing of that can have left, so its recipients are not in doubt.
        """
        self._write = render
        self._refused = refused
        self._most_bytes = kept_bytes
        self._kept: dict[int, Kept[Rendered]] = {}  # by run, oldest first
        self._kept_bytes = 0
        self._making: dict[int, Making[Rendered]] = {}  # by run
        self._turn = asyncio.Lock()  # of this account's in the threads

    async def of(self, content: Content) -> Rendered:
        """Rendered once for all batches of a message that come soon after each other.

        Each batch brings a Content of its own. It is compared, so that no other message's rendering is ever taken.
        """
        kept = self._recall(content)
        if kept is not None:
            return kept.rendered
        if _is_small(content):
            return self._keep(content, self._render(content))
        making = self._making.get(content.run)
        if making is None or making.content != content:
            making = self._making[content.run] = Making(content, asyncio.create_task(self._make(content)))
            making.task.add_done_callback(lambda task: self._note_made(content.run, task))
        return await asyncio.shield(making.task)  # others may wait for it, whoever gives up

    async def _make(self, content: Content) -> Rendered:
        async with self._turn:
            rendered = await aside(self._render, content)
        self._keep(content, rendered)
        until = self._kept[content.run].until
        asyncio.get_running_loop().call_later(KEPT_SECONDS, self._forget, content.run, until)
        return rendered

    def _note_made(self, run: int, task: asyncio.Task[Rendered]) -> None:
        if run in self._making and self._making[run].task is task:
            del self._making[run]
        if not task.cancelled():
            task.exception()  # seen, even where nobody waits for it any more

    def _render(self, content: Content) -> Rendered:
        try:
            return self._write(content)
        except Exception as error:  # noqa: BLE001  # a bug, and a customer's words that met it; the log must not quote them
            kind = type(error).__name__
            log.error("rendering failed", run=content.run, error=kind, frames=frames_of(error.__traceback__))  # noqa: TRY400
            return self._refused(Refused(f"the message cannot be written for this provider ({kind})"))

    def _recall(self, content: Content) -> Kept[Rendered] | None:
        kept = self._kept.get(content.run)
        if kept is None or time.monotonic() > kept.until or kept.content != content:
            return None
        return kept

    def _keep(self, content: Content, rendered: Rendered) -> Rendered:
        self._drop(content.run)
        self._kept_bytes += _rendered_bytes_of(content)
        while self._kept and (len(self._kept) == KEPT or self._kept_bytes > self._most_bytes):
            self._drop(next(iter(self._kept)))
        self._kept[content.run] = Kept(content, rendered, time.monotonic() + KEPT_SECONDS)
        return rendered

    def _forget(self, run: int, until: float) -> None:
        """A large one whose time is over, unless another has taken its place: accounts are many."""
        if run in self._kept and self._kept[run].until == until:
            self._drop(run)

    def _drop(self, run: int) -> None:
        kept = self._kept.pop(run, None)
        if kept is not None:
            self._kept_bytes -= _rendered_bytes_of(kept.content)


def _is_small(content: Content) -> bool:
    """By what a customer decides: texts, the data of a push, files."""
    values = content.data.values()
    characters = sum(len(value) for value in values if isinstance(value, str))
    has_document = any(isinstance(value, Mapping) and value for value in values)
    return not content.files and not has_document and characters <= SMALL_CHARACTERS


def _rendered_bytes_of(content: Content) -> int:
    """Its files as rendered, in base64; all else that a message may hold is small beside the cap."""
    return sum(len(file.content) for file in content.files) * 4 // 3
