"""The simulator as one thing: providers on their ports, one record, one inbox; run in process or as a command."""

import fcntl
import json
import os
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared.errors import ConfigurationError
from shared.simulator.apns import Apns
from shared.simulator.certificates import LOOPBACK_NAMES, ensure_certificates, server_context, write_private
from shared.simulator.faults import Faults
from shared.simulator.fcm import Fcm
from shared.simulator.http_provider import HttpProvider, Reception
from shared.simulator.inbox import DEFAULT_PROJECT, Inbox
from shared.simulator.keyring import Keyring
from shared.simulator.mailgun import Mailgun
from shared.simulator.msg91 import Msg91
from shared.simulator.outgoing import Courier
from shared.simulator.record import Record
from shared.simulator.resend import Resend
from shared.simulator.sendgrid import Sendgrid
from shared.simulator.service_accounts import ServiceAccounts
from shared.simulator.ses import Ses
from shared.simulator.smtp import Smtp
from shared.simulator.telesign import Telesign
from shared.simulator.textmagic import Textmagic
from shared.simulator.twilio import Twilio
from shared.simulator.vonage import Vonage
from shared.simulator.wire.http import Http2Server, HttpServer
from shared.simulator.wire.listener import Listener
from shared.simulator.wire.smtp import SmtpServer

READY_FILE = "simulator.json"

HTTP_PROVIDERS: tuple[type[HttpProvider], ...] = (
    Sendgrid,
    Mailgun,
    Resend,
    Ses,
    Twilio,
    Vonage,
    Telesign,
    Textmagic,
    Msg91,
)
"""Those that share the port `https`."""

LARGEST_CALL_BYTES = 48 * 1024**2
"""Above what mailers take, so that they say themselves what is too large for them."""


@dataclass(frozen=True, slots=True)
class Ports:
    """0 takes a free one. Those of None share `https`; one of its own may also be silent, refuse or reset by itself."""

    smtp: int = 0
    smtps: int = 0
    fcm: int = 0
    apns: int = 0
    https: int = 0
    http: int = 0
    sendgrid: int | None = None
    mailgun: int | None = None
    resend: int | None = None
    ses: int | None = None
    twilio: int | None = None
    vonage: int | None = None
    telesign: int | None = None
    textmagic: int | None = None
    msg91: int | None = None


class Simulator:
    """Made by `running`; the endpoints are known while it runs."""

    def __init__(self, directory: Path, *, host: str, advertised: str, ports: Ports) -> None:
        self.directory = directory
        self.ca_file = directory / "ca.pem"
        self.record = Record(directory / "record.jsonl")
        self._accounts = ServiceAccounts(directory / "service-account.key")
        self._host = host
        self._ports = ports
        self._advertised = advertised
        smtp, fcm = Smtp(self.record), Fcm(self.record, self._accounts)
        keyring = Keyring(directory / "accounts.key")
        shared_port = [facts(self.record, keyring) for facts in HTTP_PROVIDERS]
        self.apns = Apns(self.record, keyring)
        self.http_providers: Mapping[str, HttpProvider] = {
            provider.name: provider for provider in (*shared_port, self.apns)
        }
        plans = [provider.plan for provider in self.http_providers.values()]
        self.faults = Faults([smtp.plan, fcm.sending, fcm.granting, *plans])
        ensure_certificates(directory, tuple(dict.fromkeys((*LOOPBACK_NAMES, advertised))))
        self._tls = server_context(directory, protocols=("h2", "http/1.1"))
        mail_tls, flush = server_context(directory), self.record.flush
        self._smtp = SmtpServer(smtp, mail_tls, before_write=flush)
        self._smtps = SmtpServer(smtp, mail_tls, before_write=flush)
        self._fcm = HttpServer(fcm, before_write=flush)
        self._apns_tls = server_context(directory, protocols=("h2",))
        self._apns = Http2Server(self.apns.connection, before_write=flush, terms=self.apns.terms)
        self._https = HttpServer(Reception(shared_port), before_write=flush, largest_body_bytes=LARGEST_CALL_BYTES)
        self._own_ports = {
            provider.name: HttpServer(Reception([provider]), before_write=flush, largest_body_bytes=LARGEST_CALL_BYTES)
            for provider in shared_port
            if getattr(ports, provider.name) is not None
        }
        own: dict[str, tuple[Listener, ...]] = {
            "smtp": (self._smtp, self._smtps),
            "fcm": (self._fcm,),
            "apns": (self._apns,),
            **{name: (server,) for name, server in self._own_ports.items()},
        }
        for name, listeners in own.items():
            self.faults.plans[name].govern(*listeners)
        self._http = HttpServer(
            Inbox(self.record, self.faults, self._accounts, self.http_providers, name=advertised), before_write=flush
        )

    @classmethod
    @asynccontextmanager
    async def running(
        cls,
        directory: Path,
        *,
        host: str = "127.0.0.1",
        advertised: str | None = None,
        ports: Ports | None = None,
        faults: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> AsyncIterator["Simulator"]:
        """Serve until the block ends. DIR/simulator.json exists while all ports listen.

        `advertised` is the name that clients know `host` by, where it differs; `faults` are profiles to start with.
        Raises ConfigurationError for a directory in use, a port that cannot be had or a wrong profile.
        """
        async with AsyncExitStack() as stack:
            stack.enter_context(_sole_use_of(directory))
            simulator = cls(directory, host=host, advertised=advertised or host, ports=ports or Ports())
            stack.callback(simulator.record.close)
            simulator.faults.replace(faults or {})
            simulator._employ(courier := Courier(simulator.record.count))
            stack.push_async_callback(courier.aclose)
            for listener in simulator._listeners():
                stack.push_async_callback(listener.close)
            await simulator._listen()
            write_private(directory / READY_FILE, json.dumps(simulator.describe(), indent=2).encode())
            stack.callback((directory / READY_FILE).unlink, missing_ok=True)
            yield simulator

    @property
    def smtp_endpoint(self) -> str:
        return self._address(self._smtp)

    @property
    def smtps_endpoint(self) -> str:
        return self._address(self._smtps)

    @property
    def fcm_endpoint(self) -> str:
        return f"https://{self._address(self._fcm)}"

    @property
    def apns_endpoint(self) -> str:
        return f"https://{self._address(self._apns)}"

    @property
    def https_endpoint(self) -> str:
        """Of all providers but SMTP, FCM and APNs."""
        return f"https://{self._address(self._https)}"

    def endpoint_of(self, provider: str) -> str:
        """Of one of those that are called over HTTP: its own port, if it has one."""
        own = {**self._own_ports, "fcm": self._fcm, "apns": self._apns}
        return f"https://{self._address(own.get(provider, self._https))}"

    @property
    def http_endpoint(self) -> str:
        return f"http://{self._address(self._http)}"

    def service_account(self, project: str = DEFAULT_PROJECT) -> dict[str, str]:
        return self._accounts.mint(project)

    def describe(self) -> dict[str, Any]:
        """What whoever wants to send here has to know."""
        return {
            "smtp": self.smtp_endpoint,
            "smtps": self.smtps_endpoint,
            "fcm": self.fcm_endpoint,
            "http": self.http_endpoint,
            **{name: self.endpoint_of(name) for name in self.http_providers},
            "credentials": {name: provider.credentials() for name, provider in self.http_providers.items()},
            "receipts_secrets": {name: provider.receipts_secret for name, provider in self.http_providers.items()},
            "ca_file": str(self.ca_file.resolve()),
            "record": str(self.record.path.resolve()),
            "fcm_service_account": self.service_account(),
            "pid": os.getpid(),  # tells a fresh file from that of a simulator that was killed
        }

    def _employ(self, courier: Courier) -> None:
        for provider in self.http_providers.values():
            provider.courier = courier

    def _listeners(self) -> tuple[Listener, ...]:
        return self._http, self._smtp, self._smtps, self._fcm, self._apns, self._https, *self._own_ports.values()

    async def _listen(self) -> None:
        ports = self._ports
        await self._fcm.start(self._host, ports.fcm, tls=self._tls)
        self._accounts.token_uri = f"{self.fcm_endpoint}/token"
        await self._apns.start(self._host, ports.apns, tls=self._apns_tls)
        await self._https.start(self._host, ports.https, tls=self._tls)
        for name, server in self._own_ports.items():
            await server.start(self._host, getattr(ports, name), tls=self._tls)
        await self._smtp.start(self._host, ports.smtp)
        await self._smtps.start(self._host, ports.smtps, implicit_tls=True)
        await self._http.start(self._host, ports.http)

    def _address(self, listener: Listener) -> str:
        name = f"[{self._advertised}]" if ":" in self._advertised else self._advertised
        return f"{name}:{listener.port}"


@contextmanager
def _sole_use_of(directory: Path) -> Iterator[None]:
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = (directory / "lock").open("w")
    except OSError as error:
        raise ConfigurationError(
            f"The directory {directory} cannot be used: {error.strerror}.",
            hint="Name one that this user may write to with --dir or TIDINGS_SIMULATOR_DIR.",
        ) from error
    with lock as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigurationError(
                f"Another simulator is using {directory}.", hint="Stop it, or give this one a directory of its own."
            ) from error
        (directory / READY_FILE).unlink(missing_ok=True)  # of one that was killed
        yield
