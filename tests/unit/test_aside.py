"""Work beside the event loop: one who sends much waits for its own work, and nobody else does."""

import asyncio
import threading

import pytest

from shared.aside import MOST_OF_ONE, THREADS, aside, whose


class Work:
    """Lasts until it may end."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.may_end = threading.Event()

    def do(self, name: str) -> str:
        self.begun.append(name)
        self.may_end.wait(10)
        return name

    def begin(self, owner: str, count: int = 1) -> "list[asyncio.Task[str]]":
        async def asked() -> str:
            whose.set(owner)
            return await aside(self.do, owner)

        return [asyncio.create_task(asked()) for _ in range(count)]


async def some_turns() -> None:
    await asyncio.sleep(0.05)


async def quickly(owner: str) -> str:
    whose.set(owner)
    return await aside(str.upper, owner)


async def test_whoever_sends_much_holds_up_no_other() -> None:
    work = Work()
    many = work.begin("ours", 50)
    await some_turns()

    async with asyncio.timeout(5):
        assert await asyncio.create_task(quickly("theirs")) == "THEIRS"
    assert len(work.begun) == MOST_OF_ONE

    work.may_end.set()
    assert await asyncio.gather(*many) == ["ours"] * 50


async def test_owners_take_turns() -> None:
    work = Work()
    busy = [*work.begin("a", MOST_OF_ONE), *work.begin("b", THREADS - MOST_OF_ONE)]
    await some_turns()
    ours, theirs = work.begin("ours", 10), work.begin("theirs")
    await some_turns()
    work.may_end.set()
    await asyncio.gather(*busy, *ours, *theirs)
    assert work.begun.index("theirs") <= THREADS + 1


async def test_work_that_nobody_waits_for_keeps_its_turn_until_it_is_done() -> None:
    work = Work()
    first = work.begin("ours", MOST_OF_ONE)
    waiting = work.begin("ours", 3)
    await some_turns()
    for task in [*first, waiting[0]]:
        task.cancel()
    await some_turns()
    assert len(work.begun) == MOST_OF_ONE

    work.may_end.set()
    assert await asyncio.gather(*waiting[1:]) == ["ours"] * 2
    assert len(work.begun) == MOST_OF_ONE + 2
    assert await quickly("ours") == "OURS"


async def test_what_the_work_raises_is_raised() -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        await aside(int, "x")
    assert await aside(int, "7") == 7
