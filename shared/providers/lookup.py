"""Names of hosts to addresses: in time, and so that one account's slow names hold up nobody else's.

The event loop's own look-ups run in a few threads that the whole process shares, and nothing ends one before the
system's resolver does, which may take half a minute. Here each has a thread of its own that is given up in time.
"""

import asyncio
import socket
import time
from collections import Counter
from contextlib import suppress
from threading import Thread
from typing import ClassVar, Final, cast

from shared.aside import whose

SECONDS: Final = 5.0
KEPT_SECONDS: Final = 30.0
KEPT: Final = 100  # names
THREADS: Final = 2
"""Of one account at a time, those given up included: whose names are slow waits for its own."""

THREADS_OF_ALL: Final = 100

THREADS_OF_PROJECT: Final = 50
"""However many accounts with slow names it has."""

MOST_ADDRESSES: Final = 32
"""Of a name. An answer has room for 4,000, and whoever owns the name says how many."""

LONGEST_NAME: Final = 253  # RFC 1035 §2.3.4

Addresses = list[tuple[socket.AddressFamily, socket.SocketKind, int, str, tuple[str, int] | tuple[str, int, int, int]]]
"""As socket.getaddrinfo() has them."""


class Lookups:
    """Of one account: answers are kept a while, and who asks for the same waits for the same answer."""

    under_way: ClassVar = Counter[str]()  # threads of the process, by project; counted on the event loop; none is zero

    def __init__(self, *, seconds: float = SECONDS) -> None:
        self._seconds = seconds
        self._share = asyncio.Semaphore(THREADS)
        self._kept: dict[tuple[str, int], tuple[Addresses, float]] = {}  # and until when; oldest first
        self._asked: dict[tuple[str, int], asyncio.Future[Addresses]] = {}

    async def find(self, name: str, port: int) -> Addresses:
        """Raises OSError, TimeoutError among them."""
        kept, until = self._kept.get((name, port), ([], 0.0))
        if time.monotonic() < until:
            return kept
        if len(name) > LONGEST_NAME:
            raise OSError("a name that long does not exist")
        with suppress(OSError, UnicodeError):  # an address, in any spelling, needs no look-up
            return _ask(name, port, flags=socket.AI_NUMERICHOST)
        try:
            async with asyncio.timeout(self._seconds):
                return await asyncio.shield(await self._answer_to(name, port))
        except TimeoutError:
            raise TimeoutError(f"no answer within {self._seconds:g} s") from None

    async def _answer_to(self, name: str, port: int) -> asyncio.Future[Addresses]:
        key = name, port
        if key not in self._asked:
            await self._share.acquire()
        else:
            return self._asked[key]
        if key in self._asked:  # meanwhile
            self._share.release()
            return self._asked[key]
        owner, under_way = whose.get(), Lookups.under_way
        if under_way.total() >= THREADS_OF_ALL or under_way[owner] >= THREADS_OF_PROJECT:
            self._share.release()
            raise OSError("too many names are being looked up")
        under_way[owner] += 1
        answer = self._asked[key] = asyncio.get_running_loop().create_future()
        Thread(target=self._look_up, args=(name, port, answer, owner), name="lookup", daemon=True).start()
        return answer

    def _look_up(self, name: str, port: int, answer: asyncio.Future[Addresses], owner: str) -> None:
        """In a thread of its own."""
        found: Addresses | OSError
        try:
            found = _ask(name, port)
        except OSError as error:
            found = error
        except Exception as error:  # noqa: BLE001  # whatever it was: those who wait must hear of it
            found = OSError(f"a name like that does not exist ({type(error).__name__})")
        with suppress(RuntimeError):  # the loop has ended, and nobody waits any more
            answer.get_loop().call_soon_threadsafe(self._note, name, port, answer, found, owner)

    def _note(
        self, name: str, port: int, answer: asyncio.Future[Addresses], found: Addresses | OSError, owner: str
    ) -> None:
        Lookups.under_way[owner] -= 1
        if not Lookups.under_way[owner]:
            del Lookups.under_way[owner]
        self._share.release()
        del self._asked[name, port]
        if isinstance(found, OSError):
            answer.set_exception(found)
            answer.exception()  # seen, even where nobody waits for it any more
            return
        answer.set_result(found)
        self._kept.pop((name, port), None)
        while len(self._kept) >= KEPT:
            del self._kept[next(iter(self._kept))]
        self._kept[name, port] = found, time.monotonic() + KEPT_SECONDS


def _ask(name: str, port: int, flags: int = 0) -> Addresses:
    return cast("Addresses", socket.getaddrinfo(name, port, type=socket.SOCK_STREAM, flags=flags))[:MOST_ADDRESSES]
