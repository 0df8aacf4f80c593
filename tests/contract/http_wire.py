"""The other side of a provider that is called over HTTP, one recipient or several at a time, scripted for a test."""

import asyncio
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

from shared.providers.contract import Account, Adapter, Content
from shared.providers.http_adapter import HttpAdapter
from tests.contract.certificates import Certificates
from tests.contract.http2_server import Act, Answer, Drip, Garbage, Hangup, Http2Server, Received, Silence
from tests.contract.patience import make_transport
from tests.contract.suite import Fault, Wire

FAR_FUTURE = 4_000_000_000.0

FAULTS: dict[Fault, Act] = {
    Fault.SILENCE: Silence(),
    Fault.HANGUP: Hangup(),
    Fault.GARBAGE: Garbage(),
    Fault.HUGE: Answer(200, b"x" * 10 * 1024 * 1024),
    Fault.DRIP: Drip(),
}


class HttpWire(Wire):
    """A subclass says where recipients stand in a request and how the provider accepts them.

    `answer` takes an Act, which the whole call gets that names the recipient. What a provider says of one recipient
    among others is a subclass's own reply type: it overrides `respond`.
    """

    adapter_type: ClassVar[type[HttpAdapter[Any]]]
    account: ClassVar[Account]
    content: Content

    def __init__(self, certificates: Certificates) -> None:
        self.server = Http2Server(self._act, certificates.server_context("h2"))
        self.arrived = asyncio.Event()
        self.replies: dict[str, Any] = {}  # by identifier: what the test wants said
        self.taken: list[tuple[str, Received]] = []  # recipients accepted, with the request
        self._refusal: Act | None = None
        self._ca_file = certificates.ca_file

    def open(self) -> None:
        self.transport = make_transport(self._ca_file)
        self.adapter = self.make_adapter(self.server.origin)

    def make_adapter(self, origin: str) -> Adapter:
        return self.adapter_type(self.account, transport=self.transport, endpoint=origin)

    @abstractmethod
    def recipients(self, request: Received) -> list[str]:
        """Identifiers as the test gave them, in the order of the request."""

    @abstractmethod
    def acceptance(self, request: Received, recipients: Sequence[str]) -> Answer:
        """What the provider says when it takes all of them."""

    @abstractmethod
    def credentials_refused(self) -> Act: ...

    def respond(self, request: Received, recipients: Sequence[str]) -> Act:
        """The call gets what was scripted for the first recipient in it that has something."""
        for recipient in recipients:
            if recipient in self.replies:
                act: Act = self.replies[recipient]
                return act
        return self.accept(request, recipients)

    def accept(self, request: Received, recipients: Sequence[str]) -> Answer:
        self.taken += [(recipient, request) for recipient in recipients]
        return self.acceptance(request, recipients)

    def _act(self, request: Received) -> Act:
        self.arrived.set()
        return self._refusal or self.respond(request, self.recipients(request))

    def answer(self, identifier: str, reply: Any) -> None:
        self.replies[identifier] = reply

    def fail(self, identifier: str, fault: Fault) -> None:
        self.replies[identifier] = FAULTS[fault]

    def received(self) -> list[tuple[str, Received]]:
        return [(recipient, request) for request in self.server.received for recipient in self.recipients(request)]

    def accepted(self) -> list[str]:
        return [recipient for recipient, _ in self.taken]

    def refuse_credentials(self) -> None:
        self._refusal = self.credentials_refused()

    async def close_adapter(self) -> None:
        await self.adapter.aclose()
        await self.transport.aclose()

    def adapter_for(self, address: tuple[str, int]) -> Adapter:
        return self.make_adapter(f"https://{address[0]}:{address[1]}")
