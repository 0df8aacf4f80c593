"""Contact files are read beside the event loop, and beside the threads that it needs itself."""

import asyncio
import os
from pathlib import Path

from sqlalchemy.ext.asyncio import create_async_engine

from shared.db.queries.contacts.run import ContactFile, import_contacts
from shared.db.queries.keys import ProjectIdentity
from shared.ids import ProjectSeq

PROJECT = ProjectIdentity(ProjectSeq(1), "p", mask_credentials=False)

MORE_THAN_ITS_THREADS = 40  # asyncio has 32 at most


async def test_files_that_take_long_to_read_leave_the_event_loop_its_threads(tmp_path: Path) -> None:
    """It looks names up in them: without, no connection to the database can be made."""
    engine = create_async_engine("postgresql+psycopg://nobody@127.0.0.1:1/none")
    pipes = [tmp_path / str(number) for number in range(MORE_THAN_ITS_THREADS)]
    for pipe in pipes:
        os.mkfifo(pipe)  # whoever opens it to read waits for somebody who writes
    imports = [
        asyncio.create_task(import_contacts(engine, PROJECT, ContactFile(pipe, "f"), report=lambda *_: None))
        for pipe in pipes
    ]
    await asyncio.sleep(0.05)
    try:
        async with asyncio.timeout(5):
            assert await asyncio.get_running_loop().getaddrinfo("127.0.0.1", 1)
    finally:
        for reading in imports:
            reading.cancel()
        await asyncio.gather(*imports, return_exceptions=True)
        for pipe in pipes:
            os.close(os.open(pipe, os.O_RDWR | os.O_NONBLOCK))
