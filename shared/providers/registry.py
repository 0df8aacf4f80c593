"""Which adapter speaks for a provider kind, and where its traffic goes."""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import ClassVar, Final

from shared.domain.outcome import AccountFault, Outcome, UnknownRule
from shared.domain.status import Channel
from shared.errors import ConfigurationError
from shared.providers.contract import Account, Adapter, Content, SendRequest, TokenStore
from shared.providers.email.smtp import SmtpAdapter
from shared.providers.push.fcm import FcmAdapter
from shared.providers.transport import Transport
from shared.settings import Settings

ADAPTERS: Final[Mapping[str, type[Adapter]]] = {
    SmtpAdapter.kind: SmtpAdapter,
    FcmAdapter.kind: FcmAdapter,
}


def adapter_facts(kind: str) -> type[Adapter]:
    """The class, for its facts. Raises ConfigurationError for a kind that nothing here speaks for."""
    try:
        return ADAPTERS[kind]
    except KeyError:
        known = ", ".join(sorted(ADAPTERS))
        raise ConfigurationError(f"No adapter sends for the provider kind {kind!r}.", hint=f"Known: {known}.") from None


def make_adapter(
    kind: str, account: Account, *, settings: Settings, token_store: TokenStore, transport: Transport, live: bool
) -> Adapter:
    """The adapter of one account, its traffic sent where the settings say: TIDINGS_ENDPOINT_<KIND> if it is set, else
    to the provider itself if this installation is live, else nowhere.
    """
    facts = adapter_facts(kind)
    endpoint = settings.endpoint_of(kind)
    if endpoint is None and not live:
        return _held_back(facts)
    if facts is SmtpAdapter:
        return SmtpAdapter(account, settings=settings, endpoint=endpoint)
    return FcmAdapter(account, transport=transport, token_store=token_store, endpoint=endpoint)


def _held_back(facts: type[Adapter]) -> Adapter:
    """Sends nothing: each recipient waits, and the reason says what the operator can do."""

    class HeldBack:
        kind: ClassVar[str] = facts.kind
        channel: ClassVar[Channel] = facts.channel
        largest_batch: ClassVar[int] = facts.largest_batch
        batch_size: ClassVar[int] = facts.batch_size
        unknown_rule: ClassVar[UnknownRule] = facts.unknown_rule
        has_receipts: ClassVar[bool] = facts.has_receipts
        in_flight_limit: ClassVar[int] = facts.batch_size

        async def send(self, _content: Content, requests: Sequence[SendRequest]) -> AsyncIterator[tuple[int, Outcome]]:
            fault = AccountFault(
                f"this installation is not live, so nothing goes to real {self.kind} servers: set "
                f"TIDINGS_ENDPOINT_{self.kind.upper()} to a simulator, or make the installation live"
            )
            for index in range(len(requests)):
                yield index, fault

        async def aclose(self) -> None:
            """Nothing was opened."""

    return HeldBack()
