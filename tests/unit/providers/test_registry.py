"""Where an account's traffic goes."""

from typing import Any

import pytest

from shared.domain.outcome import AccountFault, Outcome
from shared.domain.queues import PROVIDER_KINDS
from shared.domain.status import Channel
from shared.errors import ConfigurationError
from shared.providers.contract import Account, Adapter, Content, SendRequest
from shared.providers.curl import CurlTransport
from shared.providers.registry import ADAPTERS, adapter_facts, make_adapter
from shared.providers.tokens import InMemoryTokenStore
from shared.settings import Settings

ACCOUNTS = {
    "fcm": Account(1, 1, {"serviceAccountJSON": {}}),
    "smtp": Account(2, 1, {"host": "127.0.0.1:1"}, {"fromEmail": "a@example.com"}),
}
DATA = {"title": "Hello", "subject": "Hello", "content": "Hello"}


async def send(kind: str, settings: Settings, *, live: bool) -> tuple[Adapter, list[Outcome]]:
    transport = CurlTransport(timeout_seconds=1)
    adapter = make_adapter(
        kind,
        ACCOUNTS.get(kind, Account(3, 1, {})),
        settings=settings,
        token_store=InMemoryTokenStore(),
        transport=transport,
        live=live,
    )
    content = Content(1, adapter.channel, DATA, 4e9)
    requests = [SendRequest(f"1-{number}", f"a{number}@example.com") for number in range(3)]
    outcomes = [outcome async for _, outcome in adapter.send(content, requests)]
    await adapter.aclose()
    await transport.aclose()
    return adapter, outcomes


@pytest.mark.parametrize("kind", sorted(ADAPTERS))
async def test_nothing_leaves_an_installation_that_is_not_live(kind: str) -> None:
    adapter, outcomes = await send(kind, Settings(), live=False)

    assert [type(outcome) for outcome in outcomes] == [AccountFault] * 3
    assert all(
        f"TIDINGS_ENDPOINT_{kind.upper()}" in outcome.reason
        for outcome in outcomes
        if isinstance(outcome, AccountFault)
    )
    assert (adapter.kind, adapter.channel) == (kind, adapter_facts(kind).channel)
    assert adapter.in_flight_limit > 0


@pytest.mark.parametrize(
    ("kind", "endpoint"),
    [
        ("smtp", "localhost:99999"),
        ("smtp", "localhost:abc"),
        ("smtp", "::1:25"),
        ("smtp", "ssl://127.0.0.1:465"),
        ("smtp", ""),
        ("fcm", ""),
        ("fcm", "127.0.0.1:9443"),
        ("fcm", "https://127.0.0.1:99999"),
        ("fcm", "https://[::1"),
        ("apns", "https://127.0.0.1:9443/path"),
        ("twilio", "ftp://127.0.0.1"),
        ("twilio", "nonsense"),
    ],
)
async def test_an_endpoint_that_is_no_servers_address(kind: str, endpoint: str) -> None:
    with pytest.raises(ConfigurationError, match=f"TIDINGS_ENDPOINT_{kind.upper()} ") as error:
        await send(kind, Settings.model_validate({f"endpoint_{kind}": endpoint}), live=False)

    assert "127.0.0.1:" in (error.value.hint or "")


@pytest.mark.parametrize("kind", sorted(ADAPTERS))
@pytest.mark.parametrize("live", [False, True])
async def test_an_endpoint_wins(kind: str, *, live: bool) -> None:
    """Nobody listens there, which is how we know where the requests went."""
    address = "127.0.0.1:9" if kind == "smtp" else "https://127.0.0.1:9"
    settings = Settings.model_validate({f"endpoint_{kind}": address})

    _, outcomes = await send(kind, settings, live=live)

    assert not any("not live" in str(outcome) for outcome in outcomes)
    if kind == "smtp":
        assert all("127.0.0.1:9" in str(outcome) for outcome in outcomes)


async def test_a_live_installation_uses_the_accounts_own_servers() -> None:
    _, outcomes = await send("smtp", Settings(smtp_allowed_hosts="127.0.0.1"), live=True)

    assert all("127.0.0.1:1" in str(outcome) for outcome in outcomes)


def test_every_kind_of_the_contract_has_an_adapter() -> None:
    assert {kind: facts.channel for kind, facts in ADAPTERS.items()} == dict(PROVIDER_KINDS)


def test_a_kind_nobody_speaks_for() -> None:
    with pytest.raises(ConfigurationError, match="pigeon"):
        adapter_facts("pigeon")


def test_facts_match_their_keys() -> None:
    assert {kind: facts.kind for kind, facts in ADAPTERS.items()} == {kind: kind for kind in ADAPTERS}
    assert {facts.channel for facts in ADAPTERS.values()} <= set(Channel)


@pytest.mark.parametrize("kind", sorted(set(ADAPTERS) - {"smtp"}))
async def test_each_version_of_each_account_has_connections_of_its_own(kind: str) -> None:
    """An adapter for SMTP holds its connections itself."""
    transport = CurlTransport(timeout_seconds=1)
    pools = set()
    for seq, version in ((1, 1), (1, 2), (2, 1), (1, 1)):
        adapter: Any = make_adapter(
            kind,
            Account(seq, version, {}),
            settings=Settings(),
            token_store=InMemoryTokenStore(),
            transport=transport,
            live=True,
        )
        pools.add(adapter._pool if adapter.channel is Channel.PUSH else adapter._own_pool)
    await transport.aclose()

    assert len(pools) == 3
