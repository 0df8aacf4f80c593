"""Several servers asked for one connection: in turn, and the next also while the one before says nothing."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

from shared.domain.outcome import AccountFault
from shared.providers.email.hosts import NoConnection

Opened = TypeVar("Opened")


async def first_good(
    attempts: Iterable[Callable[[], Awaitable[Opened]]],
    *,
    patience_seconds: float,
    close: Callable[[Opened], None],
) -> Opened:
    """What the first attempt brings that succeeds; each begins when those before it failed, or were silent for so long.

    An account fault counts only where every attempt ends in one: a server that is down may be the one that is right.
    Raises NoConnection. `close` ends what a second one may have brought meanwhile.
    """
    waiting = iter(attempts)
    under_way: set[asyncio.Task[Opened]] = set()
    done: set[asyncio.Task[Opened]] = set()
    fault: NoConnection | None = None
    try:
        while True:
            attempt = next(waiting, None)
            if attempt is not None:
                under_way.add(asyncio.create_task(_awaited(attempt)))
            elif not under_way:
                assert fault is not None
                raise fault
            patience = None if attempt is None else patience_seconds
            done, under_way = await asyncio.wait(under_way, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
            while done:
                try:
                    return done.pop().result()
                except NoConnection as error:
                    if fault is None or isinstance(fault.outcome, AccountFault):
                        fault = error
    finally:
        await _end(under_way | done, close)


async def _end(tasks: Iterable[asyncio.Task[Opened]], close: Callable[[Opened], None]) -> None:
    for task in tasks:
        task.cancel()
    for brought in await asyncio.gather(*tasks, return_exceptions=True):
        if not isinstance(brought, BaseException):
            close(brought)


async def _awaited(attempt: Callable[[], Awaitable[Opened]]) -> Opened:
    return await attempt()
