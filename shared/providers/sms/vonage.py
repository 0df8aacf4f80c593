"""Vonage's SMS API: one request for each number, always answered with 200 and a status for each part of the text."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

from shared.domain.outcome import Accepted, Outcome, Refused, Unknown
from shared.domain.segments import Encoding, count_segments
from shared.domain.status import Channel
from shared.providers.contract import Account, Content, SendRequest
from shared.providers.http_adapter import HttpAdapter
from shared.providers.meanings import DEAD, FAULT, REFUSED, THROTTLED, UNKNOWN, Meaning, meaning_of_status
from shared.providers.sms.forms import FORM_TYPE, basic_authorization, form, form_value, read_id, read_object, reason_of
from shared.providers.sms.texts import refusal_of_number, refusal_of_text, seconds_left
from shared.providers.transport import Pool, Reply, Request, Transport

TEXT_LIMIT: Final = 3200  # characters; definitions/sms.yml
CALLBACK_LIMIT: Final = 100  # characters; a longer address is error 23
SHORTEST_LIFE_SECONDS, LONGEST_LIFE_SECONDS = 20, 604_800  # of ttl, in milliseconds; 72 hours without it

# What a status says -> what it means. Source: developer.vonage.com/en/api-errors/sms, read October 2026.
MEANINGS: Final[Mapping[str, Meaning]] = {
    "1": THROTTLED,  # "Throttled": faster than the account's limit, 30 requests a second for most
    "2": REFUSED,  # "Missing Parameters"
    "3": REFUSED,  # "Invalid Parameters"; DEAD where it is `to`
    "4": FAULT,  # "Invalid Credentials"
    "5": UNKNOWN,  # "Internal Error", "whilst processing this message"
    "6": REFUSED,  # "Invalid Message": "for example, an un-recognized number prefix", so perhaps not for good
    "7": DEAD,  # "Number Barred": "blacklisted and may not receive them"
    "8": FAULT,  # "Partner Account Barred": suspended
    "9": FAULT,  # "Partner Quota Violation": no credit
    "10": THROTTLED,  # "Too Many Existing Binds"
    "11": FAULT,  # "Account Not Enabled For HTTP"
    "12": REFUSED,  # "Message Too Long"
    "14": FAULT,  # "Invalid Signature"
    "15": FAULT,  # "Invalid Sender Address"
    "17": REFUSED,  # "Message Blocked by Provider": "content or restrictions"
    "22": FAULT,  # "Invalid Network Code"
    "23": FAULT,  # "Invalid Callback Url"
    "29": FAULT,  # "Non-Whitelisted Destination": the account is in demo mode
    "32": FAULT,  # "Signature And API Secret Disallowed"
    "33": DEAD,  # "Number De-activated"
}

_BAD_RECIPIENT: Final = re.compile(r"\bparam(eter)?s?\W+to\b|\bto\W+(param|address|number|is invalid)", re.IGNORECASE)
_WAIT: Final = re.compile(r"please wait \[ *(\d{1,6}) *\]", re.IGNORECASE)
"""Milliseconds. The other shape of status 1's text has a number of them too, but none is a wait."""
LONGEST_WAIT_SECONDS: Final = 1.0


class VonageAdapter(HttpAdapter[bytes]):
    """Renders the form but for the recipient and our reference, which delivery receipts bring back."""

    kind: ClassVar[str] = "vonage"
    channel: ClassVar[Channel] = Channel.SMS
    largest_batch: ClassVar[int] = 1_000
    batch_size: ClassVar[int] = 200
    in_flight_limit: ClassVar[int] = 400  # half of them on their way, the others where commits are written
    has_receipts: ClassVar[bool] = True
    # 1000 a second at 200 ms to an answer; most accounts have 30 a second, and status 1 says so
    pool: ClassVar[Pool] = Pool(connections=200, is_careful=True)

    def __init__(self, account: Account, *, transport: Transport, endpoint: str | None = None) -> None:
        super().__init__(account, transport=transport, endpoint=endpoint)
        key, secret = (str(account.credentials.get(name, "")) for name in ("apiKey", "apiSecret"))
        self._headers = (basic_authorization(key, secret), FORM_TYPE, "accept: application/json")

    def address(self) -> str:
        return "https://rest.nexmo.com"

    def render(self, content: Content) -> bytes | Refused:
        if refusal := refusal_of_text(content, limit=TEXT_LIMIT, provider="Vonage"):
            return refusal
        text: str = content.data["content"]
        sender = str(self.account.options.get("from") or "")
        callback = self.account.receipts_url
        life = min(max(seconds_left(content), SHORTEST_LIFE_SECONDS), LONGEST_LIFE_SECONDS)
        return form(
            {
                "from": sender.removeprefix("+"),
                "text": text,
                # without it, what is not GSM 7 bit arrives damaged
                "type": "unicode" if count_segments(text).encoding is Encoding.UCS_2 else "text",
                "ttl": life * 1000,
                "callback": callback if len(callback) <= CALLBACK_LIMIT else None,  # the account's own serves then
            }
        )

    def refusal_of(self, request: SendRequest) -> Outcome | None:
        return refusal_of_number(request.identifier)

    def call(self, rendered: bytes, requests: Sequence[SendRequest]) -> Request:
        (request,) = requests
        number, reference = form_value(request.identifier[1:]), form_value(request.delivery_id)
        return Request("/sms/json", self._headers, b"to=%b&%b&client-ref=%b" % (number, rendered, reference))

    def read(self, _requests: Sequence[SendRequest], reply: Reply) -> Outcome:
        parts = _parts_of(reply)
        if reply.status != 200:
            meaning = UNKNOWN if reply.status >= 500 else meaning_of_status(reply.status)
            return meaning.of(f"Vonage answered {reply.status}", reply.retry_after_seconds)
        if not parts:
            return Unknown("Vonage answered 200, but not as its SMS API does")
        failed = [part for part in parts if str(part.get("status")) != "0"]
        if not failed:
            return Accepted(" ".join(read_id(part.get("message-id")) for part in parts))
        reason = reason_of(f"Vonage answered status {failed[0].get('status')}: {failed[0].get('error-text', '')}")
        if len(failed) < len(parts):  # to send all again would repeat some
            return Unknown(f"Vonage took {len(parts) - len(failed)} of {len(parts)} parts; {reason}"[:300])
        return _meaning_of(failed[0]).of(reason, _wait_of(failed[0]))


def _parts_of(reply: Reply) -> list[Mapping[str, Any]]:
    """One for each message that the text takes; empty where the reply is in another shape."""
    parts = read_object(reply.body).get("messages")
    return parts if isinstance(parts, list) and all(isinstance(part, dict) for part in parts) else []


def _meaning_of(part: Mapping[str, Any]) -> Meaning:
    status = str(part.get("status"))
    if status == "3" and _BAD_RECIPIENT.search(str(part.get("error-text"))):
        return DEAD
    return MEANINGS.get(status, REFUSED)


def _wait_of(part: Mapping[str, Any]) -> float | None:
    told = _WAIT.search(str(part.get("error-text")))
    return min(int(told[1]) / 1000, LONGEST_WAIT_SECONDS) if told else None
