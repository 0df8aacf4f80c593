"""One real message through a provider's account, sent as a worker would, and what its answer means."""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass

from shared.db.models import Provider
from shared.db.queries.providers import credentials_context
from shared.db.secrets import SecretBox
from shared.domain.contacts.addresses import NotAnAddress, read_email, read_phone
from shared.domain.outcome import Accepted, AccountFault, DeadAddress, Outcome, Refused, Retry, Unknown
from shared.domain.status import Channel
from shared.errors import ConfigurationError
from shared.exits import DONE, FAILED, NOT_REACHABLE
from shared.ids import run_floor
from shared.providers.contract import Account, Content, SendRequest
from shared.providers.http import HttpTransport
from shared.providers.registry import make_adapter
from shared.providers.tokens import InMemoryTokenStore
from shared.settings import Settings

SUBJECT = "A test from Tidings"

LIFE_SECONDS = 600.0
"""A provider that holds the message until a phone is reachable gives up after this."""


@dataclass(frozen=True, slots=True)
class Verdict:
    word: str
    status: int  # the command's exit code
    advice: str


MEANINGS: Mapping[type[Outcome], Verdict] = {
    Accepted: Verdict(
        "accepted", DONE, "The provider took it. Whether it arrives, its receipts and the recipient tell."
    ),
    Retry: Verdict("retry", NOT_REACHABLE, "The provider did not take it for now; a message would be tried again."),
    Refused: Verdict("refused", FAILED, "The provider does not take this message for this recipient."),
    DeadAddress: Verdict(
        "dead_address",
        FAILED,
        "The provider calls the address dead; a message would not be sent there again. Check --to.",
    ),
    AccountFault: Verdict(
        "account_fault",
        FAILED,
        "The account, or the way to it, is at fault; recipients of messages wait meanwhile. Mend what the reason says.",
    ),
    Unknown: Verdict("unknown", FAILED, "The provider gave no answer that says; the message may arrive."),
}


def read_address(channel: str, text: str) -> str:
    """As a target would be stored. Raises ConfigurationError."""
    try:
        if channel == Channel.EMAIL:
            return read_email(text)
        return read_phone(text) if channel == Channel.SMS else text
    except NotAnAddress as error:
        raise ConfigurationError(f"{text!r} is no address of the channel {channel}.", hint=str(error)) from error


def content_for(channel: Channel, text: str) -> Content:
    shown: Mapping[Channel, dict[str, object]] = {
        Channel.EMAIL: {"subject": SUBJECT, "content": text},
        Channel.SMS: {"content": text},
        Channel.PUSH: {"title": SUBJECT, "body": text},
    }
    now = time.time()
    return Content(run_floor(int(now * 1000)), channel, shown[channel], now + LIFE_SECONDS)


def account_of(provider: Provider, box: SecretBox) -> Account:
    """Without an address for receipts: they would be about a message that the ledger does not know."""
    context = credentials_context(provider.project_seq, provider.id)
    credentials = json.loads(box.decrypt(provider.credentials_encrypted, context=context))
    return Account(provider.seq, provider.version, credentials, provider.options)


async def try_account(
    kind: str, account: Account, address: str, content: Content, *, settings: Settings, live: bool
) -> Outcome:
    transport = HttpTransport(timeout_seconds=settings.provider_timeout_seconds, ca_file=settings.ca_file)
    store = InMemoryTokenStore()
    adapter = make_adapter(kind, account, settings=settings, token_store=store, transport=transport, live=live)
    try:
        outcomes = [outcome async for _, outcome in adapter.send(content, [SendRequest(f"{content.run}-0", address)])]
    finally:
        await adapter.aclose()
        await transport.aclose()
    return outcomes[0]
