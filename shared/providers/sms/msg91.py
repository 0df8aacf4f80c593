"""MSG91, flow API v5: an approved template for up to a hundred phones at a time, our text in its variables.

There is no free text: the account's template has a variable for it, ##content## or ##otp##, as Appwrite fills them. A
success names the request alone; receipts bring back CRQID, which is the message's run, beside the phone.

Read: api.msg91.com/apidoc "Send SMS by flow"; msg91.com/help "API", "Webhook"; the list of error codes, 2018, whose
codes the help pages of 2026 still use (November 2026).
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final, NamedTuple

from shared.domain.outcome import Accepted, AccountFault, Outcome, Refused, Unknown
from shared.domain.segments import Encoding, count_segments
from shared.domain.status import Channel
from shared.providers.contract import Account, Content, SendRequest
from shared.providers.http_adapter import HttpAdapter, Sunk
from shared.providers.meanings import DEAD, FAULT, REFUSED, THROTTLED, UNKNOWN, Meaning, meaning_of_status
from shared.providers.sms.forms import read_object
from shared.providers.sms.texts import refusal_of_number, refusal_of_text
from shared.providers.transport import Pool, Reply, Request, Transport

LARGEST_TEXT: Final = 1_600  # characters; not documented: ten parts, as others allow
VARIABLES: Final = ("content", "otp")
"""What templates may call the text: their variables are case-sensitive, and those they do not have are ignored."""

DUPLICATE: Final = "311"
"""The same text to the same number within ten seconds is dropped, and charged once: the first was taken."""

CODES: Final[Mapping[str, Meaning]] = {
    "001": UNKNOWN,  # "Unable to connect database"
    "002": UNKNOWN,  # "Unable to select database"
    "101": REFUSED,  # "Missing mobile no."
    "102": REFUSED,  # "Missing message"
    "103": FAULT,  # "Missing sender ID"
    "106": FAULT,  # "Missing Authentication Key"
    "107": FAULT,  # "Missing Route"
    "201": FAULT,  # "Invalid username or password", of the gateway
    "202": DEAD,  # "Invalid mobile number"
    "203": FAULT,  # "Invalid sender ID"
    "205": FAULT,  # "This route is dedicated for high traffic": the account's route wants 20 numbers or more
    "207": FAULT,  # "Invalid authentication key"
    "208": FAULT,  # "IP is blacklisted"
    "209": FAULT,  # "Default Route for dialplan not found"
    "210": FAULT,  # "Route could not be determined"
    "301": FAULT,  # "Insufficient balance to send SMS"
    "302": FAULT,  # "Expired user account"
    "303": FAULT,  # "Banned user account"
    "306": Meaning(THROTTLED.outcome, 900.0, "provider"),  # "This route is currently unavailable": promotion, 9 to 21 h
    "307": REFUSED,  # "Incorrect scheduled time"
    "308": REFUSED,  # "Campaign name cannot be greater than 32 characters"
    "310": REFUSED,  # "SMS is too long"
    "418": FAULT,  # the caller's IP address is not on the key's list, which is on by default
    "505": FAULT,  # "Your account is a demo account"
    "506": Meaning(THROTTLED.outcome, 900.0, "provider"),  # "Small campaign is not allowed now"
    "601": UNKNOWN,  # "Internal error"
}
STATUSES: Final[Mapping[int, Meaning]] = {429: THROTTLED}  # whatever the body says

ABOUT_A_NUMBER: Final = frozenset({"101", "202"})
"""Of one of the recipients; they do not say of which."""

WORDS: Final[Sequence[tuple[re.Pattern[str], Meaning]]] = (
    (re.compile(r"\binvalid (mobile|phone|recipient)\b", re.IGNORECASE), DEAD),
    (re.compile(r"\b(template|flow|sender|header|dlt|entity)\b", re.IGNORECASE), FAULT),
    (re.compile(r"\b(auth(key)?|unauthori[sz]ed|ip|balance|credits?)\b", re.IGNORECASE), FAULT),
)
"""v5 may give an error no code: then the first line counts that its words match."""


class Body(NamedTuple):
    """The JSON before the recipients, and what follows the phone of each."""

    head: bytes
    variables: bytes


class Msg91Adapter(HttpAdapter[Body]):
    kind: ClassVar[str] = "msg91"
    channel: ClassVar[Channel] = Channel.SMS
    largest_batch: ClassVar[int] = 1_000
    batch_size: ClassVar[int] = 1_000
    in_flight_limit: ClassVar[int] = 1_000
    has_receipts: ClassVar[bool] = True
    largest_call: ClassVar[int] = 100  # not documented; Appwrite sends as many
    pool: ClassVar[Pool] = Pool(connections=10, is_careful=True)

    def __init__(self, account: Account, *, transport: Transport, endpoint: str | None = None) -> None:
        super().__init__(account, transport=transport, endpoint=endpoint)
        key = str(account.credentials.get("authKey") or "")
        self._is_key = key.isascii() and key.isprintable() and key != ""  # else it would end its header
        self._headers = (f"authkey: {key}", "content-type: application/json", "accept: application/json")

    def address(self) -> str:
        return "https://control.msg91.com"

    def render(self, content: Content) -> Body | Refused | AccountFault:
        text = content.data["content"]
        if refusal := refusal_of_text(content, limit=LARGEST_TEXT, provider="MSG91"):
            return refusal
        template, sender = (str(self.account.credentials.get(name) or "") for name in ("templateId", "senderId"))
        if not template or not self._is_key:
            return AccountFault("the provider's templateId or authKey is missing, or is none that MSG91 gives out")
        fields = {"template_id": template, "sender": sender, "short_url": "0", "CRQID": str(content.run)}
        if count_segments(text).encoding is Encoding.UCS_2:
            fields["unicode"] = "1"
        return Body(_json(fields)[:-1] + b',"recipients":[', b'",' + _json(dict.fromkeys(VARIABLES, text))[1:])

    def refusal_of(self, request: SendRequest) -> Outcome | None:
        return refusal_of_number(request.identifier)

    def call(self, rendered: Body, requests: Sequence[SendRequest]) -> Request:
        phones = (request.identifier.removeprefix("+").encode() for request in requests)
        recipients = b",".join(b'{"mobiles":"' + phone + rendered.variables for phone in phones)
        return Request("/api/v5/flow", self._headers, rendered.head + recipients + b"]}")

    def read(self, _requests: Sequence[SendRequest], reply: Reply) -> Outcome | Sunk:
        document = read_object(reply.body)
        kind, message = document.get("type"), document.get("message")
        is_taken = 200 <= reply.status < 300
        if is_taken and kind == "success" and isinstance(message, str) and message:
            return Accepted(message)
        if is_taken and kind != "error":
            return Unknown(f"MSG91 answered {reply.status} without saying what became of the request")
        return _refusal(reply, document)


def _refusal(reply: Reply, document: Mapping[str, Any]) -> Outcome | Sunk:
    told = (document.get("message"), document.get("errors"))
    words = next((text for text in told if isinstance(text, str) and text), "nothing that its API says")
    code = _code_of(document, words)
    reason = f"MSG91 answered {reply.status}, code {code or 'none'}: {_NUMBER.sub('…', words)}"[:300]
    if reply.status in STATUSES or reply.status >= 500:
        return STATUSES.get(reply.status, UNKNOWN).of(reason, reply.retry_after_seconds)
    if code == DUPLICATE:
        return Accepted()
    if code in CODES:
        outcome = CODES[code].of(reason, reply.retry_after_seconds)
        return Sunk(outcome) if code in ABOUT_A_NUMBER else outcome
    if reply.status not in {200, 400, 422}:
        return meaning_of_status(reply.status).of(reason)
    meaning = next((meaning for pattern, meaning in WORDS if pattern.search(words)), REFUSED)
    # unless it is the account's, a call for one recipient tells whose fault it is
    return meaning.of(reason) if meaning is FAULT else Sunk(meaning.of(reason))


_LEADING_CODE = re.compile(r"(?:\s*(?:error|code))?[\s:-]*([0-9]{3})\b", re.IGNORECASE)
_NUMBER = re.compile("[0-9]{7,15}")


def _code_of(document: Mapping[str, Any], words: str) -> str:
    """The gateway's, the API's, or the one its words begin with; "" where there is none that we know."""
    found = _LEADING_CODE.match(words)
    told = (document.get("apiError"), document.get("code"), found and found[1])
    codes = [str(code) for code in told if isinstance(code, (str, int))]
    return next((code for code in codes if code in CODES or code == DUPLICATE), "")


def _json(fields: Mapping[str, str]) -> bytes:
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode()
