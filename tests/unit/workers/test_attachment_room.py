"""Room for attachments: nobody holds so much of it that others find none."""

import asyncio
from contextlib import AsyncExitStack

from workers.attachments import Holder, Room

OURS, THEIRS = 1, 2


async def test_a_project_whose_accounts_are_all_silent_leaves_room_to_other_projects() -> None:
    room = Room(128)

    async def hold(account: Holder) -> None:
        async with room.hold(account, 25):
            await asyncio.Event().wait()

    silent = [asyncio.create_task(hold(Holder(OURS, seq))) for seq in range(20)]
    await asyncio.sleep(0)
    async with asyncio.timeout(1), room.hold(Holder(THEIRS, 100), 25):
        pass
    for task in silent:
        task.cancel()
    await asyncio.gather(*silent, return_exceptions=True)
    async with AsyncExitStack() as stack, asyncio.timeout(1):
        for seq in (1, 2, 3, 4, 5):  # all of it is free again
            await stack.enter_async_context(room.hold(Holder(seq, seq), 25))


async def test_one_message_is_taken_whatever_its_size() -> None:
    async with asyncio.timeout(1), Room(30).hold(Holder(OURS, 1), 30):
        pass
