"""One client's SMTP conversation: commands and their order, parameters, AUTH. No I/O: the connection carries it."""

import base64
import re
from collections.abc import Callable
from enum import Enum, auto
from typing import Protocol

from shared.simulator.wire.mailroom import Envelope, Mailroom, SmtpReply, Transaction
from shared.simulator.wire.manner import PROMPT, Manner

HOST_NAME = "simulator.tidings.invalid"

LONGEST_TEXT_LINE = 998
"""RFC 5321 4.5.3.1.6, without CRLF."""

_ADDRESS = re.compile(r"(?=.{3,254}\Z)[^@]{1,64}@[^@\s]+|[Pp]ostmaster")
_PATH = re.compile(r"<(?:@[^:>]*:)?([^<>\s]*)>(?: +([^ ].*)?)?")
_SIZE = re.compile(r"\d{1,20}", re.ASCII)  # RFC 1870
_MAIL_PARAMETERS = frozenset({"SIZE", "BODY", "SMTPUTF8", "AUTH", "RET", "ENVID"})
_RCPT_PARAMETERS = frozenset({"NOTIFY", "ORCPT"})
_BARE_COMMANDS = frozenset({"DATA", "RSET", "QUIT", "STARTTLS"})


class Then(Enum):
    """What the connection does once a reply is written."""

    GO_ON = auto()
    CLOSE = auto()
    BEGIN_TLS = auto()
    READ_CONTENT = auto()


class Wire(Protocol):
    is_encrypted: bool

    def say(self, reply: bytes, manner: Manner = PROMPT, then: Then = Then.GO_ON) -> None:
        """Queue a reply. `then` takes effect on reading at once, on writing after the reply."""


class SmtpSession:
    def __init__(self, mailroom: Mailroom, wire: Wire) -> None:
        self._mailroom = mailroom
        self._wire = wire
        self._commands: dict[str, Callable[[str], None]] = {
            "EHLO": self._ehlo,
            "HELO": self._helo,
            "STARTTLS": self._starttls,
            "AUTH": self._auth,
            "MAIL": self._mail,
            "RCPT": self._rcpt,
            "DATA": self._data,
            "RSET": self._rset,
            "NOOP": lambda _: self._say(250, "2.0.0", "Ok"),
            "VRFY": lambda _: self._say(252, "2.5.2", "Send it some mail and see"),
            "QUIT": lambda _: self._say(221, "2.0.0", "Bye", then=Then.CLOSE),
        }
        self._mails = 0
        self._is_extended: bool | None  # None: has not said hello; True: EHLO, False: HELO
        self._username: str | None
        self._take_answer: Callable[[bytes], None] | None  # set while an AUTH challenge is open
        self._transaction: Transaction | None
        self._recipients: list[str]
        self._allows_utf8: bool
        self.start_over()

    def start_over(self) -> None:
        """Know nothing of the client, as at the start and after STARTTLS."""
        self._is_extended = None
        self._username = None
        self._take_answer = None
        self._forget_mail()

    def greet(self) -> None:
        self._wire.say(f"220 {HOST_NAME} ESMTP Tidings simulator\r\n".encode())

    def read_line(self, line: bytes) -> None:
        """A line from the client, without its CRLF."""
        if self._take_answer is not None:
            take, self._take_answer = self._take_answer, None
            take(line)
            return
        try:
            verb, _, arguments = line.decode("utf-8").partition(" ")
        except UnicodeDecodeError:
            self._malformed(500, "5.5.2", "This is not UTF-8")
            return
        command = self._commands.get(verb.upper())
        if command is None:
            self._malformed(500, "5.5.1", "There is no such command")
        elif arguments and verb.upper() in _BARE_COMMANDS:
            self._malformed(501, "5.5.4", "This command takes no arguments")
        else:
            command(arguments)

    def read_content(self, content: bytes | None) -> None:
        """The mail after DATA, its dots unstuffed; None when it was larger than the terms allow."""
        assert self._transaction is not None
        if content is None:
            self._malformed(552, "5.3.4", "The mail is too large")
        elif problem := _problem_of(content):
            self._malformed(554, "5.6.0", problem)
        else:
            reply = self._transaction.finish(tuple(self._recipients), content)
            self._mails += 1
            self._pass_on(reply)
        self._forget_mail()

    # hello, TLS, AUTH

    def _ehlo(self, name: str) -> None:
        if not name:
            self._malformed(501, "5.5.4", "EHLO needs a name")
            return
        self._is_extended = True
        self._forget_mail()
        lines = [HOST_NAME, *self._extensions()]
        ends = ["-"] * (len(lines) - 1) + [" "]
        self._wire.say("".join(f"250{end}{line}\r\n" for end, line in zip(ends, lines, strict=True)).encode())

    def _extensions(self) -> list[str]:
        terms = self._mailroom.terms
        extensions = ["PIPELINING", f"SIZE {terms.largest_mail_bytes}", "8BITMIME", "SMTPUTF8", "DSN"]
        extensions += ["ENHANCEDSTATUSCODES", "AUTH PLAIN LOGIN"]
        if not self._wire.is_encrypted and terms.starttls != "missing":
            extensions.append("STARTTLS")
        return extensions

    def _helo(self, name: str) -> None:
        if not name:
            self._malformed(501, "5.5.4", "HELO needs a name")
            return
        self._is_extended = False
        self._forget_mail()
        self._wire.say(f"250 {HOST_NAME}\r\n".encode())

    def _starttls(self, _arguments: str) -> None:
        terms = self._mailroom.terms
        if self._wire.is_encrypted or not self._is_extended or terms.starttls == "missing":
            self._malformed(503, "5.5.1", "STARTTLS is not on offer here and now")
        elif terms.starttls == "broken":
            self._say(454, "4.7.0", "TLS is not available for the moment")
        else:
            self._say(220, "2.0.0", "Go ahead", then=Then.BEGIN_TLS)

    def _auth(self, arguments: str) -> None:
        mechanism, _, initial = arguments.partition(" ")
        if not self._is_extended or self._username is not None or self._transaction is not None:
            self._malformed(503, "5.5.1", "AUTH comes once, after EHLO and before any mail")
        elif mechanism.upper() == "PLAIN":
            self._challenge("", self._auth_plain, initial)
        elif mechanism.upper() == "LOGIN":
            self._challenge("Username:", self._auth_login, initial)
        else:
            self._malformed(504, "5.5.4", "PLAIN and LOGIN are on offer")

    def _challenge(self, question: str, take: Callable[[str], None], initial: str = "") -> None:
        """Ask, unless the client has answered already with the command itself."""
        if initial:
            self._read_answer(b"" if initial == "=" else initial.encode(), take)
        else:
            self._take_answer = lambda line: self._read_answer(line, take)
            self._wire.say(b"334 " + base64.b64encode(question.encode()) + b"\r\n")

    def _read_answer(self, line: bytes, take: Callable[[str], None]) -> None:
        try:
            answer = base64.b64decode(line, validate=True).decode("utf-8")
        except ValueError:  # "*", by which a client gives up, is no base64 either
            self._malformed(501, "5.5.2", "AUTH is called off")
        else:
            take(answer)

    def _auth_plain(self, answer: str) -> None:
        parts = answer.split("\0")
        if len(parts) == 3:
            self._check(parts[1], parts[2])
        else:
            self._malformed(501, "5.5.2", "PLAIN has an identity, a name and a password")

    def _auth_login(self, username: str) -> None:
        self._challenge("Password:", lambda password: self._check(username, password))

    def _check(self, username: str, password: str) -> None:
        terms = self._mailroom.terms
        if terms.username is None or (username, password) == (terms.username, terms.password):
            self._username = username
            self._say(235, "2.7.0", "Welcome")
        else:
            self._mailroom.note("unauthenticated")
            self._say(535, "5.7.8", "The name or the password is wrong")

    # mail

    def _mail(self, arguments: str) -> None:
        terms = self._mailroom.terms
        if self._is_extended is None or self._transaction is not None:
            self._malformed(503, "5.5.1", "MAIL comes after EHLO, once per mail")
        elif terms.most_mails is not None and self._mails >= terms.most_mails:
            self._say(421, "4.7.0", "That was enough mail for one connection", then=Then.CLOSE)
        elif terms.username is not None and self._username is None:
            self._mailroom.note("unauthenticated")
            self._say(530, "5.7.0", "AUTH comes first")
        elif (found := self._path(arguments, "FROM:", _MAIL_PARAMETERS)) is not None:
            self._begin_mail(*found)

    def _begin_mail(self, sender: str, parameters: dict[str, str]) -> None:
        size = parameters.get("SIZE", "")
        self._allows_utf8 = "SMTPUTF8" in parameters
        if size and not _SIZE.fullmatch(size):
            self._malformed(501, "5.5.4", "SIZE has 1 to 20 digits")
        elif size and int(size) > self._mailroom.terms.largest_mail_bytes:
            self._say(552, "5.3.4", "The mail is too large")
        elif not sender.isascii() and not self._allows_utf8:
            self._malformed(553, "5.6.7", "This address needs SMTPUTF8")
        else:
            envelope_id = _from_xtext(parameters["ENVID"]) if "ENVID" in parameters else None
            envelope = Envelope(sender, envelope_id, self._username, self._wire.is_encrypted)
            self._transaction = self._mailroom.begin(envelope)
            self._say(250, "2.1.0", "Ok")

    def _rcpt(self, arguments: str) -> None:
        if self._transaction is None:
            self._malformed(503, "5.5.1", "RCPT comes after MAIL")
            return
        found = self._path(arguments, "TO:", _RCPT_PARAMETERS)
        if found is None:
            return
        address = found[0]
        if not address.isascii() and not self._allows_utf8:
            self._malformed(553, "5.6.7", "This address needs SMTPUTF8")
        elif not _ADDRESS.fullmatch(address):
            self._malformed(501, "5.1.3", "This is no address")
        elif len(self._recipients) >= self._mailroom.terms.most_recipients:
            self._say(452, "4.5.3", "Too many recipients for one mail")
        else:
            reply = self._transaction.add_recipient(address)
            if reply.is_positive:
                self._recipients.append(address)
            self._pass_on(reply)

    def _data(self, _arguments: str) -> None:
        if self._transaction is None:
            self._malformed(503, "5.5.1", "DATA comes after MAIL and RCPT")
        elif not self._recipients:
            self._say(554, "5.5.1", "No valid recipients")
        else:
            self._wire.say(b"354 End with a dot on a line of its own\r\n", then=Then.READ_CONTENT)

    def _rset(self, _arguments: str) -> None:
        self._forget_mail()
        self._say(250, "2.0.0", "Ok")

    def _forget_mail(self) -> None:
        self._transaction = None
        self._recipients = []
        self._allows_utf8 = False

    def _path(self, arguments: str, word: str, known: frozenset[str]) -> tuple[str, dict[str, str]] | None:
        """The address and parameters after FROM: or TO:, or None once the client was told what is wrong."""
        found = _PATH.fullmatch(arguments[len(word) :]) if arguments[: len(word)].upper() == word else None
        if found is None:
            self._malformed(501, "5.5.4", f"The syntax is {word}<address>")
            return None
        parameters = {
            name.upper(): value for name, _, value in (part.partition("=") for part in (found[2] or "").split())
        }
        if not parameters.keys() <= known or (parameters and not self._is_extended):
            self._malformed(555, "5.5.4", "There is no such parameter")
            return None
        return found[1], parameters

    # replies

    def _say(self, code: int, status: str, text: str, *, then: Then = Then.GO_ON) -> None:
        self._wire.say(f"{code} {status} {text}\r\n".encode(), then=then)

    def _malformed(self, code: int, status: str, text: str) -> None:
        self._mailroom.note("malformed")
        self._say(code, status, text)

    def _pass_on(self, reply: SmtpReply) -> None:
        self._wire.say(f"{reply.code} {reply.status} {reply.text}\r\n".encode(), reply.manner)


def _problem_of(content: bytes) -> str | None:
    """What RFC 5321 does not allow in a mail. Bare LF never gets this far: the connection refuses it."""
    if content.count(b"\r") != content.count(b"\n"):
        return "There is a CR without its LF"
    if max(map(len, content.split(b"\r\n"))) > LONGEST_TEXT_LINE:
        return f"There is a line of more than {LONGEST_TEXT_LINE} bytes"
    return None


def _from_xtext(text: str) -> str:
    """RFC 3461: what is not plain is written as + and two hexadecimal digits."""
    return re.sub(r"\+([0-9A-F]{2})", lambda found: chr(int(found[1], 16)), text)
