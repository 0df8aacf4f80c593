"""The customer's side of receipts: takes every call that is posted to it."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from shared.providers.receipts import ReceiptCall
from tests.tcp_server import tcp_server


@dataclass(slots=True)
class ReceiptDesk:
    url: str = ""
    calls: list[ReceiptCall] = field(default_factory=list)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def arrival(self, count: int) -> list[ReceiptCall]:
        async with asyncio.timeout(10):
            while len(self.calls) < count:
                self._changed.clear()
                await self._changed.wait()
        return self.calls

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                _, *lines = head.strip().split("\r\n")
                headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                self.calls.append(ReceiptCall(self.url, headers, body, time.time()))
                self._changed.set()
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        except asyncio.IncompleteReadError:
            writer.close()  # the simulator keeps its connections until it has nothing more to post


@asynccontextmanager
async def receipt_desk() -> AsyncIterator[ReceiptDesk]:
    desk = ReceiptDesk()
    async with tcp_server(desk.take) as place:
        desk.url = f"http://{place}/receipts"
        yield desk
