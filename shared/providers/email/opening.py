"""From a host's name to a connection that takes mail: look up, connect, EHLO, TLS, login."""

import asyncio
import base64
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from shared.domain.outcome import AccountFault, Retry
from shared.providers.email.connection import SmtpConnection
from shared.providers.email.hosts import AllowedHosts, NoConnection, Security, SmtpHost
from shared.providers.email.replies import Phase, Reply, judge
from shared.providers.email.terms import Extensions, Feeder, Limits


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
        fault: NoConnection | None = None
        for address in await self.allowed.resolve(host):
            try:
                return await self._open_at(address, host, feeder)
            except NoConnection as error:
                fault = error
        raise fault or NoConnection(Retry(f"{host.name} has no address", scope="provider"))

    async def _open_at(self, address: str, host: SmtpHost, feeder: Feeder) -> SmtpConnection:
        connection = SmtpConnection(self.limits, feeder)
        try:
            with _told_as_no_connection(host):
                async with asyncio.timeout(self.limits.reply_seconds):
                    await self._connect(address, host, connection)
                    await self._ask(connection, None, Phase.BANNER, 220)
                    await self._say_hello(connection)
                    await self._secure(host, connection)
                    if self.login is not None:
                        await self._log_in(self.login, connection)
        except BaseException:
            connection.close()
            raise
        return connection

    async def _connect(self, address: str, host: SmtpHost, connection: SmtpConnection) -> None:
        """The certificate is checked against the host's name, wherever the name led."""
        is_implicit = host.security is Security.IMPLICIT
        async with asyncio.timeout(self.limits.connect_seconds):
            await asyncio.get_running_loop().create_connection(
                lambda: connection,
                address,
                host.port,
                ssl=self.tls if is_implicit else None,
                server_hostname=host.name if is_implicit else None,
            )

    async def _secure(self, host: SmtpHost, connection: SmtpConnection) -> None:
        if host.security in {Security.NONE, Security.IMPLICIT}:
            return
        if not connection.extensions.starttls:
            if host.security is Security.STARTTLS:
                raise NoConnection(AccountFault(f"{host.name}:{host.port} offers no STARTTLS"))
            return
        await self._ask(connection, b"STARTTLS", Phase.STARTTLS, 220)
        if connection.has_unread:  # slipped in by someone between us, to be taken for the server's own
            raise NoConnection(AccountFault(f"{host.name}:{host.port} went on talking before TLS began"))
        assert connection.transport is not None
        async with asyncio.timeout(self.limits.connect_seconds):
            connection.transport = await asyncio.get_running_loop().start_tls(
                connection.transport, connection, self.tls, server_hostname=host.name
            )
        await self._say_hello(connection)

    async def _say_hello(self, connection: SmtpConnection) -> None:
        assert connection.transport is not None
        local = str(connection.transport.get_extra_info("sockname")[0])
        name = socket.gethostname()
        if "." not in name:  # RFC 5321 §4.1.3: who has no full name gives an address
            name = f"[IPv6:{local}]" if ":" in local else f"[{local}]"
        replies = await self._ask(connection, f"EHLO {name}".encode(), Phase.EHLO, 250)
        connection.extensions = _read_extensions(replies)

    async def _log_in(self, login: Login, connection: SmtpConnection) -> None:
        username, password = login.username.encode(), login.password.encode()
        if "PLAIN" in connection.extensions.auth:
            secret = base64.b64encode(b"\0" + username + b"\0" + password)
            await self._ask(connection, b"AUTH PLAIN " + secret, Phase.AUTH, 235)
        elif "LOGIN" in connection.extensions.auth:
            await self._ask(connection, b"AUTH LOGIN", Phase.AUTH, 334)
            await self._ask(connection, base64.b64encode(username), Phase.AUTH, 334)
            await self._ask(connection, base64.b64encode(password), Phase.AUTH, 235)
        else:
            raise NoConnection(AccountFault("the server offers no login by PLAIN or LOGIN"))

    async def _ask(self, connection: SmtpConnection, command: bytes | None, phase: Phase, wished: int) -> list[Reply]:
        replies = await connection.ask(command)
        if replies[-1].code != wished:
            verdict, _ = judge(phase, replies[-1])
            is_passing = isinstance(verdict, Retry)
            raise NoConnection(Retry(verdict.reason, scope="provider") if is_passing else AccountFault(verdict.reason))
        return replies


@contextmanager
def _told_as_no_connection(host: SmtpHost) -> Iterator[None]:
    """Certificates and TLS are configuration; what the network does may pass."""
    where = f"{host.name}:{host.port}"
    try:
        yield
    except ssl.SSLCertVerificationError as error:
        reason = f"the certificate of {where} does not verify: {error.verify_message}"
        raise NoConnection(AccountFault(reason)) from error
    except ssl.SSLError as error:
        raise NoConnection(AccountFault(f"no TLS with {where}: {error.reason}")) from error
    except TimeoutError as error:
        raise NoConnection(Retry(f"{where} does not answer in time", scope="provider")) from error
    except OSError as error:
        raise NoConnection(Retry(f"no connection to {where}: {error}", scope="provider")) from error


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
    return int(parameters[0]) if parameters and parameters[0].isdecimal() else 0
