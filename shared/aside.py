"""Work on what strangers sent, done beside the event loop that others wait for."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, ParamSpec, TypeVar

Given = ParamSpec("Given")
Result = TypeVar("Result")

THREADS: Final = 2
"""Of a process, for all who ask: whoever sends much waits for others who do, and nobody else does."""

_threads = ThreadPoolExecutor(THREADS, thread_name_prefix="aside")


async def aside(work: Callable[Given, Result], *arguments: Given.args, **named: Given.kwargs) -> Result:
    """What `work` returns or raises; the loop turns meanwhile.

    For what takes more than some milliseconds at the longest input that is let in. Nothing can stop a thread, so how
    long it may take is bounded by what it is given. One call into C that keeps the interpreter to itself holds up the
    loop all the same: such input must be short.
    """
    return await asyncio.get_running_loop().run_in_executor(_threads, lambda: work(*arguments, **named))
