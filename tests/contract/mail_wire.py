"""What the other sides of mailers that are called over HTTP have in common."""

from abc import abstractmethod
from typing import Any, ClassVar

from shared.providers.contract import Account, ContentFile
from tests.contract.certificates import Certificates
from tests.contract.http2_server import Received
from tests.contract.http_wire import HttpWire
from tests.contract.smtp_wire import email

OPTIONS = {"fromEmail": "news@example.com", "fromName": 'News, "daily"'}

HOSTILE_CONTENTS: tuple[dict[str, Any], ...] = (
    {"subject": "a\r\nBcc: victim@example.com", "content": "x"},
    {"subject": "a\nBcc: victim@example.com", "content": "x"},
    {"subject": "a\0b", "content": "x"},
    {"subject": "=?UTF-8?Q?a=0D=0ABcc:_victim@example.com?=", "content": "x"},
    {"subject": "a\u2028Bcc: victim@example.com", "content": '"}],"bcc":[{"email":"victim@example.com'},
    {"subject": '","to":"victim@example.com', "content": "x\r\n.\r\nMAIL FROM:<victim@example.com>\r\n"},
    {"subject": "%recipient.name% {{name}}", "content": "%recipient.tidings_delivery% {{{x}}} \\{{y}} {{#if z}} }}"},
    {"subject": "boundary", "content": '--\r\nContent-Disposition: form-data; name="bcc"\r\n\r\nvictim@example.com'},
)

HOSTILE_IDENTIFIERS = (
    "a@example.com>\r\nRCPT TO:<victim@example.com",
    "a@example.com\n",
    "a@example.com, victim@example.com",
    '"a, victim@example.com"@example.com',
    "<victim@example.com>",
    "Victim <victim@example.com>",
    "a\0@example.com",
    'a"}]},{"to":[{"email":"victim@example.com',
    "@example.com",
    "",
    "jörg@example.com",
    "x" * 65 + "@example.com",
)

PICTURE = ContentFile("logo.png", "image/png", bytes(range(256)) * 40)


class HttpMailWire(HttpWire):
    account: ClassVar[Account] = Account(1, 1, {"apiKey": "key"}, OPTIONS)

    def __init__(self, certificates: Certificates) -> None:
        super().__init__(certificates)
        self.content = email("Hello", "Du & ich\n")
        self._read: dict[int, tuple[Received, list[dict[str, Any]]]] = {}  # by identity: each request is read once

    def identifier(self, number: int) -> str:
        return f"person.{number}@example.com"

    def mails(self, request: Received) -> list[dict[str, Any]]:
        if id(request) not in self._read:
            self._read[id(request)] = (request, self.read_mails(request))
        return self._read[id(request)][1]

    @abstractmethod
    def read_mails(self, request: Received) -> list[dict[str, Any]]:
        """What the mail of each recipient says: to, cc, bcc, sender, reply_to, subject, text, html, delivery, files
        (name, type, content); those that it does not have are missing.
        """

    def recipients(self, request: Received) -> list[str]:
        return [recipient for mail in self.mails(request) for recipient in recipients_of(mail)]

    def taken_mails(self) -> list[dict[str, Any]]:
        """Of those accepted, in their order."""
        return [
            mail
            for recipient, request in self.taken
            for mail in self.mails(request)
            if recipient in recipients_of(mail)
        ]

    def identities(self) -> list[str]:
        return [mail["delivery"] for _, request in self.taken for mail in self.mails(request)]

    def check_unharmed(self, data: dict[str, Any]) -> None:
        mails = self.taken_mails()
        assert mails
        for mail in mails:
            assert len(recipients_of(mail)) == 1, "a mail shows or reaches somebody else"
            assert "victim@example.com" not in recipients_of(mail)
            assert (mail["subject"], mail["text"]) == (data["subject"], data["content"])
            assert mail.keys() <= {"to", "sender", "reply_to", "subject", "text", "delivery"}


def recipients_of(mail: dict[str, Any]) -> list[str]:
    return [address for role in ("to", "cc", "bcc") for address in mail.get(role, ())]
