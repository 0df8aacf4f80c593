"""An SMTP server scripted per test, which can misbehave in every way we name."""

import asyncio
import base64
import contextlib
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Self, cast

ALL: Final = ("PIPELINING", "SIZE 1000000", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES", "AUTH PLAIN LOGIN")


@dataclass(frozen=True, slots=True)
class Silence:
    """No reply, to this and whatever follows."""


@dataclass(frozen=True, slots=True)
class Hangup:
    """The connection is reset instead of a reply."""


@dataclass(frozen=True, slots=True)
class Drip:
    """A reply that never gets to its end, a byte now and then."""


@dataclass(frozen=True, slots=True)
class Raw:
    """These bytes instead of a reply."""

    data: bytes


Act = str | Silence | Hangup | Drip | Raw | None
"""None: the reply of a server that is content."""


@dataclass(slots=True)
class Command:
    """What the client said, and what came before it on this connection."""

    verb: str  # "CONNECT" for the greeting, "DOT" for the end of a mail, else as it was sent
    argument: str
    recipient: str  # of the mail in progress; before it is accepted, what RCPT names
    connection: int  # counted from 0
    mails: int  # accepted on this connection so far


@dataclass(frozen=True, slots=True)
class ReceivedMail:
    sender: str  # the argument of MAIL with its parameters
    recipient: str
    data: bytes  # dots undone, without the final one
    is_secure: bool
    login: str | None
    connection: int


@dataclass(slots=True)
class SmtpServer:
    """Replies to each command as `script` says. Takes what it announces and nothing else."""

    script: Callable[[Command], Act] = lambda _: None
    extensions: tuple[str, ...] = ALL
    tls: ssl.SSLContext | None = None  # offered by STARTTLS
    is_implicit: bool = False  # TLS from the first byte
    upgrade_with: bytes | None = None  # sent in place of a handshake, before it hangs up
    mails: list[ReceivedMail] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)  # verbs in their order, of all connections
    writes: list[bytes] = field(default_factory=list)  # as they were read, of all connections
    connections: int = 0
    port: int = 0
    _server: asyncio.Server | None = None
    _open: set["_Session"] = field(default_factory=set)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def endpoint(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        tls = self.tls if self.is_implicit else None
        self._server = await asyncio.get_running_loop().create_server(lambda: _Session(self), "127.0.0.1", 0, ssl=tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        self.close_connections()
        await self._server.wait_closed()

    async def all_closed(self) -> None:
        async with asyncio.timeout(5):
            while self._open:
                self._changed.clear()
                await self._changed.wait()

    def close_connections(self) -> None:
        for session in list(self._open):
            session.transport.abort()


class _Session(asyncio.Protocol):
    transport: asyncio.Transport

    def __init__(self, server: SmtpServer) -> None:
        self._server = server
        self._number = server.connections
        server.connections += 1
        self._mails = 0
        self._unread = b""
        self._lines: list[bytes] | None = None  # of the mail being sent
        self._sender: str | None = None
        self._recipient = ""
        self._is_secure = server.is_implicit
        self._is_mute = False
        self._is_upgrading = False  # what comes now is read over the new transport
        self._login: str | None = None
        self._secrets: list[str] | None = None  # lines of AUTH LOGIN
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self._server._open.add(self)
        self._obey("CONNECT", "", "220 scripted ESMTP")

    def connection_lost(self, exc: Exception | None) -> None:
        self._server._open.discard(self)
        self._server._changed.set()
        if self._timer is not None:
            self._timer.cancel()

    def data_received(self, data: bytes) -> None:
        self._server.writes.append(data)
        self._unread += data
        if not self._is_upgrading:
            self._read()

    def _read(self) -> None:
        *lines, self._unread = self._unread.split(b"\r\n")
        for line in lines:
            if self.transport.is_closing() or self._is_mute:
                return
            if self._lines is not None:
                self._note_content(line)
            elif self._secrets is not None:
                self._note_secret(line)
            else:
                self._note_command(line)

    def _note_content(self, line: bytes) -> None:
        assert self._lines is not None
        if line != b".":
            self._lines.append(line.removeprefix(b"."))
            return
        data, self._lines = b"\r\n".join([*self._lines, b""]), None
        mail = ReceivedMail(self._sender or "", self._recipient, data, self._is_secure, self._login, self._number)
        if self._obey("DOT", "", "250 2.0.0 Ok: queued as 4F1C2A" if self._recipient else "554 5.5.1 no recipient"):
            self._server.mails.append(mail)
            self._mails += 1
        self._sender, self._recipient = None, ""

    def _note_secret(self, line: bytes) -> None:
        assert self._secrets is not None
        self._secrets.append(base64.b64decode(line).decode())
        if len(self._secrets) == 1:
            self._obey("AUTH", "", "334 UGFzc3dvcmQ6")
        else:
            login, self._secrets = ":".join(self._secrets), None
            self._finish_login(login)

    def _finish_login(self, login: str) -> None:
        if self._obey("AUTH", login, "235 2.7.0 welcome"):
            self._login = login

    def _note_command(self, line: bytes) -> None:
        word, _, argument = line.decode().partition(" ")
        verb = word.upper()
        self._server.commands.append(verb)
        if verb == "AUTH":
            mechanism, _, secret = argument.partition(" ")
            if mechanism == "LOGIN":
                self._secrets = []
                self._obey(verb, "", "334 VXNlcm5hbWU6")
            else:
                self._finish_login(":".join(base64.b64decode(secret).decode().split("\0")[1:]))
        elif self._obey(verb, argument, self._content_reply(verb)):
            self._advance(verb, argument)

    def _content_reply(self, verb: str) -> str:
        """What a server says that has nothing against it."""
        replies = {
            "EHLO": "\r\n".join(["250-scripted", *(f"250-{each}" for each in self._offers()), "250 HELP"]),
            "MAIL": "250 2.1.0 ok" if self._sender is None else "503 5.5.1 nested MAIL",
            "RCPT": "250 2.1.5 ok" if self._sender is not None else "503 5.5.1 no MAIL before",
            "DATA": "354 go" if self._recipient else "554 5.5.1 no valid recipients",
            "STARTTLS": "220 2.0.0 go",
            "QUIT": "221 2.0.0 bye",
        }
        return replies.get(verb, "250 2.0.0 ok")

    def _offers(self) -> list[str]:
        may_secure = self._server.tls is not None and not self._is_secure
        return [*self._server.extensions, *(["STARTTLS"] if may_secure else [])]

    def _advance(self, verb: str, argument: str) -> None:
        match verb:
            case "MAIL":
                self._sender = argument.removeprefix("FROM:")
            case "RCPT":
                self._recipient = _path(argument)
            case "DATA":
                self._lines = []
            case "RSET":
                self._sender, self._recipient = None, ""
            case "QUIT":
                self.transport.close()
            case "STARTTLS" if self._server.upgrade_with is not None:
                self.transport.write(self._server.upgrade_with)
                self.transport.close()
            case "STARTTLS" if not self.transport.is_closing():
                self._is_upgrading = True
                self._task = asyncio.get_running_loop().create_task(self._start_tls())
            case _:
                pass

    async def _start_tls(self) -> None:
        assert self._server.tls is not None
        self.transport.pause_reading()
        loop = asyncio.get_running_loop()
        with contextlib.suppress(OSError):  # a client that does not trust us ends the handshake
            secured = await loop.start_tls(self.transport, self, self._server.tls, server_side=True)
            self.transport = cast("asyncio.Transport", secured)
            self._is_secure, self._is_upgrading = True, False
            self._read()

    def _obey(self, verb: str, argument: str, content: str) -> bool:
        """Act as the script says, else as a server that is content; True where the command took effect."""
        recipient = _path(argument) if verb == "RCPT" else self._recipient
        command = Command(verb, argument, recipient, self._number, self._mails)
        match self._server.script(command):
            case None:
                self.transport.write(f"{content}\r\n".encode())
                return content[0] in "23"
            case str() as reply:
                self.transport.write(f"{reply}\r\n".encode())
                if reply.startswith("421"):
                    self.transport.close()
                return reply[0] in "23"
            case Raw(data):
                self.transport.write(data)
            case Drip():
                self._drip()
            case Hangup():
                self.transport.abort()
            case Silence():
                self.transport.pause_reading()
                self._is_mute = True
        return True

    def _drip(self) -> None:
        if not self.transport.is_closing():
            self.transport.write(b"2")
            self._timer = asyncio.get_running_loop().call_later(0.02, self._drip)


def _path(argument: str) -> str:
    return argument.removeprefix("TO:<").removesuffix(">")
