"""Renderings are kept for the batches to come, but neither too many nor too large ones."""

import asyncio
import threading
import weakref

import pytest

from shared.aside import whose
from shared.domain.status import Channel
from shared.providers.contract import Content, ContentFile
from shared.providers.renderings import KEPT, Renderings


class Renderer:
    def __init__(self, *, kept_bytes: int = 1_000) -> None:
        self.rendered: list[Content] = []
        self.renderings = Renderings(self._render, lambda _: -1, kept_bytes=kept_bytes)

    def _render(self, content: Content) -> int:
        self.rendered.append(content)
        return len(self.rendered)

    async def is_kept(self, content: Content) -> bool:
        """Asking for one that is not kept would render it, and so is left to the end of a test."""
        count = len(self.rendered)
        await self.renderings.of(content)
        return len(self.rendered) == count


def mail(*sizes: int, run: int = 1, text: str = "Hello") -> Content:
    """With files of these sizes."""
    files = tuple(ContentFile("a", "text/plain", b"x" * size) for size in sizes)
    return Content(run, Channel.EMAIL, {"content": text}, 0.0, files)


@pytest.mark.parametrize("text", ["Hello", "Hello" * 10_000])
async def test_every_batch_of_a_message_shares_what_was_rendered_once(text: str) -> None:
    renderer = Renderer()
    assert [await renderer.renderings.of(mail(text=text)) for _ in range(3)] == [1, 1, 1]
    assert await renderer.renderings.of(mail(run=2, text=text)) == 2


async def test_another_content_of_the_same_run_is_never_mistaken_for_the_first() -> None:
    renderer = Renderer()
    assert [await renderer.renderings.of(mail(text=text)) for text in ("a", "b", "a")] == [1, 2, 3]


async def test_batches_that_come_together_wait_for_one_rendering() -> None:
    renderer = Renderer()
    content = mail(3_000)
    assert await asyncio.gather(*(renderer.renderings.of(content) for _ in range(5))) == [1] * 5


async def test_who_gives_up_waiting_leaves_the_rendering_to_the_others() -> None:
    renderer = Renderer()
    first = asyncio.create_task(renderer.renderings.of(mail(3_000)))
    second = asyncio.create_task(renderer.renderings.of(mail(3_000)))
    await asyncio.sleep(0)
    first.cancel()
    assert await second == 1


async def test_the_loop_goes_on_while_a_large_content_is_rendered() -> None:
    """The rendering waits for something that only the loop can do."""
    loop, is_going_on = asyncio.get_running_loop(), threading.Event()

    def render(_content: Content) -> bool:
        loop.call_soon_threadsafe(is_going_on.set)
        return is_going_on.wait(5)

    for content in (mail(1), mail(text="x" * 10_000), Content(1, Channel.PUSH, {"data": {"a": "b"}}, 0.0)):
        is_going_on.clear()
        assert await Renderings(render, lambda _: False).of(content)


async def test_one_accounts_renderings_do_not_hold_up_anothers() -> None:
    """However many large messages an account has, one of them is rendered at a time, and others go on beside it."""
    is_free = threading.Event()
    slow, quick = Renderings(lambda _: is_free.wait(5), lambda _: False), Renderer()
    waiting = [asyncio.create_task(slow.of(mail(1, run=run))) for run in range(20)]
    await asyncio.sleep(0)
    assert await quick.renderings.of(mail(1)) == 1
    is_free.set()
    assert all(await asyncio.gather(*waiting))


@pytest.mark.parametrize("text", ["canary", "canary" * 10_000])
async def test_a_content_that_cannot_be_written_is_refused_and_never_quoted(
    text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def render(content: Content) -> str:
        raise ValueError(content.data["content"])

    refusal = await Renderings(render, lambda refused: refused.reason).of(mail(text=text))

    assert "ValueError" in refusal
    logged = capsys.readouterr()
    assert "rendering failed" in logged.out + logged.err
    assert "canary" not in refusal + logged.out + logged.err


async def test_the_oldest_make_room_by_number() -> None:
    renderer = Renderer()
    contents = [mail(run=run) for run in range(KEPT + 1)]
    for content in contents:
        await renderer.renderings.of(content)
    assert all([await renderer.is_kept(content) for content in contents[1:]])
    assert not await renderer.is_kept(contents[0])


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
async def test_the_oldest_make_room_by_size(sizes: list[int], kept: list[bool]) -> None:
    """Files grow by a third when they are rendered."""
    renderer = Renderer(kept_bytes=900)
    contents = [mail(size // 3, size - size // 3, run=run) for run, size in enumerate(sizes)]
    for content in contents:
        await renderer.renderings.of(content)
    assert [content.run in renderer.renderings._kept for content in contents] == kept


async def test_sizes_are_forgotten_with_what_they_were_of() -> None:
    renderer = Renderer(kept_bytes=900)
    for run in range(50):
        await renderer.renderings.of(mail(300, run=run))
    assert len(renderer.renderings._kept) == 2
    assert renderer.renderings._kept_bytes == 800


class Rendered:
    """Something that can be watched."""


async def test_a_large_one_is_let_go_when_its_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else every account that ever sent a large file would hold it for as long as it is open."""
    monkeypatch.setattr("shared.providers.renderings.KEPT_SECONDS", 0.05)
    renderings = Renderings(lambda _: Rendered(), lambda _: Rendered())
    is_gone = asyncio.Event()
    weakref.finalize(await renderings.of(mail(3_000)), is_gone.set)
    assert not is_gone.is_set()

    async with asyncio.timeout(5):
        await is_gone.wait()


async def test_large_ones_of_a_project_hold_up_no_other_project() -> None:
    """However many accounts it has."""
    may_end = threading.Event()
    has_begun = threading.Event()

    async def rendered_by(project: str, run: int) -> int:
        whose.set(project)

        def render(content: Content) -> int:
            has_begun.set()
            return may_end.wait(10) and content.run if project == "ours" else content.run

        return await Renderings(render, lambda _: -1).of(mail(3_000, run=run))

    ours = [asyncio.create_task(rendered_by("ours", run)) for run in range(20)]
    await asyncio.to_thread(has_begun.wait, 10)
    async with asyncio.timeout(5):
        assert await asyncio.create_task(rendered_by("theirs", 100)) == 100
    may_end.set()
    assert await asyncio.gather(*ours) == list(range(20))
