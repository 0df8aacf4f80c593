"""What push adapters share: a request for each device, many at a time, all with one short-lived token."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import aclosing
from typing import ClassVar, Final, Generic, TypeVar

from shared.domain.outcome import AccountFault, Outcome, Refused, Retry, UnknownRule
from shared.domain.status import Channel
from shared.providers.contract import Account, Content, CredentialsRefused, SendRequest, TokenUnavailable
from shared.providers.renderings import Renderings
from shared.providers.transport import Failure, Pool, Reply, Request, Transport

TOKEN_DELAY_SECONDS: Final = 10.0

Message = TypeVar("Message")


class PushAdapter(ABC, Generic[Message]):
    """See `contract.Adapter`. A copy carries the same collapse id as the first and replaces it on the device."""

    kind: ClassVar[str]
    channel: ClassVar[Channel] = Channel.PUSH
    largest_batch: ClassVar[int] = 5_000
    batch_size: ClassVar[int] = 2_000
    in_flight_limit: ClassVar[int] = 2_500  # 1,000 on their way, the others where commits are written
    unknown_rule: ClassVar[UnknownRule] = UnknownRule.RESEND
    has_receipts: ClassVar[bool] = False

    def __init__(
        self, account: Account, *, transport: Transport, endpoint: str | None, address: str, pool: Pool
    ) -> None:
        self._account = account
        self._transport = transport
        self._origin = endpoint or address
        self._pool = pool._replace(owner=account.owner)
        self._messages = Renderings[Message | Refused](self.render, lambda refused: refused)

    @abstractmethod
    def render(self, content: Content) -> Message | Refused:
        """What is equal in all requests for a message, made once; Refused: the provider cannot say it."""

    def refusal_of(self, _request: SendRequest) -> Refused | None:
        """Why this recipient cannot be asked for, if so."""
        return None

    @abstractmethod
    async def token(self, stale: str | None) -> str:
        """The token to send with; another one than `stale`. Raises CredentialsRefused or TokenUnavailable."""

    @abstractmethod
    def posts(
        self, message: Message, token: str, requests: Sequence[SendRequest], indexes: Sequence[int]
    ) -> Iterator[tuple[int, Request]]:
        """The HTTP request for each of these recipients. Iterating must not raise."""

    @abstractmethod
    def read(self, request: SendRequest, answer: Reply | Failure) -> Outcome | None:
        """What became of one recipient; None: the token is not accepted any more."""

    async def send(self, content: Content, requests: Sequence[SendRequest]) -> AsyncIterator[tuple[int, Outcome]]:
        message = await self._messages.of(content)
        if isinstance(message, Refused):
            for index in range(len(requests)):
                yield index, message
            return
        refusals = self._refusals(requests)
        for refused in refusals.items():
            yield refused
        indexes = [index for index in range(len(requests)) if index not in refusals]
        leave_by = asyncio.get_running_loop().time() + self._transport.timeout_seconds
        stale: str | None = None
        while indexes:
            token = await self._token_or_reason(stale)
            if not isinstance(token, str):
                for index in indexes:
                    yield index, token
                return
            unauthenticated: list[int] = []
            async with aclosing(self._ask(message, token, requests, indexes, leave_by)) as batches:
                async for batch in batches:
                    for index, outcome in batch:
                        if outcome is None and stale is None:
                            unauthenticated.append(index)
                        else:
                            yield index, outcome or AccountFault(f"{self.kind} refuses a token just made")
            indexes, stale = unauthenticated, token

    async def aclose(self) -> None:
        """The transport closes its connections by itself, when nothing travels on them any more."""

    def _refusals(self, requests: Sequence[SendRequest]) -> dict[int, Refused]:
        return {index: refusal for index, request in enumerate(requests) if (refusal := self.refusal_of(request))}

    async def _ask(
        self, message: Message, token: str, requests: Sequence[SendRequest], indexes: Sequence[int], leave_by: float
    ) -> AsyncGenerator[list[tuple[int, Outcome | None]], None]:
        """One round for these recipients."""
        posts = self.posts(message, token, requests, indexes)
        exchange = self._transport.exchange(self._origin, posts, pool=self._pool, leave_by=leave_by)
        async with aclosing(exchange) as batches:
            async for batch in batches:
                yield [(index, self.read(requests[index], answer)) for index, answer in batch]

    async def _token_or_reason(self, stale: str | None) -> str | AccountFault | Retry:
        """The token, or what it means for all recipients that there is none."""
        try:
            return await self.token(stale)
        except CredentialsRefused as error:
            return AccountFault(str(error))
        except TokenUnavailable as error:
            return Retry(str(error), TOKEN_DELAY_SECONDS, scope="provider")
