"""What every adapter does, whatever its provider speaks: subclass AdapterContract and supply the wire.

A subclass scripts its provider's other side (a real server on loopback) and lists the provider's answers; the
behaviours are written here, once.
"""

import asyncio
import socket
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import Any, ClassVar

import pytest

from shared.domain.outcome import Accepted, AccountFault, Outcome, Refused, Retry, Unknown
from shared.providers.contract import Adapter, Content, SendRequest

PATIENCE_SECONDS = 10.0
"""Tests fail rather than hang; see patience.py for how long adapters wait."""


class Fault(Enum):
    """What can go wrong after a request has left completely."""

    SILENCE = auto()
    HANGUP = auto()
    GARBAGE = auto()
    HUGE = auto()  # 10 MiB
    DRIP = auto()


@dataclass(frozen=True, slots=True)
class Answer:
    """One line of the provider's error table."""

    name: str
    reply: Any  # for `Wire.answer`
    outcome: type[Outcome]
    after_seconds: float | None = None  # of a Retry
    scope: str = "recipient"  # of a Retry
    is_about_call: bool = False  # the provider says it of a whole call: everybody named in it shares the outcome


class Wire(ABC):
    """A provider's other side, running, and an adapter that talks to it."""

    adapter: Adapter
    content: Content
    arrived: asyncio.Event  # a complete request for a recipient has come in

    @abstractmethod
    def identifier(self, number: int) -> str:
        """A valid address, another one for each number."""

    @abstractmethod
    def answer(self, identifier: str, reply: Any) -> None:
        """Make the provider say this about a recipient; all others are accepted."""

    @abstractmethod
    def fail(self, identifier: str, fault: Fault) -> None:
        """Make the request about a recipient end like this."""

    @abstractmethod
    def received(self) -> Sequence[object]:
        """Every complete request for a recipient, accepted or not."""

    @abstractmethod
    def accepted(self) -> list[str]:
        """Identifiers of what the provider took, in its order."""

    @abstractmethod
    def identities(self) -> list[str]:
        """Of the same: what tells a copy from another message."""

    @abstractmethod
    def refuse_credentials(self) -> None:
        """From now on."""

    @abstractmethod
    def check_unharmed(self, data: dict[str, Any]) -> None:
        """Fail unless all that was accepted carries these texts as texts, and nothing beside them."""

    @abstractmethod
    async def close_adapter(self) -> None:
        """The adapter, and with it the connections it uses."""

    @abstractmethod
    def adapter_for(self, address: tuple[str, int]) -> Adapter:
        """A further adapter, sending to that address."""

    def request(self, number: int, identifier: str | None = None) -> SendRequest:
        chosen = self.identifier(number) if identifier is None else identifier
        return SendRequest(f"1700000000000-{number}", chosen, f"target-{number}")

    def requests(self, count: int) -> list[SendRequest]:
        return [self.request(number) for number in range(count)]

    async def send(self, requests: Sequence[SendRequest], content: Content | None = None) -> list[Outcome]:
        return await collect(self.adapter, content or self.content, requests)


async def collect(adapter: Adapter, content: Content, requests: Sequence[SendRequest]) -> list[Outcome]:
    """The outcomes in the requests' order: exactly one for each. Cut into batches as the adapter says, sent at once."""
    size = adapter.largest_batch
    batches = [requests[start : start + size] for start in range(0, len(requests), size)] or [requests]
    async with asyncio.timeout(PATIENCE_SECONDS):
        answered = await asyncio.gather(*(_collect_batch(adapter, content, batch) for batch in batches))
    return [outcome for outcomes in answered for outcome in outcomes]


async def _collect_batch(adapter: Adapter, content: Content, requests: Sequence[SendRequest]) -> list[Outcome]:
    outcomes: dict[int, Outcome] = {}
    async for index, outcome in adapter.send(content, requests):
        assert index not in outcomes, "two outcomes for one request"
        outcomes[index] = outcome
    assert sorted(outcomes) == list(range(len(requests))), "requests without an outcome"
    return [outcomes[index] for index in range(len(requests))]


class AdapterContract:
    """Inherit and give the samples; the module defines the fixture `wire`."""

    answers: ClassVar[tuple[Answer, ...]]
    refusal: ClassVar[Answer]  # one that ends a recipient
    hostile_contents: ClassVar[tuple[dict[str, Any], ...]]  # `data` that tries to say more than it may
    hostile_identifiers: ClassVar[tuple[str, ...]]
    beyond_capacity: ClassVar[int]  # so many requests at once wait for others, over the connections of the wire
    oversize: ClassVar[dict[str, Any]]  # `data` above a limit that the adapter knows
    calls_name_several: ClassVar[bool] = False  # one call names several recipients
    recognises_repeats: ClassVar[bool] = (
        False  # the provider answers a call again as the first time: it may be repeated
    )

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        if "answer" in metafunc.fixturenames:
            metafunc.parametrize("answer", self.answers, ids=lambda answer: answer.name)
        if "hostile_data" in metafunc.fixturenames:
            metafunc.parametrize("hostile_data", self.hostile_contents, ids=str)
        if "hostile_identifier" in metafunc.fixturenames:
            metafunc.parametrize("hostile_identifier", self.hostile_identifiers, ids=ascii)

    # Whose outcome is whose

    async def test_each_request_gets_its_own_outcome(self, wire: Wire) -> None:
        requests = wire.requests(60)
        for request in requests[::3]:
            wire.answer(request.identifier, self.refusal.reply)

        outcomes = await wire.send(requests)

        refused = [number for number, outcome in enumerate(outcomes) if isinstance(outcome, self.refusal.outcome)]
        assert refused == list(range(0, 60, 3))
        accepted = [number for number, outcome in enumerate(outcomes) if isinstance(outcome, Accepted)]
        assert sorted(wire.accepted()) == sorted(requests[number].identifier for number in accepted)
        assert len(accepted) == 40

    async def test_batches_sent_at_once_do_not_mix(self, wire: Wire) -> None:
        requests = wire.requests(30)
        wire.answer(requests[15].identifier, self.refusal.reply)

        first, second = await asyncio.gather(wire.send(requests[:15]), wire.send(requests[15:]))

        assert all(isinstance(outcome, Accepted) for outcome in [*first, *second[1:]])
        assert isinstance(second[0], self.refusal.outcome)

    async def test_sends_nothing_for_nobody(self, wire: Wire) -> None:
        assert await wire.send([]) == []
        assert wire.accepted() == []

    async def test_copies_can_be_told_from_other_messages(self, wire: Wire) -> None:
        requests = wire.requests(2)
        await wire.send(requests[:1])
        await wire.send(requests[1:])
        await wire.send(requests[:1])

        first, second, copy = wire.identities()
        assert copy == first != second

    # The provider's words

    async def test_error_table(self, wire: Wire, answer: Answer) -> None:
        requests = wire.requests(3)
        wire.answer(requests[1].identifier, answer.reply)

        before, outcome, after = await wire.send(requests)

        assert isinstance(outcome, answer.outcome)
        assert outcome.reason  # type: ignore[union-attr]  # all but Accepted have one
        if isinstance(outcome, Retry):
            assert (outcome.after_seconds, outcome.scope) == (answer.after_seconds, answer.scope)
        others = answer.outcome if answer.is_about_call and self.calls_name_several else Accepted
        assert isinstance(before, others)
        assert isinstance(after, others)

    async def test_refused_credentials_are_the_accounts_fault(self, wire: Wire) -> None:
        wire.refuse_credentials()

        outcomes = await wire.send(wire.requests(5))

        assert {type(outcome) for outcome in outcomes} == {AccountFault}
        assert wire.accepted() == []

    # The network

    @pytest.mark.hurried
    @pytest.mark.parametrize("fault", Fault)
    async def test_what_has_left_and_is_not_answered_is_unknown(self, wire: Wire, fault: Fault) -> None:
        requests = wire.requests(1)
        await wire.send(wire.requests(1))  # so that it breaks a connection that has worked
        wire.fail(requests[0].identifier, fault)
        sent = len(wire.received())

        outcomes = await wire.send(requests)

        assert isinstance(outcomes[0], Unknown)
        most = 2 if self.recognises_repeats else 1
        assert 1 <= len(wire.received()) - sent <= most, "sent again behind our back"

    async def test_recovers_from_a_lost_connection(self, wire: Wire) -> None:
        requests = wire.requests(2)
        wire.fail(requests[0].identifier, Fault.HANGUP)
        await wire.send(requests[:1])

        assert isinstance((await wire.send(requests[1:]))[0], Accepted)

    async def test_a_closed_port_is_no_attempt(self, wire: Wire) -> None:
        with closed_port() as port:
            adapter = wire.adapter_for(("127.0.0.1", port))
            outcomes = await collect(adapter, wire.content, wire.requests(3))
            await adapter.aclose()

        assert {type(outcome) for outcome in outcomes} == {Retry}

    @pytest.mark.hurried
    async def test_a_server_that_never_speaks_is_no_attempt(self, wire: Wire) -> None:
        listener = socket.create_server(("127.0.0.1", 0))  # the kernel accepts, nobody answers
        with listener:
            adapter = wire.adapter_for(listener.getsockname())
            outcomes = await collect(adapter, wire.content, wire.requests(3))
            await adapter.aclose()

        assert {type(outcome) for outcome in outcomes} == {Retry}

    @pytest.mark.hurried
    async def test_what_found_no_room_in_time_is_no_attempt(self, wire: Wire) -> None:
        """Everything is stuck: who waited behind the first is not sent late, when another may hold the claim."""
        requests = wire.requests(self.beyond_capacity)
        for request in requests:
            wire.fail(request.identifier, Fault.SILENCE)

        outcomes = await wire.send(requests)

        assert {type(outcome) for outcome in outcomes} == {Unknown, Retry}
        assert len(wire.received()) == sum(isinstance(outcome, Unknown) for outcome in outcomes)

    # Content and addresses that want more than their place

    async def test_hostile_content_stays_in_its_place(self, wire: Wire, hostile_data: dict[str, Any]) -> None:
        """Refused without a call, or carried as mere text: `check_unharmed` knows which."""
        requests = wire.requests(2)
        content = replace(wire.content, data=hostile_data)

        outcomes = await wire.send(requests, content)

        if all(isinstance(outcome, Refused) for outcome in outcomes):
            assert wire.received() == []
        else:
            assert all(isinstance(outcome, Accepted) for outcome in outcomes)
            wire.check_unharmed(hostile_data)
        assert sorted(wire.accepted()) in ([], sorted(request.identifier for request in requests))

    async def test_hostile_address_harms_nobody_else(self, wire: Wire, hostile_identifier: str) -> None:
        requests = [wire.request(0), wire.request(1, hostile_identifier), wire.request(2)]

        before, outcome, after = await wire.send(requests)

        assert isinstance(before, Accepted)
        assert isinstance(after, Accepted)
        expected = {requests[0].identifier, requests[2].identifier}
        if isinstance(outcome, Accepted):
            expected.add(hostile_identifier)
        else:
            assert isinstance(outcome, Refused)
        assert set(wire.accepted()) == expected

    async def test_oversize_content_is_refused_without_a_call(self, wire: Wire) -> None:
        outcomes = await wire.send(wire.requests(2), replace(wire.content, data=self.oversize))

        assert {type(outcome) for outcome in outcomes} == {Refused}
        assert wire.received() == []

    # Stopping

    async def test_goes_on_after_a_cancelled_send(self, wire: Wire) -> None:
        requests = wire.requests(10)
        for request in requests[:9]:
            wire.fail(request.identifier, Fault.SILENCE)
        abandoned = asyncio.create_task(wire.send(requests[:9]))
        await asyncio.wait_for(wire.arrived.wait(), 10)

        abandoned.cancel()
        with pytest.raises(asyncio.CancelledError):
            await abandoned

        assert isinstance((await wire.send(requests[9:]))[0], Accepted)

    async def test_closing_ends_what_is_in_flight(self, wire: Wire) -> None:
        requests = wire.requests(1)
        wire.fail(requests[0].identifier, Fault.SILENCE)
        sending = asyncio.create_task(wire.send(requests))
        await asyncio.wait_for(wire.arrived.wait(), 10)

        await wire.close_adapter()

        assert isinstance((await sending)[0], Unknown)

    async def test_closes_twice(self, wire: Wire) -> None:
        await wire.send(wire.requests(1))

        await wire.close_adapter()
        await wire.close_adapter()


@contextmanager
def closed_port() -> Iterator[int]:
    """A port that is ours and refuses connections, as long as the block lasts."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        port: int = holder.getsockname()[1]
        yield port
