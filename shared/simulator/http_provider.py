"""What providers share that are called over HTTP: one port, told apart by path; a plan, credentials, the record."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

from shared.simulator.faults import Fate, FaultPlan, FaultProfile, MagicWord
from shared.simulator.keyring import Keyring
from shared.simulator.outgoing import Courier, OutgoingCall
from shared.simulator.record import Record
from shared.simulator.wire.exchange import Reply, Request


class HttpProvider(ABC):
    name: ClassVar[str]
    words: ClassVar[tuple[MagicWord, ...]]
    profile: ClassVar[FaultProfile] = FaultProfile()

    def __init__(self, record: Record, keyring: Keyring) -> None:
        self.record = record
        self.keyring = keyring
        self.plan: FaultPlan[Any] = FaultPlan(self.name, self.profile, self.words)
        self.receipts_url = ""  # what the customer entered in the account, where a request does not name one
        self.courier: Courier | None = None

    @abstractmethod
    def credentials(self) -> Mapping[str, Any]:
        """The only ones that are accepted, by the names that the Messaging API has for them."""

    @property
    def receipts_secret(self) -> str:
        """What customers check receipts with, where that is none of the credentials; "": it is, or there are none."""
        return ""

    @abstractmethod
    def answer(self, request: Request) -> Reply | None:
        """None: no path of this provider."""

    def fate_of(self, recipient: str, *, words_in: str | None = None) -> Fate:
        """Decide about one try for one recipient; ask once."""
        fate = self.plan.fate_of(recipient, words_in=words_in)
        if fate is not Fate.THROTTLED and self.plan.is_over_limit():
            return Fate.OVER_LIMIT
        return fate

    def in_manner_of(self, reply: Reply, recipient: str, fate: Fate) -> Reply:
        """The reply as the recipient's fate has it: late, slow, or not at all."""
        return replace(reply, manner=self.plan.manner_of(recipient, fate))

    def post_receipts(self, calls: Iterable[OutgoingCall]) -> None:
        """Each as often as the profile says, once the reply has had its time to leave."""
        if self.courier is None:
            return
        profile = self.plan.profile
        after_seconds = (profile.latency_ms + profile.receipt_delay_ms) / 1000
        for call in calls:
            for _ in range(profile.receipt_copies):
                self.courier.post(self.name, call, after_seconds=after_seconds)


class Reception:
    """Hands each request to the provider whose path it names."""

    def __init__(self, providers: Sequence[HttpProvider]) -> None:
        self._providers = providers

    def answer(self, request: Request) -> Reply:
        for provider in self._providers:
            if (reply := provider.answer(request)) is not None:
                return reply
        return Reply(404, b'{"error":"No simulated provider has this address."}')
