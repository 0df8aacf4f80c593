"""SMTP's adapter keeps the contract; and what only SMTP has: phases, pipelining, kept connections."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest
import uvloop

from shared.domain.outcome import Accepted, AccountFault, DeadAddress, Refused, Retry, Unknown
from shared.providers.contract import ContentFile
from shared.providers.email.replies import Phase
from shared.providers.email.smtp import SmtpAdapter
from shared.settings import Settings
from shared.simulator.simulator import Simulator
from tests.contract.certificates import Certificates
from tests.contract.smtp_server import Act, Command, Hangup, Raw, Silence
from tests.contract.smtp_wire import SmtpWire, email, parse, running_wire
from tests.contract.suite import AdapterContract, Answer, Fault, collect


@pytest.fixture
async def wire(certificates: Certificates) -> AsyncIterator[SmtpWire]:
    async with running_wire(certificates) as wire:
        yield wire


NO_SUCH_USER = Answer("no such user", (Phase.RCPT, "550 5.1.1 no such user"), DeadAddress)


class TestSmtpContract(AdapterContract):
    refusal = NO_SUCH_USER
    answers: ClassVar = (
        NO_SUCH_USER,
        Answer("no such domain", (Phase.RCPT, "550 5.1.2 bad domain"), DeadAddress),
        Answer("disabled", (Phase.RCPT, "550 5.2.1 mailbox disabled"), DeadAddress),
        Answer("not local", (Phase.RCPT, "551 user not local"), DeadAddress),
        Answer("name not allowed", (Phase.RCPT, "553 mailbox name not allowed"), DeadAddress),
        Answer("no such user, after all", (Phase.DOT, "550 5.1.1 no such user"), DeadAddress),
        Answer("550 without reason", (Phase.RCPT, "550 not here"), Refused),
        Answer("mailbox full", (Phase.RCPT, "552 5.2.2 mailbox full"), Refused),
        Answer("policy", (Phase.RCPT, "550 5.7.1 relaying denied"), Refused),
        Answer("policy in other words", (Phase.RCPT, "553 5.7.1 sender not welcome"), Refused),
        Answer("SPF and DKIM", (Phase.DOT, "550 5.7.26 unauthenticated"), Refused),
        Answer("content", (Phase.DOT, "554 5.6.0 virus"), Refused),
        Answer("too big", (Phase.DOT, "552 5.3.4 too big"), Refused),
        Answer("data refused", (Phase.DATA, "554 5.5.0 no"), Refused),
        Answer("busy", (Phase.RCPT, "450 4.2.1 too many for this user"), Retry),
        Answer("temporarily full", (Phase.RCPT, "452 4.2.2 over quota"), Retry),
        Answer("greylisted", (Phase.RCPT, "451 4.7.1 come back later"), Retry),
        Answer("later, after the dot", (Phase.DOT, "451 4.3.0 queue file error"), Retry),
        Answer("no room", (Phase.DATA, "452 4.3.1 insufficient storage"), Retry, None, "provider"),
        Answer("too fast", (Phase.DOT, "454 Maximum sending rate exceeded"), Retry, None, "provider"),
        Answer("login wanted", (Phase.RCPT, "530 5.7.0 authentication required"), AccountFault),
        Answer("out of order", (Phase.RCPT, "503 5.5.1 bad sequence"), Retry),
        Answer("going down", (Phase.RCPT, "421 4.3.2 shutting down"), Retry),
        Answer("going down after the dot", (Phase.DOT, "421 4.3.2 shutting down"), Retry),
        Answer("no reply at all to a dot", (Phase.DOT, "354 more?"), Unknown),
    )
    hostile_contents = (
        {"subject": "a\r\nBcc: victim@example.com", "content": "x"},
        {"subject": "a\nBcc: victim@example.com", "content": "x"},
        {"subject": "a\0b", "content": "x"},
        {"subject": "=?UTF-8?Q?a=0D=0ABcc:_victim@example.com?=", "content": "x"},
        {"subject": "=?utf-8?B?YQ0KQmNjOiB2aWN0aW1AZXhhbXBsZS5jb20=?=", "content": "x"},
        {"subject": "=?utf-7?Q?a+AA0ACg-Bcc:_victim@example.com?=", "content": "x"},
        {"subject": "harmless =?utf-8?q?caf=C3=A9?= as text", "content": "x"},
        {"subject": "a\u2028Bcc: victim@example.com", "content": "x"},
        {"subject": "dots", "content": "x\r\n.\r\nMAIL FROM:<victim@example.com>\r\n"},
        {"subject": "bare line feeds", "content": "x\n.\nRCPT TO:<victim@example.com>\r.\r\n"},
        {"subject": "header in the body", "content": "\r\nBcc: victim@example.com\r\n\r\n"},
    )
    beyond_capacity = 10
    oversize: ClassVar = {"subject": "too big", "content": "x\n" * 600_000}  # the server says SIZE 1000000
    hostile_identifiers = (
        "a@example.com>\r\nRCPT TO:<victim@example.com",
        "a@example.com\n",
        "a@example.com, victim@example.com",
        "<victim@example.com>",
        "a\0@example.com",
        "=?utf-8?q?a=0D=0A?=@example.com\r\nBcc: victim@example.com",
        "@example.com",
        "",
        "x" * 65 + "@example.com",
    )


async def test_envelope_of_the_next_mail_leaves_with_the_dot(wire: SmtpWire) -> None:
    await wire.send(wire.requests(30))

    assert any(b"\r\n.\r\nMAIL FROM:" in write for write in wire.server.writes)


@pytest.mark.parametrize("extensions", [(), ("SIZE", "AUTH LOGIN")])
async def test_asks_step_by_step_where_the_server_does_not_pipeline(
    wire: SmtpWire, extensions: tuple[str, ...]
) -> None:
    wire.server.extensions = (*extensions, "AUTH PLAIN")
    requests = wire.requests(8)
    for request, phase in zip(requests, (Phase.MAIL, Phase.RCPT, Phase.DATA, Phase.DOT), strict=False):
        wire.answer(request.identifier, (phase, "550 5.7.1 no"))

    outcomes = await wire.send(requests)

    assert [type(outcome) for outcome in outcomes[1:]] == [Refused] * 3 + [Accepted] * 4
    assert all(write.count(b"\r\n") == 1 for write in wire.server.writes if not write.endswith(b"\r\n.\r\n"))


@pytest.mark.hurried
@pytest.mark.parametrize("phase", [Phase.MAIL, Phase.RCPT, Phase.DATA])
@pytest.mark.parametrize(
    "act", [Silence(), Hangup(), Raw(b"hello?\r\n"), Raw(b"000 what?\r\n"), Raw(b"25\n")], ids=repr
)
async def test_what_was_not_sent_may_be_tried_again(wire: SmtpWire, phase: Phase, act: Act) -> None:
    wire.server.script = also(wire.server.script, lambda command: act if command.verb == phase.name else None)

    assert {type(outcome) for outcome in await wire.send(wire.requests(2))} == {Retry}
    assert wire.server.mails == []


async def test_a_mail_announced_behind_an_unanswered_one_was_not_sent(wire: SmtpWire) -> None:
    """One connection: the first is in doubt, the second provably not."""
    wire.server.script = also(
        wire.server.script, lambda command: "421 full" if command.verb == "CONNECT" and command.connection else None
    )
    requests = wire.requests(2)
    wire.fail(requests[0].identifier, Fault.HANGUP)

    first, second = await wire.send(requests)

    assert isinstance(first, Unknown)
    assert isinstance(second, Retry)


async def test_a_mail_nobody_gets_is_ended_empty(wire: SmtpWire) -> None:
    """The server refuses the recipient and still answers 354."""
    requests = wire.requests(2)
    wire.answer(requests[0].identifier, NO_SUCH_USER.reply)
    wire.server.script = also(wire.server.script, lambda command: "354 go" if command.verb == "DATA" else None)

    refused, accepted = await wire.send(requests)

    assert isinstance(refused, DeadAddress)
    assert isinstance(accepted, Accepted)
    assert [mail.recipient for mail in wire.server.mails] == [requests[1].identifier]


async def test_a_server_that_forgets_nothing_gets_the_next_mail_over_another_connection(wire: SmtpWire) -> None:
    """It refuses RSET, so the envelope before is still there: a refused MAIL would be followed by what it announced."""
    mails = 0

    def refuse(command: Command) -> Act:
        nonlocal mails
        mails += command.verb == "MAIL"
        if command.verb == "RSET":
            return "550 5.5.1 no"
        return "452 4.3.1 no room" if command.verb == "MAIL" and mails == 2 else None

    wire.server.script = also(wire.server.script, refuse)
    requests = wire.requests(3)
    wire.answer(requests[0].identifier, (Phase.DATA, "450 4.2.1 later"))

    first, second, third = [(await wire.send([request]))[0] for request in requests]

    assert isinstance(first, Retry)
    assert isinstance(second, Accepted)
    assert isinstance(third, Accepted)
    assert [mail.recipient for mail in wire.server.mails] == [request.identifier for request in requests[1:]]
    assert all(mail.data for mail in wire.server.mails)


async def test_a_server_may_end_connections_after_some_mails(wire: SmtpWire) -> None:
    """No mail is the worse for it: what was not begun goes over another connection."""

    def end_after_five(command: Command) -> str | None:
        return "421 4.7.0 enough" if command.verb == "MAIL" and command.mails >= 5 else None

    wire.server.script = also(wire.server.script, end_after_five)

    outcomes = await wire.send(wire.requests(40))

    assert {type(outcome) for outcome in outcomes} == {Accepted}
    assert sorted(wire.accepted()) == sorted(request.identifier for request in wire.requests(40))
    assert wire.server.connections >= 8


async def test_a_server_that_takes_connections_and_no_mail_is_told(wire: SmtpWire) -> None:
    wire.server.script = also(wire.server.script, lambda command: "421 no" if command.verb == "MAIL" else None)

    outcomes = await wire.send(wire.requests(7))

    assert {type(outcome) for outcome in outcomes} == {Retry}


async def test_a_connection_closed_while_idle_costs_nothing(wire: SmtpWire) -> None:
    await wire.send(wire.requests(1))
    wire.server.close_connections()

    assert isinstance((await wire.send(wire.requests(1)))[0], Accepted)


async def test_mails_of_a_cancelled_send_do_not_leave_later(wire: SmtpWire) -> None:
    """Not even those that only waited for a reply to their envelope, on a connection that had worked."""
    requests = wire.requests(8)
    await wire.send(requests[:3])
    announced = asyncio.Event()

    def stall(command: Command) -> Act:
        if command.verb != "RCPT":
            return None
        announced.set()
        return Silence()

    content = wire.server.script
    wire.server.script = also(content, stall)
    sending = asyncio.create_task(wire.send(requests[3:7]))
    await announced.wait()
    wire.server.script = content
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending

    assert isinstance((await wire.send(requests[7:]))[0], Accepted)
    assert sorted(wire.accepted()) == sorted(request.identifier for request in (*requests[:3], requests[7]))


async def test_each_role_shows_what_it_may(wire: SmtpWire) -> None:
    requests = [wire.request(0), replace(wire.request(1), role="cc"), replace(wire.request(2), role="bcc")]

    await wire.send(requests)

    mails = {mail.recipient: parse(mail) for mail in wire.taken()}
    to, cc, bcc = (mails[request.identifier] for request in requests)
    assert (to["To"], to["Cc"]) == (requests[0].identifier, None)
    assert (cc["To"], cc["Cc"]) == ("undisclosed-recipients:;", requests[1].identifier)
    assert (bcc["To"], bcc["Cc"], bcc["Bcc"]) == ("undisclosed-recipients:;", None, None)


async def test_addresses_beyond_ascii(wire: SmtpWire) -> None:
    requests = [wire.request(0, "jörg@bücher.example"), wire.request(1, "anna@bücher.example")]

    assert {type(outcome) for outcome in await wire.send(requests)} == {Accepted}
    assert sorted(wire.accepted()) == ["anna@xn--bcher-kva.example", "jörg@xn--bcher-kva.example"]
    assert {mail.sender.endswith("SMTPUTF8") for mail in wire.taken()} == {True, False}


async def test_a_server_without_smtputf8_gets_no_such_address(wire: SmtpWire) -> None:
    wire.server.extensions = ("PIPELINING", "AUTH PLAIN")
    requests = [wire.request(0, "jörg@bücher.example"), wire.request(1, "anna@bücher.example")]

    refused, accepted = await wire.send(requests)

    assert isinstance(refused, Refused)
    assert isinstance(accepted, Accepted)


async def test_a_reply_to_beyond_ascii_asks_the_same_of_the_server(wire: SmtpWire) -> None:
    content = email("Hello", "Hello\n", replyToEmail="jörg@example.com")

    assert isinstance((await wire.send(wire.requests(1), content))[0], Accepted)
    assert wire.taken()[0].sender.endswith("SMTPUTF8")

    wire.server.close_connections()
    wire.server.extensions = ("PIPELINING", "AUTH PLAIN")
    assert isinstance((await wire.send(wire.requests(1), content))[0], Refused)


async def test_attachments_are_not_dropped_in_silence(wire: SmtpWire) -> None:
    content = email("Hello", "see attachment", attachments=[{"bucketId": "b", "fileId": "f"}])

    assert {type(outcome) for outcome in await wire.send(wire.requests(2), content)} == {Refused}


async def test_attachments_are_sent(wire: SmtpWire) -> None:
    content = email("Hello", "see attachment", attachments=[{"bucketId": "b", "fileId": "f"}])
    picture = ContentFile("logo.png", "image/png", bytes(range(256)) * 40)

    assert {type(outcome) for outcome in await wire.send(wire.requests(2), replace(content, files=(picture,)))} == {
        Accepted
    }

    for mail in wire.taken():
        (attachment,) = parse(mail).iter_attachments()
        assert (attachment.get_filename(), attachment.get_content()) == ("logo.png", picture.content)


async def test_works_in_a_workers_event_loop(certificates: Certificates) -> None:
    async def story() -> None:
        async with running_wire(certificates) as wire:
            wire.answer(wire.identifier(7), NO_SUCH_USER.reply)
            outcomes = await wire.send(wire.requests(300))
            assert [number for number, outcome in enumerate(outcomes) if not isinstance(outcome, Accepted)] == [7]

    await asyncio.to_thread(uvloop.run, story())


async def test_delivers_to_the_simulator(tmp_path: Path, wire: SmtpWire) -> None:
    async with Simulator.running(tmp_path) as simulator:
        settings = Settings(ca_file=simulator.ca_file)
        adapter = SmtpAdapter(wire.account(), settings=settings, endpoint=simulator.smtp_endpoint)

        outcomes = await collect(adapter, wire.content, [*wire.requests(5), wire.request(5, "dead-5@example.com")])

        assert [type(outcome) for outcome in outcomes] == [Accepted] * 5 + [DeadAddress]
        await adapter.aclose()


def also(script: Callable[[Command], Act], first: Callable[[Command], Act]) -> Callable[[Command], Act]:
    """A script that lets another one speak before it."""

    def both(command: Command) -> Act:
        act = first(command)
        return script(command) if act is None else act

    return both
