import asyncio
import smtplib
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from email.message import EmailMessage
from email.policy import SMTP
from typing import Any, TypeVar

import pytest

from shared.simulator.simulator import Simulator
from tests.integration.simulator.clients import TIMEOUT_SECONDS, RawSmtp

R = TypeVar("R")

MAIL = b"Message-ID: <1@sender.example>\r\nSubject: Hello\r\n\r\nText\r\n"


@contextmanager
def client(simulator: Simulator, *, implicit_tls: bool = False) -> Iterator[smtplib.SMTP]:
    """The standard library's client."""
    endpoint = simulator.smtps_endpoint if implicit_tls else simulator.smtp_endpoint
    host, _, port = endpoint.rpartition(":")
    trust = ssl.create_default_context(cafile=simulator.ca_file)
    if implicit_tls:
        connection: smtplib.SMTP = smtplib.SMTP_SSL(host, int(port), timeout=TIMEOUT_SECONDS, context=trust)
    else:
        connection = smtplib.SMTP(host, int(port), timeout=TIMEOUT_SECONDS)
    try:
        yield connection
    finally:
        connection.close()


async def with_client(simulator: Simulator, use: Callable[[smtplib.SMTP], R], *, implicit_tls: bool = False) -> R:
    def run() -> R:
        with client(simulator, implicit_tls=implicit_tls) as connection:
            return use(connection)

    return await asyncio.to_thread(run)


async def with_socket(simulator: Simulator, use: Callable[[RawSmtp], R]) -> R:
    def run() -> R:
        with RawSmtp(simulator.smtp_endpoint) as raw:
            return use(raw)

    return await asyncio.to_thread(run)


def send(connection: smtplib.SMTP, *recipients: str, content: bytes = MAIL) -> None:
    assert connection.sendmail("sender@example.com", recipients, content) == {}


def send_to(*recipients: str, content: bytes = MAIL) -> Callable[[smtplib.SMTP], None]:
    return lambda connection: send(connection, *recipients, content=content)


def captured(simulator: Simulator) -> list[dict[str, Any]]:
    """Everything on record, oldest first."""
    lines = [simulator.record.read(entry.n) for entry in simulator.record.entries()]
    return [line for line in reversed(lines) if line is not None]


# carrying mail


async def test_a_mail_is_recorded_once_for_each_recipient(simulator: Simulator) -> None:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "sender@example.com", "you@example.com", "Grüße an alle"
    message["Message-ID"] = "<7@sender.example>"
    message.set_content("Hallo\n.\n..\nWelt\n")

    await with_client(simulator, send_to("one@example.com", "two@example.com", content=message.as_bytes(policy=SMTP)))

    first, second = captured(simulator)
    assert [first["recipient"], second["recipient"]] == ["one@example.com", "two@example.com"]
    assert first["message"] == first["key"] == "<7@sender.example>"
    assert first["title"] == "Grüße an alle"
    assert (first["sender"], first["encrypted"], first["username"]) == ("sender@example.com", False, None)
    assert first["raw"].endswith("\r\n\r\nHallo\r\n.\r\n..\r\nWelt\r\n")


async def test_mail_travels_over_starttls(simulator: Simulator) -> None:
    def use(connection: smtplib.SMTP) -> None:
        connection.starttls(context=ssl.create_default_context(cafile=simulator.ca_file))
        connection.ehlo()
        assert not connection.has_extn("starttls")
        connection.login("user", "password")
        send(connection, "you@example.com")

    await with_client(simulator, use)

    (line,) = captured(simulator)
    assert (line["encrypted"], line["username"]) == (True, "user")


async def test_mail_travels_over_implicit_tls(simulator: Simulator) -> None:
    await with_client(simulator, send_to("you@example.com"), implicit_tls=True)

    assert captured(simulator)[0]["encrypted"] is True


async def test_a_client_that_does_not_trust_the_authority_turns_back(simulator: Simulator) -> None:
    def use(connection: smtplib.SMTP) -> None:
        with pytest.raises(ssl.SSLCertVerificationError):
            connection.starttls(context=ssl.create_default_context())

    await with_client(simulator, use)

    await with_client(simulator, send_to("still-served@example.com"))


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
async def test_only_the_right_credentials_open_a_guarded_server(simulator: Simulator, mechanism: str) -> None:
    simulator.faults.set("smtp", username="user", password="right")

    def use(connection: smtplib.SMTP) -> None:
        connection.ehlo()
        connection.esmtp_features["auth"] = mechanism
        with pytest.raises(smtplib.SMTPSenderRefused) as refusal:
            send(connection, "you@example.com")
        assert (refusal.value.smtp_code, refusal.value.smtp_error[:5]) == (530, b"5.7.0")
        with pytest.raises(smtplib.SMTPAuthenticationError) as wrong:
            connection.login("user", "wrong")
        assert (wrong.value.smtp_code, wrong.value.smtp_error[:5]) == (535, b"5.7.8")
        connection.login("user", "right")
        send(connection, "you@example.com")

    await with_client(simulator, use)

    assert captured(simulator)[0]["username"] == "user"
    assert simulator.record.tallies["smtp"].outcomes["unauthenticated"] >= 1


async def test_pipelined_commands_are_answered_in_order(simulator: Simulator) -> None:
    envelope = b"MAIL FROM:<a@example.com>\r\nRCPT TO:<dead@x.example>\r\nRCPT TO:<b@x.example>\r\nDATA\r\n"

    def use(raw: RawSmtp) -> None:
        raw.write(b"EHLO client\r\nNOOP\r\n" + envelope)
        assert raw.replies(6) == [250, 250, 250, 550, 250, 354]
        raw.write(MAIL + b".\r\n" + envelope)
        assert raw.replies(5) == [250, 250, 550, 250, 354]
        raw.write(b".\r\nRSET\r\nQUIT\r\n")
        assert raw.replies(3) == [250, 250, 221]
        assert raw.reply() == b""

    await with_socket(simulator, use)

    assert [line["raw"].encode() for line in captured(simulator)] == [MAIL, b""]


async def test_order_holds_when_replies_are_late(simulator: Simulator) -> None:
    simulator.faults.set("smtp", latency_ms=60, reply_delay_ms=20)

    def use(raw: RawSmtp) -> None:
        raw.write(b"EHLO client\r\nMAIL FROM:<a@x.example>\r\nRCPT TO:<b@x.example>\r\nDATA\r\n")
        assert raw.replies(4) == [250, 250, 250, 354]
        started = time.monotonic()
        raw.write(MAIL + b".\r\nNOOP\r\nVRFY b\r\n")
        assert raw.replies(3) == [250, 250, 252]
        assert time.monotonic() - started > 0.075

    await with_socket(simulator, use)


async def test_a_mail_may_come_byte_by_byte(simulator: Simulator) -> None:
    def use(raw: RawSmtp) -> None:
        raw.codes([b"EHLO c\r\n", b"MAIL FROM:<a@x.example>\r\n", b"RCPT TO:<b@x.example>\r\n", b"DATA\r\n"])
        for place in range(len(MAIL)):
            raw.write(MAIL[place : place + 1])
        raw.write(b".")
        raw.write(b"\r")
        assert raw.ask(b"\n").startswith(b"250 ")

    await with_socket(simulator, use)

    assert captured(simulator)[0]["raw"].encode() == MAIL


async def test_the_delivery_reference_is_taken_from_envelope_or_message_id(simulator: Simulator) -> None:
    def use(connection: smtplib.SMTP) -> None:
        connection.sendmail("a@x.example", ["b@x.example"], MAIL, mail_options=["ENVID=42-7+2Bx", "RET=HDRS"])
        connection.sendmail("a@x.example", ["c@x.example"], b"Message-ID: <42-8@sender.example>\r\n\r\n")
        connection.sendmail("a@x.example", ["d@x.example"], MAIL)

    await with_client(simulator, use)

    assert [line["delivery"] for line in captured(simulator)] == ["42-7+x", "42-8", None]


async def test_a_long_mail_is_recorded_by_its_beginning(simulator: Simulator) -> None:
    content = MAIL + b"x" * 70 + b"\r\n" + (b"y" * 70 + b"\r\n") * 1000

    await with_client(simulator, send_to("you@example.com", content=content))

    (line,) = captured(simulator)
    assert line["size"] == len(content)
    assert line["raw"].encode() == content[: 64 * 1024]


# refusing


@pytest.mark.parametrize(
    ("address", "code", "status"),
    [
        ("dead@x.example", 550, b"5.1.1"),
        ("unknown-7@x.example", 550, b"5.1.1"),
        ("full@x.example", 552, b"5.2.2"),
        ("greylist@x.example", 450, b"4.2.0"),
    ],
)
async def test_a_magic_recipient_is_refused_at_rcpt(
    simulator: Simulator, address: str, code: int, status: bytes
) -> None:
    def use(connection: smtplib.SMTP) -> None:
        refused = connection.sendmail("a@x.example", [address, "good@x.example"], MAIL)
        assert {name: (answer[0], answer[1][:5]) for name, answer in refused.items()} == {address: (code, status)}

    await with_client(simulator, use)

    assert [line["recipient"] for line in captured(simulator)] == ["good@x.example"]


async def test_a_greylisted_recipient_is_accepted_the_second_time(simulator: Simulator) -> None:
    def use(connection: smtplib.SMTP) -> None:
        with pytest.raises(smtplib.SMTPRecipientsRefused):
            send(connection, "greylist@x.example")
        send(connection, "greylist@x.example")

    await with_client(simulator, use)

    assert len(captured(simulator)) == 1


async def test_a_refused_recipient_is_told_after_the_dot(simulator: Simulator) -> None:
    def use(connection: smtplib.SMTP) -> None:
        with pytest.raises(smtplib.SMTPDataError) as refusal:
            send(connection, "refused@x.example")
        assert (refusal.value.smtp_code, refusal.value.smtp_error[:5]) == (554, b"5.7.1")

    await with_client(simulator, use)

    assert captured(simulator) == []


async def test_a_mail_whose_reply_is_dropped_is_on_record(simulator: Simulator) -> None:
    def use(raw: RawSmtp) -> None:
        raw.codes([b"EHLO c\r\n", b"MAIL FROM:<a@x.example>\r\n", b"RCPT TO:<dropped@x.example>\r\n", b"DATA\r\n"])
        with pytest.raises(ConnectionResetError):
            raw.ask(MAIL + b".\r\n")

    await with_socket(simulator, use)

    assert [(line["recipient"], line["outcome"]) for line in captured(simulator)] == [("dropped@x.example", "dropped")]


async def test_a_slow_reply_takes_its_time_and_arrives_whole(simulator: Simulator) -> None:
    simulator.faults.set("smtp", slow_seconds=0.3)

    def use(raw: RawSmtp) -> None:
        raw.codes([b"EHLO c\r\n", b"MAIL FROM:<a@x.example>\r\n", b"RCPT TO:<slow@x.example>\r\n", b"DATA\r\n"])
        started = time.monotonic()
        assert raw.ask(MAIL + b".\r\n").startswith(b"250 2.0.0 Ok: queued as ")
        assert time.monotonic() - started > 0.2
        assert raw.ask(b"NOOP\r\n").startswith(b"250")

    await with_socket(simulator, use)


@pytest.mark.parametrize(
    ("profile", "code"),
    [({"throttle_rate": 1}, 450), ({"transient_once_rate": 1}, 450), ({"server_error_rate": 1}, 451)],
)
async def test_a_profile_decides_for_ordinary_recipients(
    simulator: Simulator, profile: dict[str, Any], code: int
) -> None:
    simulator.faults.set("smtp", **profile)

    def use(raw: RawSmtp) -> list[int]:
        commands = [b"MAIL FROM:<a@x.example>\r\n", b"RCPT TO:<b@x.example>\r\n", b"DATA\r\n"]
        codes = raw.codes([b"EHLO c\r\n", *commands])
        return codes if codes[-1] != 354 else [*codes, int(raw.ask(MAIL + b".\r\n")[:3])]

    assert code in await with_socket(simulator, use)
    assert captured(simulator) == []


async def test_a_silent_server_neither_keeps_the_mail_nor_answers(simulator: Simulator) -> None:
    simulator.faults.set("smtp", silent_rate=1)

    def use(connection: smtplib.SMTP) -> None:
        connection.ehlo()
        assert connection.sock is not None
        connection.sock.settimeout(0.2)
        with pytest.raises(smtplib.SMTPServerDisconnected, match="timed out"):
            send(connection, "you@example.com")

    await with_client(simulator, use)

    assert captured(simulator) == []
    assert simulator.record.tallies["smtp"].outcomes["silent"] == 1


async def test_the_limit_is_told_after_the_dot(simulator: Simulator) -> None:
    simulator.faults.set("smtp", limit_messages=2, limit_seconds=3600)

    def use(connection: smtplib.SMTP) -> None:
        send(connection, "one@x.example")
        send(connection, "two@x.example")
        with pytest.raises(smtplib.SMTPDataError) as refusal:
            send(connection, "three@x.example")
        assert (refusal.value.smtp_code, refusal.value.smtp_error[:5]) == (454, b"4.7.0")

    await with_client(simulator, use)

    assert len(captured(simulator)) == 2


async def test_a_connection_carries_so_many_mails(simulator: Simulator) -> None:
    simulator.faults.set("smtp", most_mails=1)

    def use(connection: smtplib.SMTP) -> None:
        send(connection, "one@x.example")
        assert connection.docmd("MAIL", "FROM:<a@x.example>")[0] == 421
        with pytest.raises(smtplib.SMTPServerDisconnected):
            connection.noop()

    await with_client(simulator, use)


async def test_a_mail_takes_so_many_recipients(simulator: Simulator) -> None:
    simulator.faults.set("smtp", most_recipients=1)

    def use(connection: smtplib.SMTP) -> None:
        refused = connection.sendmail("a@x.example", ["one@x.example", "two@x.example"], MAIL)
        assert refused["two@x.example"][0] == 452

    await with_client(simulator, use)


async def test_a_mail_beyond_the_size_limit_is_refused_before_or_after_the_dot(simulator: Simulator) -> None:
    simulator.faults.set("smtp", largest_mail_bytes=1000)

    def use(raw: RawSmtp) -> None:
        assert raw.codes([b"EHLO c\r\n", b"MAIL FROM:<a@x.example> SIZE=1001\r\n"]) == [250, 552]
        envelope = [b"MAIL FROM:<a@x.example>\r\n", b"RCPT TO:<b@x.example>\r\n", b"DATA\r\n"]
        assert raw.codes(envelope) == [250, 250, 354]
        assert raw.ask(b"a line of text\r\n" * 10_000 + b".\r\n").startswith(b"552 5.3.4")
        assert raw.codes(envelope) == [250, 250, 354]
        assert raw.ask(b"a line of text\r\n" * 10 + b".\r\n").startswith(b"250")

    await with_socket(simulator, use)

    assert len(captured(simulator)) == 1


async def test_starttls_can_be_missing_or_broken(simulator: Simulator) -> None:
    def look(connection: smtplib.SMTP) -> tuple[bool, int]:
        connection.ehlo()
        return connection.has_extn("starttls"), connection.docmd("STARTTLS")[0]

    simulator.faults.set("smtp", starttls="missing")
    assert await with_client(simulator, look) == (False, 503)

    simulator.faults.set("smtp", starttls="broken")
    assert await with_client(simulator, look) == (True, 454)


# strictness


@pytest.mark.parametrize(
    ("commands", "code"),
    [
        ([b"MAIL FROM:<a@x.example>"], 503),
        ([b"EHLO c", b"RCPT TO:<b@x.example>"], 503),
        ([b"EHLO c", b"DATA"], 503),
        ([b"EHLO c", b"MAIL FROM:<a@x.example>", b"MAIL FROM:<a@x.example>"], 503),
        ([b"EHLO c", b"MAIL FROM:<a@x.example>", b"DATA"], 554),
        ([b"EHLO c", b"MAIL FROM:<a@x.example>", b"AUTH PLAIN AHUAcA=="], 503),
        ([b"AUTH PLAIN AHUAcA=="], 503),
        ([b"EHLO c", b"AUTH PLAIN AHUAcA==", b"AUTH PLAIN AHUAcA=="], 503),
        ([b"EHLO c", b"AUTH CRAM-MD5"], 504),
        ([b"EHLO c", b"AUTH PLAIN !!"], 501),
        ([b"EHLO c", b"AUTH LOGIN", b"*"], 501),
        ([b"HELO c", b"AUTH PLAIN AHUAcA=="], 503),
        ([b"HELO c", b"MAIL FROM:<a@x.example> SIZE=1"], 555),
        ([b"EHLO"], 501),
        ([b"EHLO c", b"MAIL FROM: <a@x.example>"], 501),
        ([b"EHLO c", b"MAIL FROM:a@x.example"], 501),
        ([b"EHLO c", b"MAIL FROM:<a@x.example> COLOUR=red"], 555),
        ([b"EHLO c", b"MAIL FROM:<a@x.example> SIZE=large"], 501),
        ([b"EHLO c", b"MAIL FROM:<a@x.example> SIZE=" + b"9" * 5_000], 501),
        ([b"EHLO c", b"MAIL FROM:<a@x.example>", b"RCPT TO:<nobody>"], 501),
        ([b"EHLO c", b"MAIL FROM:<a@x.example>", b"RCPT TO:<>"], 501),
        ([b"EHLO c", b"MAIL FROM:<a@x.example>", "RCPT TO:<ü@x.example>".encode()], 553),
        ([b"EHLO c", b"MAIL FROM:<a@x.example> SMTPUTF8", "RCPT TO:<ü@x.example>".encode()], 250),
        ([b"EHLO c", b"MAIL FROM:<>", b"RCPT TO:<b@x.example> NOTIFY=FAILURE,DELAY"], 250),
        ([b"EHLO c", b"MAIL FROM:<a@x.example> BODY=8BITMIME RET=HDRS ENVID=1"], 250),
        ([b"RSET now"], 501),
        ([b"BDAT 10 LAST"], 500),
        ([b"\xff\xfe"], 500),
    ],
)
async def test_commands_are_checked(simulator: Simulator, commands: list[bytes], code: int) -> None:
    def use(raw: RawSmtp) -> int:
        return raw.codes(command + b"\r\n" for command in commands)[-1]

    assert await with_socket(simulator, use) == code


@pytest.mark.parametrize("before", [b"", b"\r\n"], ids=["in a command", "in a mail"])
async def test_a_bare_line_feed_ends_the_connection(simulator: Simulator, before: bytes) -> None:
    def use(raw: RawSmtp) -> None:
        if before:
            raw.codes([b"EHLO c\r\n", b"MAIL FROM:<a@x.example>\r\n", b"RCPT TO:<b@x.example>\r\n", b"DATA\r\n"])
        assert raw.ask(before + b"NOOP\n.\r\n").startswith(b"521 5.5.2")
        assert raw.reply() == b""

    await with_socket(simulator, use)

    assert captured(simulator) == []


@pytest.mark.parametrize("content", [b"a lone \r return\r\n", b"x" * 999 + b"\r\n"], ids=["bare CR", "long line"])
async def test_a_mail_that_breaks_the_rules_of_lines_is_refused(simulator: Simulator, content: bytes) -> None:
    def use(raw: RawSmtp) -> None:
        raw.codes([b"EHLO c\r\n", b"MAIL FROM:<a@x.example>\r\n", b"RCPT TO:<b@x.example>\r\n", b"DATA\r\n"])
        assert raw.ask(content + b".\r\n").startswith(b"554 5.6.0")

    await with_socket(simulator, use)


async def test_nothing_may_be_smuggled_in_behind_starttls(simulator: Simulator) -> None:
    def use(raw: RawSmtp) -> None:
        raw.ask(b"EHLO c\r\n")
        assert raw.ask(b"STARTTLS\r\nMAIL FROM:<a@x.example>\r\n").startswith(b"521")
        assert raw.reply() == b""

    await with_socket(simulator, use)


async def test_an_endless_line_ends_the_connection(simulator: Simulator) -> None:
    def use(raw: RawSmtp) -> None:
        assert raw.ask(b"N" * 13_000).startswith(b"500")
        assert raw.reply() == b""

    await with_socket(simulator, use)


async def test_a_client_that_speaks_no_tls_after_starttls_is_let_go(simulator: Simulator) -> None:
    def use(raw: RawSmtp) -> None:
        raw.codes([b"EHLO c\r\n", b"STARTTLS\r\n"])
        raw.write(b"EHLO again, in the clear\r\n")
        raw.reply()  # whatever TLS says about that
        assert raw.reply() == b""

    with suppress(ConnectionResetError):  # the shorter way to be let go
        await with_socket(simulator, use)
    await with_client(simulator, send_to("still-served@example.com"))
