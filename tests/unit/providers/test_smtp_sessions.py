"""Every way in which a session may begin otherwise than expected ends in its class, with its reason: on the event loop
of the standard library, which commands use, and on uvloop, which workers use and which is stricter.
"""

import asyncio
import datetime as dt
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import uvloop

from shared.domain.outcome import Accepted, AccountFault, Outcome, Retry, Unknown
from shared.providers.contract import Account, SendRequest
from shared.providers.email.hosts import AllowedHosts, Security, SmtpHost
from shared.providers.email.opening import Login, Opener
from shared.providers.email.pool import SmtpPool
from shared.providers.email.smtp import SmtpAdapter
from shared.providers.email.terms import Limits
from shared.providers.trust import tls_context
from shared.settings import Settings
from tests.contract.certificates import Certificates, make_certificates
from tests.contract.smtp_server import ALL, Act, Command, Drip, Hangup, Raw, Silence, SmtpServer
from tests.contract.smtp_wire import email
from tests.contract.suite import collect
from tests.unit.providers.test_smtp_opening import flow_to

LOGIN = {"username": "tidings", "password": "secret"}

Loop = Callable[[], asyncio.AbstractEventLoop]


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def loop(request: pytest.FixtureRequest) -> Loop:
    made: Loop = request.param
    return made


def outcome_at(
    server: SmtpServer,
    loop: Loop,
    certificates: Certificates | None,
    *,
    seconds: float = 5.0,
    smtp_final_timeout_seconds: float = 5.0,
    **options: Any,
) -> Outcome:
    """What becomes of one mail through an account with this server; what its loop complains of fails the test."""
    complaints: list[dict[str, Any]] = []

    async def send() -> Outcome:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
        settings = Settings(
            provider_timeout_seconds=seconds,
            smtp_final_timeout_seconds=smtp_final_timeout_seconds,
            smtp_allowed_hosts="127.0.0.0/8",
            ca_file=certificates.ca_file if certificates else None,
        )
        async with server:
            account = Account(1, 1, {"host": server.endpoint, **LOGIN}, {"fromEmail": "news@example.com", **options})
            adapter = SmtpAdapter(account, settings=settings)
            (outcome,) = await collect(adapter, email("Hello", "Hello\n"), [SendRequest("1-1", "a@example.org")])
            await adapter.aclose()
        return outcome

    with asyncio.Runner(loop_factory=loop) as runner:
        outcome = runner.run(send())
    assert complaints == []
    return outcome


def at(verb: str, act: Act, *, nth: int = 1) -> Callable[[Command], Act]:
    """Act so at the nth of these commands."""
    met = []

    def script(command: Command) -> Act:
        met.append(command.verb)
        return act if command.verb == verb and met.count(verb) == nth else None

    return script


@pytest.mark.parametrize("security", ["none", "tls", "ssl"])
def test_a_certificate_nobody_vouches_for(loop: Loop, certificates: Certificates, security: str) -> None:
    server = SmtpServer(tls=certificates.server_context(), is_implicit=security == "ssl")
    outcome = outcome_at(server, loop, None, encryption=security)

    assert isinstance(outcome, AccountFault)
    assert f"certificate of 127.0.0.1:{server.port} does not verify: unable to get local issuer" in outcome.reason
    assert "AUTH" not in server.commands


@pytest.mark.parametrize("security", ["tls", "ssl"])
def test_a_certificate_that_has_expired(loop: Loop, tmp_path: Path, security: str) -> None:
    expired = make_certificates(tmp_path, valid_for=dt.timedelta(minutes=-5))
    server = SmtpServer(tls=expired.server_context(), is_implicit=security == "ssl")
    outcome = outcome_at(server, loop, expired, encryption=security)

    assert isinstance(outcome, AccountFault)
    assert "certificate has expired" in outcome.reason


@pytest.mark.parametrize("security", ["tls", "ssl"])
def test_a_certificate_of_another_host(loop: Loop, tmp_path: Path, security: str) -> None:
    others = make_certificates(tmp_path, host="mail.example.com")
    server = SmtpServer(tls=others.server_context(), is_implicit=security == "ssl")
    outcome = outcome_at(server, loop, others, encryption=security)

    assert isinstance(outcome, AccountFault)
    assert "IP address mismatch" in outcome.reason


@pytest.mark.parametrize(
    ("verb", "nth", "step"),
    [
        ("CONNECT", 1, "did not greet"),
        ("EHLO", 1, "did not answer EHLO"),
        ("STARTTLS", 1, "did not answer STARTTLS"),
        ("EHLO", 2, "did not answer EHLO"),
        ("AUTH", 1, "did not answer AUTH"),
    ],
)
def test_a_server_that_hangs_up(loop: Loop, certificates: Certificates, verb: str, nth: int, step: str) -> None:
    server = SmtpServer(at(verb, Hangup(), nth=nth), tls=certificates.server_context())
    outcome = outcome_at(server, loop, certificates)

    assert isinstance(outcome, Retry)
    assert outcome.scope == "provider"
    assert step in outcome.reason
    assert "server closed the connection" in outcome.reason or "broke" in outcome.reason


@pytest.mark.parametrize(
    "word", [b"", b"\x00" * 50, b"HTTP/1.1 400 Bad Request\r\n\r\n"], ids=["nothing", "nul", "http"]
)
def test_a_server_that_leaves_in_the_tls_handshake(loop: Loop, certificates: Certificates, word: bytes) -> None:
    """After its 220 it sends this and closes."""
    server = SmtpServer(tls=certificates.server_context(), upgrade_with=word)
    outcome = outcome_at(server, loop, certificates, encryption="tls")

    assert isinstance(outcome, (AccountFault, Retry))
    assert isinstance(outcome, Retry) or word
    assert "TLS" in outcome.reason


@pytest.mark.parametrize("act", [Silence(), Drip()], ids=["silent", "dripping"])
@pytest.mark.parametrize(("verb", "nth"), [("CONNECT", 1), ("EHLO", 1), ("STARTTLS", 1), ("EHLO", 2), ("AUTH", 1)])
def test_a_server_that_says_nothing_or_never_ends(
    loop: Loop, certificates: Certificates, act: Act, verb: str, nth: int
) -> None:
    server = SmtpServer(at(verb, act, nth=nth), tls=certificates.server_context())
    outcome = outcome_at(server, loop, certificates, seconds=0.7)

    assert isinstance(outcome, Retry)
    assert outcome.scope == "provider"
    assert ("does not greet" if verb == "CONNECT" else f"does not answer {verb}") in outcome.reason


@pytest.mark.parametrize("act", [Raw(b"<html>\r\n"), Raw(b"250-" + b"x" * 10_000_000)], ids=["garbage", "endless"])
@pytest.mark.parametrize("verb", ["CONNECT", "EHLO", "STARTTLS", "AUTH"])
def test_a_server_that_speaks_another_language(loop: Loop, certificates: Certificates, act: Act, verb: str) -> None:
    server = SmtpServer(at(verb, act), tls=certificates.server_context())
    outcome = outcome_at(server, loop, certificates)

    assert isinstance(outcome, Retry)
    assert "not SMTP" in outcome.reason or "has no end" in outcome.reason


def test_a_server_that_lets_callers_wait_for_its_greeting(loop: Loop) -> None:
    """Longer than any other answer, and than a mail may wait: the next one finds the connection open."""

    async def story() -> list[Outcome]:
        is_patient = asyncio.Event()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await is_patient.wait()
            writer.write(b"220 at last\r\n")
            replies = {b"DATA": b"354 go\r\n", b"QUIT": b"221 bye\r\n"}
            while line := await reader.readline():
                if line.strip() == b".":
                    writer.write(b"250 ok\r\n")
                elif b":" not in line or line.startswith((b"MAIL", b"RCPT")):
                    writer.write(replies.get(line[:4].upper(), b"250 ok\r\n") if line.strip() else b"")
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        limits = Limits(reply_seconds=0.2, final_seconds=5, greeting_seconds=30)
        opener = Opener(limits=limits, tls=tls_context(None), login=None, allowed=AllowedHosts("127.0.0.1"))
        pool = SmtpPool([SmtpHost("127.0.0.1", port, Security.NONE)], opener, connections=1)
        outcomes: list[Outcome] = []
        for seconds in (0.4, 30.0):
            flow = flow_to("a@example.org")
            flow.leave_by = asyncio.get_running_loop().time() + seconds
            pool.submit(flow)
            async for batch in flow.batches():
                outcomes += [outcome for _, outcome in batch]
            pool.drop(flow)
            is_patient.set()
        await pool.aclose()
        server.close()
        return outcomes

    with asyncio.Runner(loop_factory=loop) as runner:
        first, second = runner.run(story())
    assert isinstance(first, Retry)
    assert "does not greet yet" in first.reason
    assert first.after_seconds is not None
    assert isinstance(second, Accepted)


def test_the_next_host_is_asked_while_the_first_lets_us_wait(loop: Loop, certificates: Certificates) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # the kernel accepts, nobody answers
        host = f"127.0.0.1:{silent.getsockname()[1]};127.0.0.1:PORT"
        with asyncio.Runner(loop_factory=loop) as runner:
            outcome = runner.run(_through_the_second(host, certificates))
    assert isinstance(outcome, Accepted)


async def _through_the_second(host: str, certificates: Certificates) -> Outcome:
    async with SmtpServer(tls=certificates.server_context()) as server:
        limits = Limits(reply_seconds=0.2, final_seconds=5)
        opener = Opener(
            limits=limits,
            tls=tls_context(certificates.ca_file),
            login=Login("tidings", "secret"),
            allowed=AllowedHosts("127.0.0.1"),
        )
        ports = [int(place.rpartition(":")[2]) for place in host.replace("PORT", str(server.port)).split(";")]
        hosts = [SmtpHost("127.0.0.1", port, Security.WHERE_OFFERED) for port in ports]
        pool = SmtpPool(hosts, opener, connections=1)
        flow = flow_to("a@example.org")
        pool.submit(flow)
        outcomes = [outcome async for batch in flow.batches() for _, outcome in batch]
        await pool.aclose()
    return outcomes[0]


@pytest.mark.parametrize("code", ["504 5.5.4 unrecognized", "502 5.5.2 no", "534 5.7.9 too weak", "501 5.5.4 syntax"])
def test_another_mechanism_is_tried_where_one_is_turned_down(loop: Loop, code: str) -> None:
    server = SmtpServer(at("AUTH", code), extensions=ALL)
    assert isinstance(outcome_at(server, loop, None), Accepted)
    assert server.mails[0].login == "tidings:secret"
    assert server.commands.count("AUTH") == 2


def test_a_login_that_was_refused_is_not_tried_another_way(loop: Loop) -> None:
    server = SmtpServer(lambda command: "535 5.7.8 no" if command.verb == "AUTH" else None, extensions=ALL)
    outcome = outcome_at(server, loop, None)

    assert isinstance(outcome, AccountFault)
    assert "535 5.7.8" in outcome.reason
    assert server.commands.count("AUTH") == 1


def test_a_server_that_turns_down_every_mechanism(loop: Loop) -> None:
    server = SmtpServer(lambda command: "504 5.5.4 no" if command.verb == "AUTH" else None, extensions=ALL)
    outcome = outcome_at(server, loop, None)

    assert isinstance(outcome, AccountFault)
    assert "504 5.5.4" in outcome.reason


@pytest.mark.parametrize("code", ["500 5.5.1 unknown", "502 5.5.1 not implemented"])
def test_a_server_that_knows_helo_only(loop: Loop, code: str) -> None:
    server = SmtpServer(at("EHLO", code))
    outcome = outcome_at(server, loop, None)

    assert isinstance(outcome, AccountFault)  # it offers no login, and the account has one
    assert "HELO" in server.commands


def test_a_server_that_is_too_busy_for_a_session(loop: Loop) -> None:
    server = SmtpServer(lambda command: "421 4.7.0 too busy" if command.verb == "EHLO" else None)
    outcome = outcome_at(server, loop, None)

    assert isinstance(outcome, Retry)
    assert "421" in outcome.reason


ODD_ACTS = [Silence(), Drip(), Hangup(), Raw(b"<html>\r\n"), Raw(b"250-" + b"x" * 10_000_000)]


@pytest.mark.parametrize("act", ODD_ACTS, ids=["silent", "dripping", "resetting", "garbage", "endless"])
@pytest.mark.parametrize(("verb", "outcome"), [("MAIL", Retry), ("RCPT", Retry), ("DATA", Retry), ("DOT", Unknown)])
def test_a_server_that_fails_in_the_middle_of_a_mail(loop: Loop, act: Act, verb: str, outcome: type[Outcome]) -> None:
    """Whether the mail may have been taken depends on its dot alone."""
    server = SmtpServer(at(verb, act), extensions=("AUTH PLAIN",))  # it is asked one thing after the other
    result = outcome_at(server, loop, None, seconds=0.7, smtp_final_timeout_seconds=0.7)

    assert isinstance(result, outcome)
    assert isinstance(result, (Retry, Unknown))
    assert ("the mail had been sent" if verb == "DOT" else "the mail had not been sent") in result.reason


def test_an_account_whose_server_is_silent_holds_up_no_other(loop: Loop) -> None:
    async def story() -> Outcome:
        async with SmtpServer(lambda _: Silence()) as silent, SmtpServer() as good:
            settings = Settings(smtp_allowed_hosts="127.0.0.0/8", smtp_connections=5)
            adapters = [
                SmtpAdapter(Account(seq, 1, {"host": host}, {"fromEmail": "news@example.com"}), settings=settings)
                for seq, host in enumerate([silent.endpoint, good.endpoint])
            ]
            requests = [SendRequest(f"1-{number}", "a@example.org") for number in range(500)]
            stuck = asyncio.create_task(collect(adapters[0], email("Hello", "Hello\n"), requests))
            await asyncio.sleep(0)
            (outcome,) = await collect(adapters[1], email("Hello", "Hello\n"), requests[:1])
            assert not stuck.done()
            stuck.cancel()
            await asyncio.gather(stuck, return_exceptions=True)
            for adapter in adapters:
                await adapter.aclose()
        return outcome

    with asyncio.Runner(loop_factory=loop) as runner:
        assert isinstance(runner.run(story()), Accepted)
