"""`tidings providers`: on real servers, and against the simulator."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from shared.providers.registry import ADAPTERS
from shared.settings import Settings
from shared.simulator.simulator import Simulator
from tests.factories import Factory
from tests.integration.cli.conftest import Finished, Tidings

pytestmark = pytest.mark.usefixtures("installation")

DONE, FAILED, USAGE, NOT_REACHABLE = 0, 1, 2, 4

OPTIONS: dict[str, dict[str, object]] = {
    "email": {"fromEmail": "news@example.com"},
    "sms": {"from": "+12065550100"},
    "push": {},
}
ADDRESSES = {"email": "ada@example.com", "sms": "+12065550123", "push": "ab" * 32}
DEAD = {"email": "dead@example.com", "sms": "+12025550190", "push": f"dead{'0' * 53}5550190"}  # FCM's and Apple's

Run = Callable[..., Awaitable[Finished]]


@pytest.fixture
async def simulator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Simulator]:
    """All traffic goes there."""
    async with Simulator.running(tmp_path / "simulator") as simulator:
        said = simulator.describe()
        for kind in ADAPTERS.keys() & said.keys():
            monkeypatch.setenv(f"TIDINGS_ENDPOINT_{kind.upper()}", said[kind])
        monkeypatch.setenv("TIDINGS_CA_FILE", said["ca_file"])
        yield simulator


@pytest.fixture
def factory(installation: Settings) -> Factory:
    return Factory(installation)


@pytest.fixture
def run(tidings: Tidings) -> Run:
    """Aside, as the simulator runs in this thread."""

    async def command(*arguments: str) -> Finished:
        return await asyncio.to_thread(tidings, "providers", *arguments)

    return command


def set_up(factory: Factory, simulator: Simulator, kind: str, **credentials: object) -> str:
    """The channel of a provider with the credentials that the simulator takes, but for these."""
    known: dict[str, Any] = {
        "fcm": {"serviceAccountJSON": simulator.service_account()},
        "smtp": {"host": "mail.example.com", "port": 587},
        **{name: dict(provider.credentials()) for name, provider in simulator.http_providers.items()},
        **simulator.describe()["credentials"],
    }
    channel = ADAPTERS[kind].channel.value
    factory.provider(kind, kind, credentials={**known[kind], **credentials}, options=OPTIONS[channel], enabled=False)
    return channel


async def test_a_message_goes_through_every_kind(simulator: Simulator, factory: Factory, run: Run) -> None:
    for kind in sorted(ADAPTERS):
        channel = set_up(factory, simulator, kind)

        taken = await run("test", kind, "--to", ADDRESSES[channel], "--text", "Do you read me?")
        dead = await run("test", kind, "--to", DEAD[channel], "--json")

        assert taken.status == DONE, taken
        assert "The provider took it" in taken.stdout
        assert "Nothing went to the provider itself." in taken.stdout
        line = simulator.record.read(simulator.record.n)
        assert line is not None
        assert (line["provider"], line["recipient"]) == (kind, ADDRESSES[channel])
        assert "Do you read me?" in json.dumps(line)
        told = json.loads(dead.stdout)
        assert (dead.status, told["outcome"], told["kind"]) == (FAILED, "dead_address", kind)
        assert told["reason"]


async def test_what_an_answer_means(simulator: Simulator, factory: Factory, run: Run) -> None:
    set_up(factory, simulator, "textmagic")

    async def outcome_of(number: str) -> tuple[int, str]:
        finished = await run("test", "textmagic", "--to", number, "--json")
        return finished.status, json.loads(finished.stdout)["outcome"]

    assert await outcome_of("+1 202 555 0192") == (NOT_REACHABLE, "retry")
    assert await outcome_of("+12025550192") == (DONE, "accepted")
    assert await outcome_of("+12025550191") == (FAILED, "refused")
    assert await outcome_of("+12025550198") == (FAILED, "account_fault")
    assert await outcome_of("+12025550199") == (FAILED, "unknown")


async def test_wrong_credentials(simulator: Simulator, factory: Factory, run: Run) -> None:
    set_up(factory, simulator, "textmagic", apiKey="guess")
    finished = await run("test", "textmagic", "--to", "+12065550123")
    assert finished.status == FAILED
    assert "TextMagic answered 401: Bad credentials" in finished.stdout
    assert "guess" not in finished.stdout


async def test_nothing_leaves_an_installation_that_is_not_live(factory: Factory, run: Run) -> None:
    factory.provider("smtp", "mail", credentials={"host": "mail.example.com"}, options=OPTIONS["email"])
    finished = await run("test", "mail", "--to", "ada@example.com", "--json")
    told = json.loads(finished.stdout)
    assert (finished.status, told["outcome"]) == (FAILED, "account_fault")
    assert "TIDINGS_ENDPOINT_SMTP" in told["reason"]
    assert told["goes_to"] == "nowhere: not live, and no endpoint is set"


async def test_nobody_at_the_endpoint(factory: Factory, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDINGS_ENDPOINT_SMTP", "127.0.0.1:9")
    factory.provider("smtp", "mail", credentials={"host": "mail.example.com"}, options=OPTIONS["email"])
    assert (await run("test", "mail", "--to", "ada@example.com")).status == NOT_REACHABLE


async def test_wrong_usage(factory: Factory, run: Run) -> None:
    factory.provider("smtp", "mail", credentials={"host": "mail.example.com"})
    for arguments, complaint in (
        (("test", "mail", "--to", "nobody"), "no address of the channel email"),
        (("test", "none", "--to", "ada@example.com"), "There is no provider 'none'"),
        (("show", "none"), "There is no provider 'none'"),
    ):
        finished = await run(*arguments)
        assert (finished.status, complaint in finished.stderr) == (USAGE, True), finished


async def test_providers_are_listed_with_their_health(
    factory: Factory, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TIDINGS_ENDPOINT_FCM", "https://127.0.0.1:9443")
    factory.provider("smtp", "mail", credentials={"host": "mail.example.com", "password": "secret"}, enabled=False)
    factory.provider("fcm", "phones", credentials={"serviceAccountJSON": {"private_key": "secret"}})
    with factory.connect() as connection:
        connection.execute("UPDATE providers SET fault_reason = 'key revoked', fault_since = now() WHERE id = 'phones'")

    listed = await run("list")
    shown = await run("show", "phones", "--json")

    assert [line.split()[:2] for line in listed.stdout.splitlines()[1:]] == [["mail", "smtp"], ["phones", "fcm"]]
    assert "key revoked" in listed.stdout
    provider = json.loads(shown.stdout)
    assert (provider["enabled"], provider["goes_to"]) == (True, "https://127.0.0.1:9443")
    assert (provider["health"], provider["fault_since"] is None) == ("key revoked", False)
    assert "secret" not in listed.stdout + shown.stdout + (await run("show", "phones")).stdout
    assert [each["health"] for each in json.loads((await run("list", "--json")).stdout)] == ["ok", "key revoked"]
