"""Work on what strangers sent, done beside the event loop that others wait for, in turns."""

import asyncio
from collections import Counter, deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from contextvars import ContextVar
from typing import Final, ParamSpec, TypeVar
from weakref import WeakKeyDictionary

Given = ParamSpec("Given")
Result = TypeVar("Result")

THREADS: Final = 3
"""Of a process, for all who ask."""

MOST_OF_ONE: Final = 2
"""Of the threads: whoever sends much waits for its own, and others find the last one."""

whose: Final = ContextVar("whose", default="")
"""Whom the work of this request is for: a project, by any name that no other has."""

_threads = ThreadPoolExecutor(THREADS, thread_name_prefix="aside")


class _Turns:
    """Of one event loop: who works and who waits. Owners take turns, so that one who sends much holds up no other."""

    def __init__(self) -> None:
        self._working = Counter[str]()  # threads, by owner; none is zero
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}  # owners in the order of their turns; none empty

    async def take(self, owner: str) -> None:
        if owner not in self._waiting and self._may_begin(owner):
            self._working[owner] += 1
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(owner, deque()).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():
                self.give_back(owner)
            raise

    def give_back(self, owner: str) -> None:
        self._working[owner] -= 1
        if not self._working[owner]:
            del self._working[owner]
        for waiting in list(self._waiting):
            if self._working.total() == THREADS:
                return
            self._serve(waiting)

    def _may_begin(self, owner: str) -> bool:
        return self._working.total() < THREADS and self._working[owner] < MOST_OF_ONE

    def _serve(self, owner: str) -> None:
        line = self._waiting[owner]
        while line and line[0].done():  # nobody waits for it any more
            line.popleft()
        if line and not self._may_begin(owner):
            return
        del self._waiting[owner]
        if line:
            self._working[owner] += 1
            line.popleft().set_result(None)
        if line:
            self._waiting[owner] = line  # last in turn


_turns: WeakKeyDictionary[asyncio.AbstractEventLoop, _Turns] = WeakKeyDictionary()


async def aside(work: Callable[Given, Result], *arguments: Given.args, **named: Given.kwargs) -> Result:
    """What `work` returns or raises; the loop turns meanwhile.

    For what takes more than some milliseconds at the longest input that is let in. Nothing can stop a thread, so how
    long it may take is bounded by what it is given, and one that nobody waits for keeps its turn until it is done. One
    call into C that keeps the interpreter to itself holds up the loop all the same: such input must be short.
    """
    loop, owner = asyncio.get_running_loop(), whose.get()
    turns = _turns.setdefault(loop, _Turns())
    await turns.take(owner)

    def end(_done: Future[Result]) -> None:
        with suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(turns.give_back, owner)

    working = _threads.submit(work, *arguments, **named)
    working.add_done_callback(end)
    return await asyncio.wrap_future(working)
