"""TextMagic, API v2: a text to the phones of one session at a time.

A session is taken on as a whole, and the answer names none of its messages. So that a receipt finds its delivery, the
session's reference is the message's run, which receipts bring back beside the phone. Sessions are kept to a hundred
phones: twenty calls a second are allowed, and one bad phone costs the calls that find it.

Read: docs.textmagic.com "Send SMS", "Restrictions", "SMS sessions"; textmagic-rest-python-v2, 2024 (November 2026).
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Final

from shared.domain.outcome import Accepted, AccountFault, Outcome, Refused, Unknown
from shared.domain.segments import count_segments
from shared.domain.status import Channel
from shared.providers.contract import Account, Content, SendRequest
from shared.providers.http_adapter import HttpAdapter, Sunk
from shared.providers.meanings import DEAD, FAULT, REFUSED, THROTTLED, UNKNOWN, Meaning, meaning_of_status
from shared.providers.sms.forms import FORM_TYPE, form, read_object
from shared.providers.sms.texts import refusal_of_number, refusal_of_text
from shared.providers.transport import Pool, Reply, Request, Transport

LARGEST_PARTS: Final = 6  # partsCount, "1 to 6"; a longer text is refused, or cut if one asks for that
LARGEST_TEXT: Final = LARGEST_PARTS * 153  # characters

FIELDS: Final[Mapping[str, Meaning]] = {
    "from": FAULT,  # the sender is not one of the account's
    "text": REFUSED,
    "partsCount": REFUSED,
    "templateId": REFUSED,
    "referenceId": REFUSED,
}
"""400 "Validation Failed": by the field that is blamed, in `errors.fields`, as the first of them says. `phones` is not
among them: it blames some of the recipients.
"""

STATUSES: Final[Mapping[int, Meaning]] = {
    429: THROTTLED,  # "maximum of 20 requests per second"; no Retry-After is documented
    503: UNKNOWN,  # nothing says that what was answered so is not sent
}

_BALANCE = re.compile(r"\b(balance|credit|funds)", re.IGNORECASE)
_NOT_A_NUMBER = re.compile(r"\b(invalid|not (a )?valid|incorrect|malformed)\b", re.IGNORECASE)
_DIGITS = re.compile("[0-9]{7,15}")


class TextmagicAdapter(HttpAdapter[bytes]):
    kind: ClassVar[str] = "textmagic"
    channel: ClassVar[Channel] = Channel.SMS
    largest_batch: ClassVar[int] = 1_000
    batch_size: ClassVar[int] = 1_000
    in_flight_limit: ClassVar[int] = 1_000
    has_receipts: ClassVar[bool] = True
    largest_call: ClassVar[int] = 100
    pool: ClassVar[Pool] = Pool(connections=10, is_careful=True)  # 20 calls a second, half a second each

    def __init__(self, account: Account, *, transport: Transport, endpoint: str | None = None) -> None:
        super().__init__(account, transport=transport, endpoint=endpoint)
        self._headers = _headers_of(account)

    def address(self) -> str:
        return "https://rest.textmagic.com"

    def render(self, content: Content) -> bytes | Refused | AccountFault:
        text = content.data["content"]
        if refusal := refusal_of_text(content, limit=LARGEST_TEXT, provider="TextMagic"):
            return refusal
        if (parts := count_segments(text).parts) > LARGEST_PARTS:
            return Refused(f"the text takes {parts} parts, TextMagic allows {LARGEST_PARTS}")
        if not self._headers:
            return AccountFault("the provider's username or apiKey is missing, or is none that TextMagic gives out")
        sender = str(self.account.options.get("from", "")).removeprefix("+")
        return form({"text": text, "from": sender, "referenceId": content.run}) + b"&phones="

    def refusal_of(self, request: SendRequest) -> Outcome | None:
        return refusal_of_number(request.identifier)

    def call(self, rendered: bytes, requests: Sequence[SendRequest]) -> Request:
        phones = "%2C".join(map(phone_of, requests))
        return Request("/api/v2/messages", self._headers, rendered + phones.encode())

    def read(self, requests: Sequence[SendRequest], reply: Reply) -> Outcome | Sunk:
        document = read_object(reply.body)
        if 200 <= reply.status < 300:
            return _acceptance(document, reply.status)
        if reply.status == 400 and document:
            return _refusal(document, requests)
        meaning = STATUSES.get(reply.status) or meaning_of_status(reply.status)
        return meaning.of(_reason(reply.status, _texts(document.get("message"))), reply.retry_after_seconds)


def phone_of(request: SendRequest) -> str:
    return request.identifier.removeprefix("+")


def _headers_of(account: Account) -> tuple[str, ...]:
    """Empty: a credential is missing, or would end its header."""
    username, key = (str(account.credentials.get(name) or "") for name in ("username", "apiKey"))
    if not all(value and value.isascii() and value.isprintable() for value in (username, key)):
        return ()
    return f"x-tm-username: {username}", f"x-tm-key: {key}", FORM_TYPE, "accept: application/json"


def _acceptance(document: Mapping[str, Any], status: int) -> Outcome:
    """`messageId` for a single phone, `sessionId` for several; 201 by most of their words, 200 by some."""
    if message := document.get("messageId"):
        return Accepted(str(message))
    if session := document.get("sessionId") or document.get("bulkId"):
        return Accepted(f"session {session}")
    return Unknown(f"TextMagic accepted without naming a message or session (HTTP {status})")


def _refusal(document: Mapping[str, Any], requests: Sequence[SendRequest]) -> Outcome | Sunk:
    errors = document.get("errors")
    fields = errors.get("fields") if isinstance(errors, Mapping) else None
    blamed = fields if isinstance(fields, Mapping) else {}
    told = [*_texts(document.get("message")), *_texts(errors)]
    if any(map(_BALANCE.search, told)):
        return AccountFault(_reason(400, told))
    for name, meaning in FIELDS.items():
        if name in blamed:
            return meaning.of(_reason(400, [f"{name}:", *_texts(blamed[name])]))
    if "phones" not in blamed:  # nothing that we know: a call for one of them tells whose fault it is
        return Sunk(Refused(_reason(400, told)))
    return _sunk(" ".join(_texts(blamed["phones"])), requests)


def _sunk(words: str, requests: Sequence[SendRequest]) -> Sunk:
    outcome = (DEAD if _NOT_A_NUMBER.search(words) else REFUSED).of(_reason(400, [words]))
    named = set(_DIGITS.findall(words))
    return Sunk(outcome, {place: outcome for place, request in enumerate(requests) if phone_of(request) in named})


def _reason(status: int, words: Iterable[str]) -> str:
    """Without the phones that may stand in it."""
    said = _DIGITS.sub("…", " ".join(words)) or "nothing that its API says"
    return f"TextMagic answered {status}: {said}"[:300]


def _texts(value: Any, depth: int = 3) -> Iterator[str]:
    """Every text within, in its order. `depth`: of errors, their fields, a field's list."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, (dict, list)) and depth:
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _texts(inner, depth - 1)
