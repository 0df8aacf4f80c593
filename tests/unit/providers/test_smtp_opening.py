"""From a host list to a connection: TLS, logins, hosts that fail, servers that want fewer connections."""

import asyncio
import gc
import math
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from shared.domain.outcome import Accepted, AccountFault, Outcome, Retry
from shared.providers.contract import Account, SendRequest
from shared.providers.email.address import Address
from shared.providers.email.hosts import AllowedHosts, Security, SmtpHost
from shared.providers.email.opening import Opener
from shared.providers.email.pool import SmtpPool
from shared.providers.email.smtp import SmtpAdapter
from shared.providers.email.terms import Limits, Mail, MailFlow
from shared.providers.trust import tls_context
from shared.settings import Settings
from tests.contract.certificates import Certificates
from tests.contract.smtp_server import Act, Command, Raw, SmtpServer
from tests.contract.smtp_wire import email
from tests.contract.suite import closed_port, collect

CONNECTIONS = 4

LOGIN = {"username": "tidings", "password": "secret"}


@pytest.fixture
def closed() -> Iterator[int]:
    with closed_port() as port:
        yield port


@asynccontextmanager
async def sending(
    certificates: Certificates | None, host: str, credentials: dict[str, str] | None = None, **options: Any
) -> AsyncIterator[Callable[[int], Any]]:
    """A function that sends so many mails through an account and returns their outcomes."""
    settings = Settings(
        provider_timeout_seconds=2.0,
        smtp_connections=CONNECTIONS,
        smtp_allowed_hosts="127.0.0.0/8",
        ca_file=certificates.ca_file if certificates else None,
    )
    account = Account(1, 1, {"host": host, **(credentials or {})}, {"fromEmail": "news@example.com", **options})
    adapter = SmtpAdapter(account, settings=settings)

    async def send(count: int) -> list[Outcome]:
        requests = [SendRequest(f"1-{number}", f"person{number}@example.org") for number in range(count)]
        return await collect(adapter, email("Hello", "Hello\n"), requests)

    yield send
    await adapter.aclose()


@pytest.mark.parametrize(
    ("prefix", "options", "is_implicit", "is_secure"),
    [
        ("", {}, False, True),
        ("", {"autoTLS": False}, False, False),
        ("", {"encryption": "tls", "autoTLS": False}, False, True),
        ("tls://", {"autoTLS": False}, False, True),
        ("ssl://", {}, True, True),
        ("", {"encryption": "ssl"}, True, True),
    ],
)
async def test_encryption(
    certificates: Certificates, prefix: str, options: dict[str, Any], *, is_implicit: bool, is_secure: bool
) -> None:
    server = SmtpServer(tls=certificates.server_context(), is_implicit=is_implicit)
    async with server, sending(certificates, f"{prefix}{server.endpoint}", **options) as send:
        assert isinstance((await send(1))[0], Accepted)

    assert [mail.is_secure for mail in server.mails] == [is_secure]


async def test_no_encryption_where_the_server_has_none(certificates: Certificates) -> None:
    async with SmtpServer() as server, sending(certificates, server.endpoint) as send:
        assert isinstance((await send(1))[0], Accepted)


async def test_starttls_that_is_not_offered(certificates: Certificates) -> None:
    async with SmtpServer() as server, sending(certificates, f"tls://{server.endpoint}", LOGIN) as send:
        (outcome,) = await send(1)

    assert isinstance(outcome, AccountFault)
    assert "AUTH" not in server.commands, "the password went in clear"


@pytest.mark.parametrize("prefix", ["", "tls://", "ssl://"])
async def test_a_certificate_nobody_vouches_for(certificates: Certificates, prefix: str) -> None:
    tls = certificates.server_context()
    server = SmtpServer(tls=tls, is_implicit=prefix == "ssl://")
    async with server, sending(None, f"{prefix}{server.endpoint}", LOGIN) as send:
        (outcome,) = await send(1)

    assert isinstance(outcome, AccountFault)
    assert "certificate" in outcome.reason
    assert "AUTH" not in server.commands


async def test_a_certificate_for_another_name(certificates: Certificates, monkeypatch: pytest.MonkeyPatch) -> None:
    """We connect to the address that was looked up, and expect the certificate of the name."""
    server = SmtpServer(tls=certificates.server_context())
    async with server, sending(certificates, f"tls://mail.example.com:{server.port}") as send:
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", server.port))]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
        (outcome,) = await send(1)

    assert isinstance(outcome, AccountFault)
    assert "certificate of mail.example.com" in outcome.reason
    assert server.mails == []


@pytest.mark.parametrize("name", ["none.pem", "empty.pem"])
async def test_authorities_that_cannot_be_read(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty.pem").write_text("no certificate")
    account = Account(1, 1, {"host": "mail.example.com"}, {"fromEmail": "news@example.com"})
    adapter = SmtpAdapter(account, settings=Settings(ca_file=tmp_path / name))

    (outcome,) = await collect(adapter, email("Hello", "Hello\n"), [SendRequest("1-1", "a@example.org")])

    assert isinstance(outcome, Retry)
    assert "TIDINGS_CA_FILE" in outcome.reason


async def test_tls_with_a_server_that_speaks_none(certificates: Certificates) -> None:
    async with SmtpServer() as server, sending(certificates, f"ssl://{server.endpoint}") as send:
        assert isinstance((await send(1))[0], AccountFault)


async def test_words_slipped_in_before_tls_are_not_believed(certificates: Certificates) -> None:
    def slip_in(command: Command) -> Act:
        return Raw(b"220 2.0.0 go\r\n250 2.0.0 welcome\r\n") if command.verb == "STARTTLS" else None

    server = SmtpServer(slip_in, tls=certificates.server_context())
    async with server, sending(certificates, server.endpoint, LOGIN) as send:
        (outcome,) = await send(1)

    assert isinstance(outcome, AccountFault)
    assert "AUTH" not in server.commands


@pytest.mark.parametrize(
    ("credentials", "offered", "login"),
    [
        (LOGIN, "AUTH PLAIN LOGIN", "tidings:secret"),
        (LOGIN, "AUTH LOGIN", "tidings:secret"),
        (LOGIN, "AUTH=LOGIN", "tidings:secret"),
        ({"username": "jörg", "password": "pässword"}, "AUTH PLAIN", "jörg:pässword"),
        ({"username": "tidings", "password": ""}, "AUTH PLAIN", None),
        ({"username": "", "password": "secret"}, "AUTH PLAIN", None),
        ({}, "AUTH PLAIN", None),
    ],
    ids=str,
)
async def test_logins(certificates: Certificates, credentials: dict[str, str], offered: str, login: str | None) -> None:
    server = SmtpServer(extensions=("PIPELINING", offered))
    async with server, sending(certificates, server.endpoint, credentials) as send:
        await send(1)

    assert [mail.login for mail in server.mails] == [login]


@pytest.mark.parametrize(
    ("offered", "reply", "outcome"),
    [
        ("AUTH PLAIN", "535 5.7.8 authentication failed for tidings", AccountFault),
        ("AUTH PLAIN", "534 5.7.9 mechanism too weak", AccountFault),
        ("AUTH LOGIN", "530 5.7.0 not here", AccountFault),
        ("AUTH PLAIN", "454 4.7.0 temporary authentication failure", Retry),
        ("AUTH CRAM-MD5", None, AccountFault),
        ("8BITMIME", None, AccountFault),
    ],
)
async def test_logins_that_fail(
    certificates: Certificates, offered: str, reply: str | None, outcome: type[Outcome]
) -> None:
    server = SmtpServer(lambda command: reply if command.verb == "AUTH" else None, extensions=(offered,))
    async with server, sending(certificates, server.endpoint, LOGIN) as send:
        (result,) = await send(1)

    assert isinstance(result, outcome)
    assert not any(word in str(result) for word in LOGIN.values())


@pytest.mark.parametrize(
    ("banner", "outcome"),
    [("554 5.7.1 go away", AccountFault), ("421 4.7.0 too busy", Retry), ("450 later", Retry), ("hello", Retry)],
)
async def test_servers_that_do_not_want_us(certificates: Certificates, banner: str, outcome: type[Outcome]) -> None:
    act = Raw(b"hello\r\n") if banner == "hello" else banner
    server = SmtpServer(lambda command: act if command.verb == "CONNECT" else None)
    async with server, sending(certificates, server.endpoint) as send:
        assert {type(result) for result in await send(3)} == {outcome}


@pytest.mark.parametrize("count", [1, 10])
async def test_a_server_that_leaves_as_soon_as_it_has_let_us_in(certificates: Certificates, count: int) -> None:
    """Its farewell comes with the reply to the login, before we could say anything more."""
    farewell = Raw(b"235 2.7.0 welcome\r\n421 4.7.0 too many connections\r\n")
    server = SmtpServer(lambda command: farewell if command.verb == "AUTH" else None)
    async with server, sending(certificates, server.endpoint, LOGIN) as send:
        assert {type(outcome) for outcome in await send(count)} == {Retry}

    assert server.mails == []


async def test_the_next_host_serves_while_the_first_is_down(certificates: Certificates, closed: int) -> None:
    """And is asked first from then on, for a while."""
    async with SmtpServer() as backup, SmtpServer() as first:
        first.script = lambda command: "454 4.7.0 not now" if command.verb == "EHLO" else None
        host = f"127.0.0.1:{closed};{first.endpoint};{backup.endpoint}"
        async with sending(certificates, host) as send:
            assert {type(outcome) for outcome in await send(1)} == {Accepted}
            backup.close_connections()
            assert {type(outcome) for outcome in await send(3)} == {Accepted}

    assert len(backup.mails) == 4
    assert first.connections == 1


async def test_a_mail_does_not_wait_until_every_host_has_said_nothing(certificates: Certificates) -> None:
    """Each takes as long as a mail may wait; the second is still being asked when its time is over."""
    silent = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]  # the kernel accepts, nobody answers
    async with sending(certificates, ";".join(f"127.0.0.1:{host.getsockname()[1]}" for host in silent)) as send:
        (outcome,) = await send(1)
    for host in silent:
        host.close()

    assert isinstance(outcome, Retry)
    assert outcome.scope == "provider"
    assert "no connection for it in time: 127.0.0.1" in outcome.reason
    assert "does not greet yet" in outcome.reason


async def test_refused_mail_does_not_move_to_the_next_host(certificates: Certificates) -> None:
    async with SmtpServer() as backup, SmtpServer() as first:
        first.script = lambda command: "550 5.7.1 no" if command.verb in {"MAIL", "RCPT"} else None
        async with sending(certificates, f"{first.endpoint};{backup.endpoint}") as send:
            await send(2)

    assert backup.connections == 0


async def test_a_fault_of_every_host_is_the_accounts(certificates: Certificates, closed: int) -> None:
    async with SmtpServer(extensions=()) as one, SmtpServer(extensions=()) as two:
        async with sending(certificates, f"{one.endpoint};{two.endpoint}", LOGIN) as send:
            assert isinstance((await send(1))[0], AccountFault)
        async with sending(certificates, f"{one.endpoint};127.0.0.1:{closed}", LOGIN) as send:
            assert isinstance((await send(1))[0], Retry)


async def test_a_server_may_limit_our_connections(certificates: Certificates) -> None:
    """Mails go over those it grants, and we ask for no more."""
    server = SmtpServer(lambda command: "421 too many" if command.verb == "CONNECT" and command.connection else None)
    async with server, sending(certificates, server.endpoint) as send:
        assert {type(outcome) for outcome in await send(40)} == {Accepted}
        assert {type(outcome) for outcome in await send(40)} == {Accepted}

    assert server.connections <= CONNECTIONS
    assert {mail.connection for mail in server.mails} == {0}


async def test_no_more_connections_than_mails(certificates: Certificates) -> None:
    async with SmtpServer() as server, sending(certificates, server.endpoint) as send:
        await send(2)
        await send(2)

    # the first connection may have carried both before the second was through
    assert 1 <= server.connections <= 2


async def test_a_connection_is_replaced_after_its_share_of_mails(certificates: Certificates) -> None:
    async with SmtpServer() as server, sending(certificates, server.endpoint) as send:
        assert {type(outcome) for outcome in await send(450)} == {Accepted}

    counts = [sum(mail.connection == number for mail in server.mails) for number in range(server.connections)]
    assert sum(counts) == 450
    assert max(counts) <= 100


async def test_private_servers_are_not_called(certificates: Certificates) -> None:
    async with SmtpServer() as server:
        account = Account(1, 1, {"host": server.endpoint}, {"fromEmail": "news@example.com"})
        adapter = SmtpAdapter(account, settings=Settings())
        (outcome,) = await collect(adapter, email("Hello", "Hello\n"), [SendRequest("1-1", "a@example.org")])
        await adapter.aclose()

    assert isinstance(outcome, AccountFault)
    assert server.connections == 0


def pool_of(server: SmtpServer, *, idle_seconds: float = 30.0) -> SmtpPool:
    limits = Limits(reply_seconds=1, final_seconds=1, idle_seconds=idle_seconds)
    opener = Opener(limits=limits, tls=tls_context(None), login=None, allowed=AllowedHosts("127.0.0.1"))
    return SmtpPool([SmtpHost("127.0.0.1", server.port, Security.NONE)], opener, connections=2)


def flow_to(recipient: str) -> MailFlow:
    sender, address = Address("a@example.com", needs_utf8=False), Address(recipient, needs_utf8=False)
    mail = Mail(sender, address, b"Subject: x\r\n", b"\r\n.\r\n")
    return MailFlow(iter([(0, mail)]), leave_by=math.inf, count=1)


async def outcomes_of(flow: MailFlow) -> list[type[Outcome]]:
    return [type(outcome) async for batch in flow.batches() for _, outcome in batch]


async def test_idle_connections_are_closed(certificates: Certificates) -> None:
    async with SmtpServer() as server:
        pool = pool_of(server, idle_seconds=0.05)
        flow = flow_to("b@example.com")
        pool.submit(flow)
        assert await outcomes_of(flow) == [Accepted]

        await server.all_closed()

        assert server.commands[-1] == "QUIT"
        await pool.aclose()


async def test_a_mail_given_back_does_not_leave_when_nobody_waits_for_it_any_more(certificates: Certificates) -> None:
    async with SmtpServer() as server:
        pool = pool_of(server)
        cancelled, other = flow_to("cancelled@example.com"), flow_to("other@example.com")
        pool.submit(cancelled)
        mail = pool.next_mail()
        assert mail is not None
        pool.give_back(mail)  # as a connection does whose server said 421
        pool.drop(cancelled)

        pool.submit(other)
        assert await outcomes_of(other) == [Accepted]

        await pool.aclose()
    assert [mail.recipient for mail in server.mails] == ["other@example.com"]


async def test_a_closed_account_leaves_nothing_open(certificates: Certificates) -> None:
    """Whose loop ends right after, as a command's does: an open transport is a ResourceWarning, which is an error."""

    async def story(host: str) -> None:
        async with sending(certificates, host) as send:
            assert {type(outcome) for outcome in await send(8)} == {Accepted}

    def run(host: str) -> None:
        asyncio.run(story(host))
        gc.collect()

    async with SmtpServer(tls=certificates.server_context()) as server:
        await asyncio.to_thread(run, server.endpoint)


async def test_a_size_of_thousands_of_digits_is_none() -> None:
    server = SmtpServer(extensions=("PIPELINING", "SIZE " + "9" * 5_000))
    async with server, sending(None, server.endpoint) as send:
        assert isinstance((await send(1))[0], Accepted)
