"""Which adapter speaks for a provider kind, and where its traffic goes."""

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, ClassVar, Final, cast
from urllib.parse import urlsplit

from shared.domain.outcome import AccountFault, Outcome, UnknownRule
from shared.domain.status import Channel
from shared.errors import ConfigurationError
from shared.providers.contract import Account, Adapter, Content, SendRequest, TokenStore
from shared.providers.email import mailgun_receipts, resend_receipts, sendgrid_receipts, ses_receipts
from shared.providers.email.mailgun import MailgunAdapter
from shared.providers.email.resend import ResendAdapter
from shared.providers.email.sendgrid import SendgridAdapter
from shared.providers.email.ses import SesAdapter
from shared.providers.email.smtp import SmtpAdapter
from shared.providers.http_adapter import HttpAdapter
from shared.providers.push.apns import ApnsAdapter
from shared.providers.push.fcm import FcmAdapter
from shared.providers.receipts import ReceiptReader
from shared.providers.sms import (
    msg91_receipts,
    telesign_receipts,
    textmagic_receipts,
    twilio_receipts,
    vonage_receipts,
)
from shared.providers.sms.msg91 import Msg91Adapter
from shared.providers.sms.telesign import TelesignAdapter, TelesignBulkAdapter
from shared.providers.sms.textmagic import TextmagicAdapter
from shared.providers.sms.twilio import TwilioAdapter
from shared.providers.sms.vonage import VonageAdapter
from shared.providers.transport import Transport
from shared.settings import Settings

ADAPTERS: Final[Mapping[str, type[Adapter]]] = {
    SmtpAdapter.kind: SmtpAdapter,
    SendgridAdapter.kind: SendgridAdapter,
    MailgunAdapter.kind: MailgunAdapter,
    ResendAdapter.kind: ResendAdapter,
    SesAdapter.kind: SesAdapter,
    FcmAdapter.kind: FcmAdapter,
    ApnsAdapter.kind: ApnsAdapter,
    TwilioAdapter.kind: TwilioAdapter,
    VonageAdapter.kind: VonageAdapter,
    TelesignAdapter.kind: TelesignAdapter,
    TextmagicAdapter.kind: TextmagicAdapter,
    Msg91Adapter.kind: Msg91Adapter,
}

RECEIPT_READERS: Final[Mapping[str, ReceiptReader]] = {
    SendgridAdapter.kind: sendgrid_receipts.read_receipts,
    MailgunAdapter.kind: mailgun_receipts.read_receipts,
    ResendAdapter.kind: resend_receipts.read_receipts,
    SesAdapter.kind: ses_receipts.read_receipts,
    TwilioAdapter.kind: twilio_receipts.read_receipts,
    VonageAdapter.kind: vonage_receipts.read_receipts,
    TelesignAdapter.kind: telesign_receipts.read_receipts,
    TextmagicAdapter.kind: textmagic_receipts.read_receipts,
    Msg91Adapter.kind: msg91_receipts.read_receipts,
}

LONGEST_ACCOUNT: Final = 16 * 1024
"""Characters of an account's credentials and options as JSON: three times what a service account takes. What stands in
them is written into each request, often a thousand times at once.
"""

GATHERING_KINDS: Final = frozenset({SendgridAdapter.kind})
"""Whose receipts come many at once."""

FETCHING_KINDS: Final = frozenset({SesAdapter.kind})
"""Whose receipts can be checked only with something that is fetched."""


def adapter_facts(kind: str) -> type[Adapter]:
    """The class, for its facts. Raises ConfigurationError for a kind that the contract does not know."""
    if kind not in ADAPTERS:
        raise ConfigurationError(f"There is no provider kind {kind!r}.", hint=f"Known: {', '.join(ADAPTERS)}.")
    return ADAPTERS[kind]


def make_adapter(
    kind: str, account: Account, *, settings: Settings, token_store: TokenStore, transport: Transport, live: bool
) -> Adapter:
    """The adapter of one account, its traffic sent where the settings say: TIDINGS_ENDPOINT_<KIND> if it is set, else
    to the provider itself if this installation is live, else nowhere.

    An account whose credentials no adapter can be made of gets one that says so to each recipient: it is the account's
    fault, and no reason to stop. Raises ConfigurationError for an endpoint that is no server's address.
    """
    facts = adapter_facts(kind)
    endpoint = settings.endpoint_of(kind)
    if endpoint is not None:
        _check_endpoint(kind, endpoint)
    elif not live:
        return _held_back(
            facts,
            f"this installation is not live, so nothing goes to real {kind} servers: set "
            f"TIDINGS_ENDPOINT_{kind.upper()} to a simulator, or make the installation live",
        )
    characters = len(json.dumps([{**account.credentials}, {**account.options}]))
    if characters > LONGEST_ACCOUNT:
        reason = f"the provider's settings have {characters} characters, and at most {LONGEST_ACCOUNT} are read"
        return _held_back(facts, reason)
    try:
        return _made(facts, account, settings=settings, token_store=token_store, transport=transport, endpoint=endpoint)
    except Exception as error:  # noqa: BLE001  # whatever it is, it came of what the account holds
        # its text may quote a secret
        return _held_back(
            facts, f"no {kind} adapter can be made of the provider's credentials ({type(error).__name__})"
        )


def _made(
    facts: type[Adapter],
    account: Account,
    *,
    settings: Settings,
    token_store: TokenStore,
    transport: Transport,
    endpoint: str | None,
) -> Adapter:
    if facts is SmtpAdapter:
        return SmtpAdapter(account, settings=settings, endpoint=endpoint)
    if facts is FcmAdapter:
        return FcmAdapter(account, transport=transport, token_store=token_store, endpoint=endpoint)
    if facts is ApnsAdapter:
        return ApnsAdapter(account, transport=transport, endpoint=endpoint)
    if facts is TelesignAdapter and settings.telesign_bulk:
        facts = TelesignBulkAdapter
    return cast("type[HttpAdapter[Any]]", facts)(account, transport=transport, endpoint=endpoint)


def _check_endpoint(kind: str, endpoint: str) -> None:
    is_smtp = kind == SmtpAdapter.kind
    try:
        place = urlsplit(f"smtp://{endpoint}" if is_smtp and "://" not in endpoint else endpoint)
        is_server = bool(place.hostname) and place.port != 0
    except ValueError:  # a port that is none, brackets that do not close
        is_server = False
    if not is_server or place.scheme not in ({"smtp"} if is_smtp else {"http", "https"}) or place.path:
        raise ConfigurationError(
            f"TIDINGS_ENDPOINT_{kind.upper()} is not the address of a server.",
            hint=f"It looks like {'127.0.0.1:2525' if is_smtp else 'https://127.0.0.1:9443'}, and has no path.",
        )


def _held_back(facts: type[Adapter], reason: str) -> Adapter:
    """Sends nothing: each recipient waits, and the reason says what the operator can do."""
    size = facts.batch_size

    class HeldBack:
        kind: ClassVar[str] = facts.kind
        channel: ClassVar[Channel] = facts.channel
        largest_batch: ClassVar[int] = size
        batch_size: ClassVar[int] = size
        unknown_rule: ClassVar[UnknownRule] = UnknownRule.LEAVE
        has_receipts: ClassVar[bool] = False
        in_flight_limit: ClassVar[int] = size

        async def send(self, _content: Content, requests: Sequence[SendRequest]) -> AsyncIterator[tuple[int, Outcome]]:
            fault = AccountFault(reason)
            for index in range(len(requests)):
                yield index, fault

        async def aclose(self) -> None:
            """Nothing was opened."""

    return HeldBack()
