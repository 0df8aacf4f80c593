"""Look-ups that take their time hold up nobody but the account whose names they are."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from shared.aside import whose
from shared.providers.lookup import LONGEST_NAME, MOST_ADDRESSES, THREADS, Lookups

ANSWER = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 25))]


class NameServer:
    """In the system resolver's place: answers names at once, but for those that begin with `slow`."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.may_answer = threading.Event()

    def look_up(self, name: str, _port: int, *, flags: int = 0, **_: Any) -> Any:
        if flags & socket.AI_NUMERICHOST:
            raise socket.gaierror(socket.EAI_NONAME, "no address")
        self.asked.append(name)
        if name.startswith("slow"):
            self.may_answer.wait(10)
        if name.startswith("none"):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        if name.startswith("odd"):
            raise UnicodeError("label too long")
        if name.startswith("many"):
            return ANSWER * 4_000
        return ANSWER


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Iterator[NameServer]:
    server = NameServer()
    monkeypatch.setattr(socket, "getaddrinfo", server.look_up)
    yield server
    server.may_answer.set()


async def test_a_slow_name_is_given_up_in_time(names: NameServer) -> None:
    with pytest.raises(TimeoutError, match=r"no answer within 0\.05 s"):
        await Lookups(seconds=0.05).find("slow.example.com", 25)


async def test_of_a_name_with_thousands_of_addresses_some_are_looked_at(names: NameServer) -> None:
    assert len(await Lookups().find("many.example.com", 25)) == MOST_ADDRESSES


async def test_slow_names_of_a_project_leave_threads_to_others_however_many_accounts_it_has(names: NameServer) -> None:
    async def find(project: str, name: str) -> Any:
        whose.set(project)
        return await Lookups(seconds=5).find(name, 25)

    slow = [asyncio.create_task(find("ours", f"slow{number}.example.com")) for number in range(150)]
    await asyncio.sleep(0.05)

    assert await asyncio.create_task(find("theirs", "mail.example.com")) == ANSWER

    names.may_answer.set()
    found = await asyncio.gather(*slow, return_exceptions=True)
    assert [answer for answer in found if answer == ANSWER]
    assert all(answer == ANSWER or isinstance(answer, OSError) for answer in found)


async def test_slow_names_of_one_account_hold_up_no_other(names: NameServer) -> None:
    slow = Lookups(seconds=5)
    waiting = [asyncio.create_task(slow.find(f"slow{number}.example.com", 25)) for number in range(50)]
    await asyncio.sleep(0)

    assert await Lookups().find("mail.example.com", 25) == ANSWER
    assert len([name for name in names.asked if name.startswith("slow")]) <= THREADS

    names.may_answer.set()
    assert all(found == ANSWER for found in await asyncio.gather(*waiting))


async def test_what_was_given_up_is_not_asked_again_beside_itself(names: NameServer) -> None:
    lookups = Lookups(seconds=0.05)
    for _ in range(3):
        with pytest.raises(TimeoutError):
            await lookups.find("slow.example.com", 25)

    assert names.asked == ["slow.example.com"]


async def test_an_answer_serves_all_who_ask_for_a_while(names: NameServer) -> None:
    lookups = Lookups()
    await asyncio.gather(*(lookups.find("mail.example.com", 25) for _ in range(20)))
    await lookups.find("mail.example.com", 25)

    assert names.asked == ["mail.example.com"]


@pytest.mark.parametrize("name", ["none.example.com", "odd.example.com", "x" * (LONGEST_NAME + 1)])
async def test_a_name_that_does_not_exist_is_asked_for_again(names: NameServer, name: str) -> None:
    lookups = Lookups()
    for _ in range(2):
        with pytest.raises(OSError, match=r"not known|does not exist"):
            await lookups.find(name, 25)


async def test_who_gives_up_leaves_the_answer_to_the_others(names: NameServer) -> None:
    lookups = Lookups()
    first, second = (asyncio.create_task(lookups.find("slow.example.com", 25)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    names.may_answer.set()

    assert await second == ANSWER
