"""Renderings are kept for the batches to come, but neither too many nor too large ones."""

import pytest

from shared.domain.status import Channel
from shared.providers.contract import Content, ContentFile
from shared.providers.renderings import KEPT, Renderings


class Renderer:
    def __init__(self, *, kept_bytes: int = 1_000) -> None:
        self.rendered: list[Content] = []
        self.renderings = Renderings(self._render, kept_bytes=kept_bytes)

    def _render(self, content: Content) -> int:
        self.rendered.append(content)
        return len(self.rendered)

    def is_kept(self, content: Content) -> bool:
        """Asking for one that is not kept would render it, and so is left to the end of a test."""
        count = len(self.rendered)
        self.renderings.of(content)
        return len(self.rendered) == count


def mail(*sizes: int) -> Content:
    """With files of these sizes."""
    return Content(1, Channel.EMAIL, {}, 0.0, tuple(ContentFile("a", "text/plain", b"x" * size) for size in sizes))


def test_the_same_object_is_rendered_once() -> None:
    renderer, first, equal = Renderer(), mail(), mail()
    assert [renderer.renderings.of(content) for content in (first, first, equal, first)] == [1, 1, 2, 1]


def test_the_oldest_make_room_by_number() -> None:
    renderer = Renderer()
    contents = [mail() for _ in range(KEPT + 1)]
    for content in contents:
        renderer.renderings.of(content)
    assert all(renderer.is_kept(content) for content in contents[1:])
    assert not renderer.is_kept(contents[0])


@pytest.mark.parametrize(
    ("sizes", "kept"),
    [
        ([300, 300], [True, True]),
        ([300, 300, 300], [False, True, True]),
        ([300, 300, 600], [False, False, True]),
        ([300, 9_000], [False, True]),  # the newest stays, or each group of its batch would render it again
        ([9_000, 300], [False, True]),
    ],
)
def test_the_oldest_make_room_by_size(sizes: list[int], kept: list[bool]) -> None:
    """Files grow by a third when they are rendered."""
    renderer = Renderer(kept_bytes=900)
    contents = [mail(size // 3, size - size // 3) for size in sizes]
    for content in contents:
        renderer.renderings.of(content)
    assert [id(content) in renderer.renderings._kept for content in contents] == kept


def test_sizes_are_forgotten_with_what_they_were_of() -> None:
    renderer = Renderer(kept_bytes=900)
    for _ in range(50):
        renderer.renderings.of(mail(300))
    assert len(renderer.renderings._kept) == 2
    assert renderer.renderings._kept_bytes == 800
