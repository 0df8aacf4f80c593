"""What tests of the transports share: requests by their bodies, and what became of them."""

import asyncio
from collections.abc import Iterator

from shared.providers.transport import Failure, Pool, Reply, Request, Transport

HEADERS = ("content-type: application/json",)


def posts(*bodies: bytes) -> Iterator[tuple[int, Request]]:
    return ((number, Request("/send", HEADERS, body)) for number, body in enumerate(bodies))


async def exchange(transport: Transport, origin: str, *bodies: bytes) -> list[Reply | Failure]:
    answers: dict[int, Reply | Failure] = {}
    async with asyncio.timeout(5):
        async for batch in transport.exchange(origin, posts(*bodies)):
            answers.update(batch)
    assert sorted(answers) == list(range(len(bodies)))
    return [answers[number] for number in sorted(answers)]


async def drain(
    transport: Transport, origin: str, requests: Iterator[tuple[int, Request]], pool: Pool | None = None
) -> int:
    """How many were answered with 200."""
    count = 0
    async for batch in transport.exchange(origin, requests, pool=pool):
        count += sum(isinstance(answer, Reply) and answer.status == 200 for _, answer in batch)
    return count
