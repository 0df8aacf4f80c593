"""What adapters share that call an HTTP API with one recipient or several at a time.

A subclass says how a call is written and what its reply means; the loop is here: refuse what cannot be said, call,
and where one address sinks a call for all in it, find it and call again for the others.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import ClassVar, Final, Generic, TypeVar

from shared.domain.outcome import AccountFault, Outcome, Refused, Retry, Unknown, UnknownRule
from shared.domain.status import Channel
from shared.providers.contract import Account, Content, SendRequest
from shared.providers.meanings import outcome_of_failure
from shared.providers.renderings import Renderings
from shared.providers.transport import Failure, Pool, Reply, Request, Transport

Rendered = TypeVar("Rendered")

Call = tuple[int, ...]
"""The recipients of one HTTP request, as indexes of what `send` was given."""

TOO_LATE: Final = Request("/", (), b"")
"""Stands for a call that the transport will not let leave any more."""


@dataclass(frozen=True, slots=True)
class Sunk:
    """The provider took nothing of a call, because of some of its recipients: provably nobody was sent to."""

    alone: Outcome  # what it means for a recipient that is alone in its call
    blamed: Mapping[int, Outcome] = field(default_factory=dict)  # whom the reply names, by place in the call

    def split(self, call: Call) -> tuple[dict[int, Outcome], list[Call]]:
        """Outcomes for those to blame, and the calls to make for the others: without them, else in halves."""
        if self.blamed:
            blamed = {call[place]: outcome for place, outcome in self.blamed.items()}
            others = tuple(index for index in call if index not in blamed)
            return blamed, [others] if others else []
        if len(call) == 1:
            return {call[0]: self.alone}, []
        middle = len(call) // 2
        return {}, [call[:middle], call[middle:]]


class HttpAdapter(ABC, Generic[Rendered]):
    """See `contract.Adapter`."""

    kind: ClassVar[str]
    channel: ClassVar[Channel]
    largest_batch: ClassVar[int]
    batch_size: ClassVar[int]
    in_flight_limit: ClassVar[int]
    unknown_rule: ClassVar[UnknownRule] = UnknownRule.LEAVE
    has_receipts: ClassVar[bool] = False

    largest_call: ClassVar[int] = 1  # recipients that one HTTP request may name
    recognises_repeats: ClassVar[bool] = False  # the same call again is answered as the first was (idempotency keys)
    pool: ClassVar[Pool] = Pool(connections=50, is_careful=True)

    def __init__(self, account: Account, *, transport: Transport, endpoint: str | None = None) -> None:
        """`endpoint`: an origin that takes the provider's place."""
        self.account = account
        self.origin = endpoint or self.address()
        self._transport = transport
        self._own_pool = self.pool._replace(owner=account.owner)
        self._is_closed = False
        self._renderings = Renderings[Rendered | Refused | AccountFault](self.render, lambda refused: refused)

    @abstractmethod
    def address(self) -> str:
        """The provider's own origin for this account: "https://api.example.com"."""

    @abstractmethod
    def render(self, content: Content) -> Rendered | Refused | AccountFault:
        """What is equal in all calls for a message, made once; Refused: the provider cannot say it, or not so."""

    def refusal_of(self, _request: SendRequest) -> Outcome | None:
        """Why this recipient cannot be named in a call, if so."""
        return None

    def cut(self, _rendered: Rendered, _requests: Sequence[SendRequest], indexes: Sequence[int]) -> list[Call]:
        """The calls to make for these of the requests."""
        return slices(indexes, self.largest_call)

    @abstractmethod
    def call(self, rendered: Rendered, requests: Sequence[SendRequest]) -> Request:
        """The HTTP request for these recipients, at most `largest_call`. Must not raise."""

    @abstractmethod
    def read(self, requests: Sequence[SendRequest], reply: Reply) -> Sequence[Outcome] | Outcome | Sunk:
        """What became of each recipient of a call, or of all alike. A success that cannot be read is Unknown."""

    async def send(self, content: Content, requests: Sequence[SendRequest]) -> AsyncIterator[tuple[int, Outcome]]:
        rendered = await self._renderings.of(content)
        sayable: list[int] = []
        for index, request in enumerate(requests):
            refusal = rendered if isinstance(rendered, (Refused, AccountFault)) else self.refusal_of(request)
            if refusal is None:
                sayable.append(index)
            else:
                yield index, refusal
        if isinstance(rendered, (Refused, AccountFault)):
            return
        leave_by = asyncio.get_running_loop().time() + self._transport.timeout_seconds
        calls = self.cut(rendered, requests, sayable)
        repeated: set[Call] = set()
        while calls and not self._is_closed:
            following: list[Call] = []
            async with aclosing(self._exchange(rendered, requests, calls, leave_by)) as batches:
                async for batch in batches:
                    for number, answer in batch:
                        outcomes, more = self._settle(requests, calls[number], answer, repeated)
                        following += more
                        for pair in outcomes.items():
                            yield pair
            calls = following
        for call in calls:
            for index in call:
                yield index, Retry("the adapter was closed")

    async def aclose(self) -> None:
        """The transport closes its connections by itself, when nothing travels on them any more."""
        self._is_closed = True

    def _exchange(
        self, rendered: Rendered, requests: Sequence[SendRequest], calls: Sequence[Call], leave_by: float
    ) -> AsyncGenerator[list[tuple[int, Reply | Failure]], None]:
        posts = self._posts(rendered, requests, calls, leave_by)
        return self._transport.exchange(self.origin, posts, pool=self._own_pool, leave_by=leave_by)

    def _posts(
        self, rendered: Rendered, requests: Sequence[SendRequest], calls: Sequence[Call], leave_by: float
    ) -> Iterator[tuple[int, Request]]:
        """A call is written when there is room for it, and not at all when it is too late: it does not leave then."""
        time = asyncio.get_running_loop().time
        for number, call in enumerate(calls):
            if time() > leave_by:
                yield number, TOO_LATE
            else:
                yield number, self.call(rendered, [requests[index] for index in call])

    def _settle(
        self, requests: Sequence[SendRequest], call: Call, answer: Reply | Failure, repeated: set[Call]
    ) -> tuple[Mapping[int, Outcome], list[Call]]:
        """Outcomes, and calls still to make: the same again, once, where that tells what became of it."""
        outcomes, more = self._judge(requests, call, answer, is_repeat=call in repeated)
        is_in_doubt = any(isinstance(outcome, Unknown) for outcome in outcomes.values())
        if not is_in_doubt or not self.recognises_repeats or call in repeated or self._is_closed:
            return outcomes, more
        repeated.add(call)
        return {}, [call]

    def _judge(
        self, requests: Sequence[SendRequest], call: Call, answer: Reply | Failure, *, is_repeat: bool
    ) -> tuple[dict[int, Outcome], list[Call]]:
        if isinstance(answer, Failure):
            outcomes: dict[int, Outcome] = dict.fromkeys(call, outcome_of_failure(answer))
            return _after_the_first(outcomes) if is_repeat else outcomes, []
        result = self.read([requests[index] for index in call], answer)
        if isinstance(result, Sunk):
            return result.split(call)
        named = result if isinstance(result, Sequence) else [result] * len(call)
        outcomes = dict(zip(call, named, strict=True))
        return _after_the_first(outcomes) if is_repeat else outcomes, []


def slices(indexes: Sequence[int], size: int) -> list[Call]:
    """Calls of at most so many recipients each."""
    return [tuple(indexes[start : start + size]) for start in range(0, len(indexes), size)]


def _after_the_first(outcomes: Mapping[int, Outcome]) -> dict[int, Outcome]:
    """Of a repeated call: that nothing was taken on this time says nothing about the first time."""
    return {
        index: Unknown(outcome.reason) if isinstance(outcome, (Retry, AccountFault)) else outcome
        for index, outcome in outcomes.items()
    }
