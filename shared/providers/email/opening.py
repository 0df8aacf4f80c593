"""From a host's name to a connection that takes mail: look up, connect, EHLO, TLS, login."""

import asyncio
import base64
import socket
import ssl
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from shared.domain.outcome import AccountFault, Retry
from shared.providers.email.connection import SmtpConnection
from shared.providers.email.hosts import AllowedHosts, NoConnection, Security, SmtpHost
from shared.providers.email.replies import Phase, Reply, judge
from shared.providers.email.staggered import first_good
from shared.providers.email.terms import Extensions, Feeder, Limits

CONTENT: Final = {Phase.BANNER: 220, Phase.EHLO: 250, Phase.STARTTLS: 220, Phase.AUTH: 235}

UNKNOWN_COMMAND: Final = frozenset({500, 501, 502, 504})
"""Of EHLO: the server knows HELO only."""

UNKNOWN_MECHANISM: Final = frozenset({500, 501, 502, 504, 534})
"""Of AUTH: not this way (RFC 4954 §4: 504 for a mechanism, 534 where it is too weak); it says nothing of the login."""

LONGEST_SIZE: Final = 20  # digits of what SIZE announces (RFC 1870 §3)


@dataclass(frozen=True, slots=True)
class Login:
    username: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Opener:
    """What it takes to open a connection for one account."""

    limits: Limits
    tls: ssl.SSLContext
    login: Login | None
    allowed: AllowedHosts

    async def open(self, host: SmtpHost, feeder: Feeder) -> SmtpConnection:
        """A connection ready for mail, to the first of the host's addresses that gives one. Raises NoConnection."""
        feeder.note_step(f"{host.name} is being looked up")
        addresses = await self.allowed.resolve(host)
        return await first_good(
            [partial(self._open_at, address, host, feeder) for address in addresses],
            patience_seconds=self.limits.reply_seconds,
            close=SmtpConnection.close,
        )

    async def _open_at(self, address: str, host: SmtpHost, feeder: Feeder) -> SmtpConnection:
        connection = SmtpConnection(self.limits, feeder)
        step = _Step(f"{host.name}:{host.port}", feeder)
        try:
            with _told_as_no_connection(step):
                await self._connect(address, host, connection, step)
                async with asyncio.timeout(self.limits.greeting_seconds):
                    await self._ask(connection, None, Phase.BANNER, step)
                async with asyncio.timeout(self.limits.reply_seconds):
                    await self._say_hello(connection, step)
                    await self._secure(host, connection, step)
                    if self.login is not None:
                        await self._log_in(self.login, connection, step)
        except BaseException:
            connection.close()
            raise
        return connection

    async def _connect(self, address: str, host: SmtpHost, connection: SmtpConnection, step: "_Step") -> None:
        """The certificate is checked against the host's name, wherever the name led."""
        is_implicit = host.security is Security.IMPLICIT
        step.note("take a connection")
        async with asyncio.timeout(self.limits.connect_seconds):
            await asyncio.get_running_loop().create_connection(
                lambda: connection,
                address,
                host.port,
                ssl=self.tls if is_implicit else None,
                server_hostname=host.name if is_implicit else None,
            )

    async def _secure(self, host: SmtpHost, connection: SmtpConnection, step: "_Step") -> None:
        if host.security in {Security.NONE, Security.IMPLICIT}:
            return
        if not connection.extensions.starttls:
            if host.security is Security.STARTTLS:
                raise NoConnection(AccountFault(f"{step.where} offers no STARTTLS"))
            return
        await self._ask(connection, b"STARTTLS", Phase.STARTTLS, step)
        if connection.has_unread:  # slipped in by someone between us, to be taken for the server's own
            raise NoConnection(AccountFault(f"{step.where} went on talking before TLS began"))
        step.note("finish the TLS handshake")
        async with asyncio.timeout(self.limits.connect_seconds):
            await connection.upgrade(self.tls, host.name)
        await self._say_hello(connection, step)

    async def _say_hello(self, connection: SmtpConnection, step: "_Step") -> None:
        """EHLO, and HELO to servers that know no other (RFC 5321 §3.2)."""
        assert connection.transport is not None
        sockname = connection.transport.get_extra_info("sockname")
        if not sockname:
            raise ConnectionResetError("the server closed the connection")
        local = str(sockname[0])
        name = socket.gethostname()
        if "." not in name:  # RFC 5321 §4.1.3: who has no full name gives an address
            name = f"[IPv6:{local}]" if ":" in local else f"[{local}]"
        replies = await self._ask(connection, f"EHLO {name}".encode(), Phase.EHLO, step, or_else=UNKNOWN_COMMAND)
        if replies[-1].code in UNKNOWN_COMMAND:
            replies = await self._ask(connection, f"HELO {name}".encode(), Phase.EHLO, step)
        connection.extensions = _read_extensions(replies)

    async def _log_in(self, login: Login, connection: SmtpConnection, step: "_Step") -> None:
        """By the first mechanism that the server does not turn down; a refused login is not tried by another."""
        known = {"PLAIN": self._log_in_plain, "LOGIN": self._log_in_stepwise}
        offered = [mechanism for mechanism in known if mechanism in connection.extensions.auth]
        if not offered:
            raise NoConnection(AccountFault("the server offers no login by PLAIN or LOGIN"))
        for mechanism in offered:
            is_last = mechanism == offered[-1]
            replies = await known[mechanism](login, connection, step, frozenset() if is_last else UNKNOWN_MECHANISM)
            if replies[-1].code not in UNKNOWN_MECHANISM:
                return

    async def _log_in_plain(
        self, login: Login, connection: SmtpConnection, step: "_Step", or_else: AbstractSet[int]
    ) -> list[Reply]:
        secret = base64.b64encode(b"\0" + login.username.encode() + b"\0" + login.password.encode())
        return await self._ask(connection, b"AUTH PLAIN " + secret, Phase.AUTH, step, or_else=or_else)

    async def _log_in_stepwise(
        self, login: Login, connection: SmtpConnection, step: "_Step", or_else: AbstractSet[int]
    ) -> list[Reply]:
        replies = await self._ask(connection, b"AUTH LOGIN", Phase.AUTH, step, wished=334, or_else=or_else)
        if replies[-1].code != 334:
            return replies
        await self._ask(connection, base64.b64encode(login.username.encode()), Phase.AUTH, step, wished=334)
        return await self._ask(connection, base64.b64encode(login.password.encode()), Phase.AUTH, step)

    async def _ask(
        self,
        connection: SmtpConnection,
        command: bytes | None,
        phase: Phase,
        step: "_Step",
        *,
        wished: int = 0,
        or_else: AbstractSet[int] = frozenset(),
    ) -> list[Reply]:
        """The reply, of the wished-for code (0: the one the phase ends well with) or one of the others. Raises
        NoConnection, and OSError where none comes.
        """
        step.note("greet" if phase is Phase.BANNER else f"answer {phase}")
        replies = await connection.ask(command)
        code = replies[-1].code
        if code != (wished or CONTENT[phase]) and code not in or_else:
            verdict, _ = judge(phase, replies[-1])
            is_passing = isinstance(verdict, Retry)
            raise NoConnection(Retry(verdict.reason, scope="provider") if is_passing else AccountFault(verdict.reason))
        return replies


class _Step:
    """What an opening waits for, so that whoever waits for it can be told."""

    def __init__(self, where: str, feeder: Feeder) -> None:
        self.where = where
        self._feeder = feeder
        self.wish = ""

    def note(self, wish: str) -> None:
        self.wish = wish
        self._feeder.note_step(f"{self.where} does not {wish}")


@contextmanager
def _told_as_no_connection(step: _Step) -> Iterator[None]:
    """Certificates and TLS are configuration; what the network does may pass."""
    where = step.where
    try:
        yield
    except ssl.SSLCertVerificationError as error:
        reason = f"the certificate of {where} does not verify: {error.verify_message}"
        raise NoConnection(AccountFault(reason)) from error
    except ssl.SSLError as error:
        raise NoConnection(AccountFault(f"no TLS with {where}: {error.reason}")) from error
    except TimeoutError as error:
        raise NoConnection(Retry(f"{where} does not {step.wish} in time", scope="provider")) from error
    except OSError as error:
        raise NoConnection(Retry(f"{where} did not {step.wish}: {error}", scope="provider")) from error


def _read_extensions(replies: list[Reply]) -> Extensions:
    """The lines of EHLO's reply after the greeting: a keyword, then its parameters."""
    announced: dict[str, list[str]] = {}
    for reply in replies[1:]:
        keyword, *parameters = reply.text.upper().replace("AUTH=", "AUTH ").split() or [""]
        announced.setdefault(keyword, []).extend(parameters)
    return Extensions(
        pipelining="PIPELINING" in announced,
        size=_read_size(announced.get("SIZE")),
        utf8="SMTPUTF8" in announced,
        starttls="STARTTLS" in announced,
        auth=frozenset(announced.get("AUTH", ())),
    )


def _read_size(parameters: list[str] | None) -> int | None:
    if parameters is None:
        return None
    is_number = parameters and parameters[0].isdecimal() and len(parameters[0]) <= LONGEST_SIZE
    return int(parameters[0]) if is_number else 0
