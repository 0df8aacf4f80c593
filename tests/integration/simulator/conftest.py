"""One simulator for the session, emptied and mended for each test, and clients that know nothing of it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeAlias

import pytest
import pytest_asyncio

from shared.simulator.simulator import Simulator
from tests.integration.simulator.clients import FcmClient, HttpAnswer, http

Ask: TypeAlias = Callable[..., Awaitable[HttpAnswer]]


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def running_simulator(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Simulator]:
    async with Simulator.running(tmp_path_factory.mktemp("simulator")) as simulator:
        yield simulator


@pytest.fixture
def simulator(running_simulator: Simulator) -> Simulator:
    running_simulator.record.clear()
    for name in running_simulator.faults.plans:
        running_simulator.faults.set(name)
    return running_simulator


@pytest_asyncio.fixture(loop_scope="session")
async def fcm(simulator: Simulator) -> FcmClient:
    """A client with an access token for project `demo`."""
    client = FcmClient(simulator.fcm_endpoint, simulator.ca_file)
    await asyncio.to_thread(client.authorize, simulator.service_account("demo"))
    return client


@pytest.fixture
def inbox(simulator: Simulator) -> Ask:
    """Asks the simulator's own HTTP API; takes a method, a path and perhaps a body."""

    async def ask(method: str, path: str, body: bytes = b"") -> HttpAnswer:
        return await asyncio.to_thread(http, method, simulator.http_endpoint + path, body=body)

    return ask


async def until(is_true: Callable[[], bool]) -> None:
    """Wait for something that nobody announces; give it an `asyncio.timeout`."""
    while not is_true():  # noqa: ASYNC110  # there is no event to await: see above
        await asyncio.sleep(0.005)
