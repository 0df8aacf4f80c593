"""SMTP's other side for the contract: a server with every extension, replying as a test says."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

from shared.domain.status import Channel
from shared.providers.contract import Account, Content
from shared.providers.email.replies import Phase
from shared.providers.email.smtp import SmtpAdapter
from shared.settings import Settings
from tests.contract.certificates import Certificates
from tests.contract.patience import answer_seconds
from tests.contract.smtp_server import Act, Command, Drip, Hangup, Raw, ReceivedMail, Silence, SmtpServer
from tests.contract.suite import Fault, Wire

FAR_FUTURE = 4_000_000_000.0
HEADERS = {"Date", "Message-ID", "To", "From", "Reply-To", "Subject", "MIME-Version", "Content-Type"}
HEADERS |= {"Content-Transfer-Encoding"}

FAULTS: dict[Fault, Act] = {
    Fault.SILENCE: Silence(),
    Fault.HANGUP: Hangup(),
    Fault.GARBAGE: Raw(b"<html>not what you expect</html>\r\n"),
    Fault.HUGE: Raw(b"250-" + b"x" * 10 * 1024 * 1024 + b"\r\n"),
    Fault.DRIP: Drip(),
}


class SmtpWire(Wire):
    def __init__(self, certificates: Certificates) -> None:
        self.server = SmtpServer(self._reply, tls=certificates.server_context())
        self.content = email("Hello", "Du & ich\n")
        self.arrived = asyncio.Event()
        self._certificates = certificates
        self._acts: dict[tuple[str, str], Act] = {}  # by verb and recipient
        self._received: list[str] = []
        self._login_reply: Act = None

    def open(self) -> None:
        self.adapter = self.make_adapter()

    def account(self) -> Account:
        credentials = {"host": "mail.example.com", "username": "tidings", "password": "secret"}
        return Account(1, 1, credentials, {"fromEmail": "news@example.com", "fromName": "News, daily"})

    def make_adapter(self, endpoint: str | None = None) -> SmtpAdapter:
        settings = Settings(
            provider_timeout_seconds=answer_seconds(),
            smtp_final_timeout_seconds=answer_seconds(),
            smtp_connections=3,
            ca_file=self._certificates.ca_file,
        )
        return SmtpAdapter(self.account(), settings=settings, endpoint=endpoint or self.server.endpoint)

    def _reply(self, command: Command) -> Act:
        if command.verb == "DOT":
            self._received.append(command.recipient)
            self.arrived.set()
        if command.verb == "AUTH":
            return self._login_reply
        return self._acts.get((command.verb, command.recipient))

    def identifier(self, number: int) -> str:
        return f"person.{number}@example.com"

    def answer(self, identifier: str, reply: tuple[Phase, Act]) -> None:
        phase, act = reply
        self._acts[(phase.name, identifier)] = act

    def fail(self, identifier: str, fault: Fault) -> None:
        self._acts[("DOT", identifier)] = FAULTS[fault]

    def received(self) -> list[str]:
        return self._received

    def taken(self) -> list[ReceivedMail]:
        return [mail for mail in self.server.mails if ("DOT", mail.recipient) not in self._acts]

    def accepted(self) -> list[str]:
        return [mail.recipient for mail in self.taken()]

    def identities(self) -> list[str]:
        return [str(parse(mail)["Message-ID"]) for mail in self.taken()]

    def refuse_credentials(self) -> None:
        self._login_reply = "535 5.7.8 authentication failed for tidings"

    def check_unharmed(self, data: dict[str, Any]) -> None:
        for mail in self.taken():
            parsed = parse(mail)
            assert set(parsed.keys()) <= HEADERS
            assert parsed["Subject"] == data["subject"]
            assert parsed["To"] == mail.recipient

    async def close_adapter(self) -> None:
        await self.adapter.aclose()

    def adapter_for(self, address: tuple[str, int]) -> SmtpAdapter:
        return self.make_adapter(f"{address[0]}:{address[1]}")


def email(subject: str, content: str, **more: Any) -> Content:
    data = {"subject": subject, "content": content, "html": False, "cc": [], "bcc": [], "attachments": []}
    return Content(1, Channel.EMAIL, {**data, **more}, FAR_FUTURE)


def parse(mail: ReceivedMail) -> EmailMessage:
    return message_from_bytes(mail.data, policy=policy.default)


@asynccontextmanager
async def running_wire(certificates: Certificates) -> AsyncIterator[SmtpWire]:
    wire = SmtpWire(certificates)
    async with wire.server:
        wire.open()
        yield wire
        await wire.close_adapter()
