"""Calls that the simulator makes by itself: receipts, posted as a provider posts them, and again until taken."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from shared.providers.curl import CurlTransport
from shared.providers.transport import Failure, Pool, Reply, Request

TRIES = 5
FIRST_PAUSE_SECONDS = 0.5
"""Then twice as long each time; providers take minutes, whoever tries them out does not."""


@dataclass(frozen=True, slots=True)
class OutgoingCall:
    """An HTTP request that a provider makes to its customer."""

    url: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    method: str = "POST"


class Courier:
    """Posts calls in the background, in the order of their time. Belongs to one event loop."""

    def __init__(self, count: Callable[[str, str], None]) -> None:
        """`count(provider, outcome)` is told what became of each call."""
        self._count = count
        self._transport = CurlTransport(timeout_seconds=10.0)
        self._calls: set[asyncio.Task[None]] = set()

    def post(self, provider: str, call: OutgoingCall, *, after_seconds: float = 0.0) -> None:
        task = asyncio.get_running_loop().create_task(self._deliver(provider, call, after_seconds))
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)

    async def aclose(self) -> None:
        """What was not posted yet is not posted any more."""
        for task in list(self._calls):
            task.cancel()
        await asyncio.gather(*self._calls, return_exceptions=True)
        await self._transport.aclose()

    async def _deliver(self, provider: str, call: OutgoingCall, after_seconds: float) -> None:
        pause = FIRST_PAUSE_SECONDS
        await asyncio.sleep(after_seconds)
        for _ in range(TRIES):
            answer = await self._post(call)
            if isinstance(answer, Reply) and answer.status < 300:
                self._count(provider, "receipt_taken")
                return
            if isinstance(answer, Reply) and answer.status < 500:
                self._count(provider, "receipt_refused")
                return
            await asyncio.sleep(pause)
            pause *= 2
        self._count(provider, "receipt_lost")

    async def _post(self, call: OutgoingCall) -> Reply | Failure:
        place = urlsplit(call.url)
        path = f"{place.path or '/'}{'?' if place.query else ''}{place.query}"
        headers = tuple(f"{name}: {value}" for name, value in call.headers)
        request = Request(path, headers, call.body, call.method)
        pool = Pool(connections=8, is_careful=True)
        exchange = self._transport.exchange(f"{place.scheme}://{place.netloc}", iter([(0, request)]), pool=pool)
        answers = [answer async for batch in exchange for _, answer in batch]
        return answers[0]
