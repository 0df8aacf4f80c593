"""Whatever an account holds, sending ends in outcomes: what an adapter cannot work with is its account's fault."""

from typing import Any

import pytest

from shared.domain.outcome import Accepted, AccountFault, Outcome, Refused, Retry
from shared.domain.status import Channel
from shared.providers.contract import Account, Content, SendRequest
from shared.providers.http import HttpTransport
from shared.providers.registry import ADAPTERS, make_adapter
from shared.providers.tokens import InMemoryTokenStore
from shared.settings import Settings
from tests.contract.suite import closed_port

ODD: list[Any] = ["[", "a]b", "//", "%", "\0", "\r\nx: y", "\ud800", "é" * 300, "x" * 100_000, 7, -1.5, True, [], ["a"]]
ODD += [{}, {"a": "b"}, None, " ", "{", '{"project_id": 1}', "[" * 100_000, "-----BEGIN PRIVATE KEY-----\nAAAA\n-----"]

CREDENTIALS: dict[str, dict[str, Any]] = {
    "smtp": {"host": "127.0.0.1", "port": 25, "username": "u", "password": "p"},
    "sendgrid": {"apiKey": "k"},
    "mailgun": {"apiKey": "k", "domain": "example.com", "isEuRegion": False},
    "resend": {"apiKey": "k"},
    "ses": {"accessKey": "a", "secretKey": "s", "region": "eu-west-1"},
    "fcm": {"serviceAccountJSON": {"project_id": "p", "client_email": "e", "private_key": "k", "token_uri": "t"}},
    "apns": {"authKey": "k", "authKeyId": "i", "teamId": "t", "bundleId": "b"},
    "twilio": {"accountSid": "AC1", "authToken": "t"},
    "vonage": {"apiKey": "k", "apiSecret": "s"},
    "telesign": {"customerId": "c", "apiKey": "k"},
    "textmagic": {"username": "u", "apiKey": "k"},
    "msg91": {"authKey": "k", "senderId": "s", "templateId": "t"},
}
OPTIONS = {"fromEmail": "a@example.com", "from": "+15550100"}
DATA = {"title": "Hello", "subject": "Hello", "content": "Hello", "body": "Hello"}


def accounts_of(kind: str) -> list[Account]:
    """With an odd value in the place of one that is right."""
    right = CREDENTIALS[kind]
    accounts = [Account(1, 1, {**right, name: odd}, OPTIONS) for name in right for odd in ODD]
    names = (
        ("fromEmail", "replyToName", "encryption") if ADAPTERS[kind].channel is Channel.EMAIL else ("from", "sandbox")
    )
    return accounts + [Account(1, 1, right, {**OPTIONS, name: odd}) for name in names for odd in ODD]


async def outcomes_of(kind: str, account: Account, endpoint: str, transport: HttpTransport) -> list[Outcome]:
    settings = Settings(provider_timeout_seconds=1, **{f"endpoint_{kind}": endpoint})  # type: ignore[arg-type]
    adapter = make_adapter(
        kind, account, settings=settings, token_store=InMemoryTokenStore(), transport=transport, live=False
    )
    requests = [SendRequest("1-1", "a@example.com" if kind in {"smtp", "ses"} else "ab12"), SendRequest("1-2", "+1555")]
    outcomes = [outcome async for _, outcome in adapter.send(Content(1, adapter.channel, DATA, 4e9), requests)]
    await adapter.aclose()
    return outcomes


@pytest.mark.parametrize("kind", sorted(ADAPTERS))
async def test_odd_credentials_and_options_end_in_outcomes(kind: str) -> None:
    with closed_port() as port:
        endpoint = f"127.0.0.1:{port}" if kind == "smtp" else f"http://127.0.0.1:{port}"
        transport = HttpTransport(timeout_seconds=1)
        for account in accounts_of(kind):
            outcomes = await outcomes_of(kind, account, endpoint, transport)
            assert len(outcomes) == 2
            assert not any(isinstance(outcome, Accepted) for outcome in outcomes)
            assert all(isinstance(outcome, (AccountFault, Refused, Retry)) for outcome in outcomes), outcomes
        await transport.aclose()


@pytest.mark.parametrize("kind", sorted(ADAPTERS))
async def test_an_adapter_can_be_made_of_any_account(kind: str) -> None:
    """In a live installation, whose accounts say where their traffic goes. Nothing is sent."""
    transport = HttpTransport(timeout_seconds=1)
    for account in accounts_of(kind):
        adapter = make_adapter(
            kind, account, settings=Settings(), token_store=InMemoryTokenStore(), transport=transport, live=True
        )
        assert adapter.kind == kind
        await adapter.aclose()
    await transport.aclose()


async def test_what_no_adapter_can_be_made_of_is_told_without_the_secret() -> None:
    class Odd(dict[str, Any]):
        """Credentials that raise with themselves in the text."""

        def get(self, *_: object) -> Any:
            raise ValueError("hunter2")

    transport = HttpTransport(timeout_seconds=1)
    (first, second) = await outcomes_of("sendgrid", Account(1, 1, Odd(), OPTIONS), "http://127.0.0.1:1", transport)
    await transport.aclose()

    assert first == second
    assert isinstance(first, AccountFault)
    assert "sendgrid" in first.reason
    assert "ValueError" in first.reason
    assert "hunter2" not in first.reason


@pytest.mark.parametrize("region", ["[", "a]b", "evil.com/", "eu-west-1.evil.com"])
async def test_a_region_that_is_none_is_named(region: str) -> None:
    transport = HttpTransport(timeout_seconds=1)
    account = Account(1, 1, {**CREDENTIALS["ses"], "region": region}, OPTIONS)
    adapter = make_adapter(
        "ses", account, settings=Settings(), token_store=InMemoryTokenStore(), transport=transport, live=True
    )
    content = Content(1, adapter.channel, DATA, 4e9)
    (outcome,) = [outcome async for _, outcome in adapter.send(content, [SendRequest("1-1", "a@example.com")])]
    await transport.aclose()

    assert outcome == AccountFault("the provider's region is none of AWS")


@pytest.mark.parametrize("kind", sorted(ADAPTERS))
async def test_an_account_too_long_to_be_written_into_requests_sends_nothing(kind: str) -> None:
    transport = HttpTransport(timeout_seconds=1)
    for credentials, options in (({"x": "x" * 20_000}, {}), ({}, {"mailer": ["x"] * 5_000})):
        account = Account(1, 1, {**CREDENTIALS[kind], **credentials}, {**OPTIONS, **options})
        endpoint = "127.0.0.1:1" if kind == "smtp" else "http://127.0.0.1:1"
        outcomes = await outcomes_of(kind, account, endpoint, transport)
        assert all(isinstance(outcome, AccountFault) and "characters" in outcome.reason for outcome in outcomes)
