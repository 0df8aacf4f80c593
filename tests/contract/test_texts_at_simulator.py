"""The adapters of SMS providers and the simulator, which read the same documents apart."""

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from shared.domain.outcome import Accepted, DeadAddress, Retry
from shared.providers.curl import CurlTransport
from shared.providers.http_adapter import HttpAdapter
from shared.simulator.simulator import Simulator
from tests.contract.certificates import Certificates
from tests.contract.http_wire import HttpWire
from tests.contract.msg91_wire import Msg91Wire
from tests.contract.suite import collect
from tests.contract.textmagic_wire import TextmagicWire
from tests.contract.twilio_wire import TwilioWire
from tests.contract.vonage_wire import VonageWire

DEAD, THROTTLED = "+12025550190", "+12025550192"


@asynccontextmanager
async def at_simulator(wire: HttpWire, directory: Path) -> AsyncIterator[tuple[HttpAdapter[Any], Simulator]]:
    """The wire's adapter, with an account that its simulator knows."""
    async with Simulator.running(directory) as simulator:
        transport = CurlTransport(timeout_seconds=5, ca_file=simulator.ca_file)
        credentials = simulator.http_providers[wire.adapter_type.kind].credentials()
        account = replace(wire.account, credentials=credentials, receipts_url="")
        yield wire.adapter_type(account, transport=transport, endpoint=simulator.https_endpoint), simulator
        await transport.aclose()


@pytest.mark.parametrize("wire_type", [TwilioWire, VonageWire])
async def test_one_number_a_call(tmp_path: Path, certificates: Certificates, wire_type: type[HttpWire]) -> None:
    wire = wire_type(certificates)
    async with at_simulator(wire, tmp_path) as (adapter, _):
        dead, throttled = wire.request(0, DEAD), wire.request(0, THROTTLED)

        outcomes = await collect(adapter, wire.content, [*wire.requests(5), dead, throttled])
        later = await collect(adapter, wire.content, [throttled])

        assert [type(outcome) for outcome in outcomes] == [Accepted] * 5 + [DeadAddress, Retry]
        assert [type(outcome) for outcome in later] == [Accepted]


@pytest.mark.parametrize("wire_type", [TextmagicWire, Msg91Wire])
async def test_a_hundred_numbers_a_call(tmp_path: Path, certificates: Certificates, wire_type: type[HttpWire]) -> None:
    wire = wire_type(certificates)
    async with at_simulator(wire, tmp_path) as (adapter, simulator):
        requests = [*wire.requests(150), wire.request(150, DEAD), wire.request(151, THROTTLED)]

        first = await collect(adapter, wire.content, requests)
        again = [request for request, outcome in zip(requests, first, strict=True) if isinstance(outcome, Retry)]
        second = await collect(adapter, wire.content, again)

        assert [type(outcome) for outcome in first[:100]] == [Accepted] * 100
        assert {type(outcome) for outcome in first[100:]} == {Retry}  # the throttled one's call
        assert Counter(type(outcome) for outcome in second) == {Accepted: 51, DeadAddress: 1}
        assert simulator.record.tallies[adapter.kind].captured == 151
