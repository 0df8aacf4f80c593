"""What adapters share that call an HTTP API with one recipient or several at a time.

A subclass says how a call is written and what its reply means; the loop is here: refuse what cannot be said, call,
and where one address sinks a call for all in it, find it and call again for the others.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import ClassVar, Generic, TypeVar

from shared.domain.outcome import AccountFault, Outcome, Refused, Retry, Unknown, UnknownRule
from shared.domain.status import Channel
from shared.providers.contract import Account, Content, SendRequest
from shared.providers.meanings import outcome_of_failure
from shared.providers.renderings import Renderings
from shared.providers.transport import Failure, Pool, Reply, Request, Transport

Rendered = TypeVar("Rendered")

Call = tuple[int, ...]
"""The recipients of one HTTP request, as indexes of what `send` was given."""


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
        self._renderings = Renderings[Rendered | Refused | AccountFault](self.render)

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
        rendered = self._renderings.of(content)
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
        while calls:
            following: list[Call] = []
            posts = self._requests_for(rendered, requests, calls)
            exchange = self._transport.exchange(self.origin, posts, pool=self.pool, leave_by=leave_by)
            async with aclosing(exchange) as batches:
                async for batch in batches:
                    for number, answer in batch:
                        call = calls[number]
                        outcomes, more = self._judge(requests, call, answer, is_repeat=call in repeated)
                        if self._may_repeat(outcomes) and call not in repeated:
                            repeated.add(call)
                            following.append(call)
                            continue
                        following += more
                        for index, outcome in outcomes.items():
                            yield index, outcome
            calls = following

    async def aclose(self) -> None:
        """The connections are the transport's; other accounts use them too."""

    def _requests_for(
        self, rendered: Rendered, requests: Sequence[SendRequest], calls: Sequence[Call]
    ) -> Iterator[tuple[int, Request]]:
        return ((number, self.call(rendered, [requests[index] for index in call])) for number, call in enumerate(calls))

    def _may_repeat(self, outcomes: Mapping[int, Outcome]) -> bool:
        """Whether asking again tells what became of a call that has no answer, or none that says it."""
        return self.recognises_repeats and any(isinstance(outcome, Unknown) for outcome in outcomes.values())

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
