"""What the mailers share that are called over HTTP: the letter checked once, addresses, who may stand in one call."""

import json
import re
from abc import abstractmethod
from base64 import b64encode
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final, Generic, NamedTuple, TypeVar

from shared.domain.outcome import AccountFault, Outcome, Refused
from shared.domain.status import Channel
from shared.providers.contract import Content, ContentFile, SendRequest
from shared.providers.email.address import read_address
from shared.providers.email.bodies import encoded_pieces
from shared.providers.email.documents import read_document
from shared.providers.email.headers import HeaderRefused, check_value
from shared.providers.email.letter import Letter, MailRefused, read_letter
from shared.providers.http_adapter import Call, HttpAdapter, slices
from shared.providers.meanings import Meaning, meaning_of_status
from shared.providers.transport import Pool, Reply

DELIVERY: Final = "tidings_delivery"
"""The field of ours that mailers carry back in their receipts: SendRequest.delivery_id."""

MEBIBYTE: Final = 1024 * 1024
RECIPIENTS_BYTES: Final = 512 * 1024
"""Room that is kept for the recipients of a call beside what they share: a thousand of the longest addresses."""

Rendered = TypeVar("Rendered")


class Line(NamedTuple):
    """One line of a mailer's error table; the first that fits counts."""

    status: int | None  # None: any
    words: str  # a regular expression that is found in what it says, whatever the case; "": any
    meaning: Meaning


class HttpMailAdapter(HttpAdapter[Rendered], Generic[Rendered]):
    channel: ClassVar[Channel] = Channel.EMAIL
    has_receipts: ClassVar[bool] = True
    # A request with attachments has tens of megabytes, and each connection holds one.
    pool: ClassVar[Pool] = Pool(connections=8, streams=1)

    name: ClassVar[str]  # as reasons call the provider
    needed: ClassVar[tuple[str, ...]] = ("apiKey",)  # of the credentials; all become headers or addresses
    largest_request_bytes: ClassVar[int]

    def render(self, content: Content) -> Rendered | Refused | AccountFault:
        try:
            self._check_credentials()
            letter = read_letter(content, self.account)
            self._check_letter(letter)
            return self.write(letter)
        except MailRefused as refusal:
            return refusal.outcome

    @abstractmethod
    def write(self, letter: Letter) -> Rendered:
        """What is equal in all calls for a letter. Raises MailRefused."""

    def refusal_of(self, request: SendRequest) -> Outcome | None:
        try:
            address = read_address(request.identifier)
        except ValueError as error:
            return Refused(str(error))
        return _beyond_ascii(self.name, "address") if address.needs_utf8 else None

    def cut(self, _rendered: Rendered, requests: Sequence[SendRequest], indexes: Sequence[int]) -> list[Call]:
        """An address stands in a call once: SendGrid refuses the call else, and Mailgun sends one mail for both."""
        met = Counter[str]()
        rounds: defaultdict[int, list[int]] = defaultdict(list)
        for index in indexes:
            address = address_of(requests[index]).casefold()
            rounds[met[address]].append(index)
            met[address] += 1
        return [call for together in rounds.values() for call in slices(together, self.largest_call)]

    def check_size(self, shared_bytes: int) -> None:
        """Of the part that all calls share, as it is sent. Raises MailRefused."""
        if shared_bytes + RECIPIENTS_BYTES > self.largest_request_bytes:
            limit = f"{self.name} allows {self.largest_request_bytes // MEBIBYTE} MB"
            raise MailRefused(Refused(f"the mail takes {shared_bytes} bytes as it is sent, {limit}"))

    def _check_letter(self, letter: Letter) -> None:
        if letter.sender.needs_utf8:
            raise MailRefused(AccountFault(_beyond_ascii(self.name, "fromEmail").reason))
        if letter.reply_to.needs_utf8:
            raise MailRefused(_beyond_ascii(self.name, "replyToEmail"))
        try:
            for file in letter.files:
                check_value("name of an attachment", file.name)
        except HeaderRefused as error:
            raise MailRefused(Refused(str(error))) from error

    def _check_credentials(self) -> None:
        for name in self.needed:
            value = self.account.credentials.get(name)
            if not isinstance(value, str) or not value.isascii() or not value.isprintable() or not value.strip():
                raise MailRefused(
                    AccountFault(f"the provider's {name} is missing, or nothing that {self.name} gives out")
                )


def _beyond_ascii(name: str, field: str) -> Refused:
    return Refused(f"unsupported by {name}: {field} with letters beyond ASCII before its @")


def address_of(request: SendRequest) -> str:
    """With its domain in ASCII; of a request that `refusal_of` let through."""
    return read_address(request.identifier).text


def encoded(document: Any) -> bytes:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def encoded_file(file: ContentFile, key: str, fields: Mapping[str, str]) -> bytes:
    """As JSON, its content in base64 under `key`; without a walk through that for characters to escape."""
    content = encoded_pieces(file.content, b64encode)
    return b"".join([b'{"', key.encode(), b'":"', *content, b'",', encoded(fields)[1:]])


def document_of(reply: Reply) -> dict[str, Any]:
    """The reply's JSON object; empty where it is none."""
    try:
        document = read_document(reply.body)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def find_meaning(table: Sequence[Line], status: int, words: str) -> Meaning:
    for line in table:
        if line.status in {None, status} and re.search(line.words, words, re.IGNORECASE):
            return line.meaning
    return meaning_of_status(status)


def words_of(name: str, reply: Reply, words: str) -> str:
    """A reason: who said what."""
    return f"{name} answered {reply.status}: {words or 'nothing that its API says'}"[:300]
