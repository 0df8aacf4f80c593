"""Twilio's Messages resource: one request for each number."""

from collections.abc import Mapping, Sequence
from typing import ClassVar, Final, NamedTuple
from urllib.parse import quote

from shared.domain.outcome import Accepted, Outcome, Refused, Retry, Unknown
from shared.domain.status import Channel
from shared.providers.contract import Account, Content, SendRequest
from shared.providers.http_adapter import HttpAdapter
from shared.providers.meanings import DEAD, FAULT, REFUSED, THROTTLED, UNKNOWN, Meaning, meaning_of_status
from shared.providers.sms.forms import (
    FORM_TYPE,
    basic_authorization,
    callback_for_delivery,
    form,
    form_value,
    read_id,
    read_number,
    read_object,
    reason_of,
)
from shared.providers.sms.texts import refusal_of_number, refusal_of_text, seconds_left
from shared.providers.transport import Pool, Reply, Request, Transport

TEXT_LIMIT: Final = 1600  # characters; error 21617
LONGEST_VALIDITY_SECONDS: Final = 36_000  # of ValidityPeriod, which is from 1 second; also its default

# What Twilio says -> what it means. Source: its error dictionary (twilio.com/docs/api/errors), read 2026-11. It asks
# not to rely on codes, and split 21211, 21212, 21606 and 21614 in July 2024: what is not here goes by HTTP status.
MEANINGS: Final[Mapping[int, Meaning]] = {
    10001: FAULT,  # "Account is not active"
    14107: Meaning(Retry, 30.0),  # "Message loop": over 15 messages in 30 seconds between two numbers
    20003: FAULT,  # "Authenticate"
    20005: FAULT,  # "Account not active"
    20006: FAULT,  # "Access denied"
    20403: FAULT,  # "Forbidden"
    20404: FAULT,  # "The requested resource was not found": the account's SID
    20422: REFUSED,  # "Invalid parameter"
    20429: THROTTLED,  # "Too many requests": never processed
    20500: UNKNOWN,  # "Internal server error"
    20503: UNKNOWN,  # "Service unavailable": nothing says that it was not processed
    21211: DEAD,  # "Invalid 'To' phone number"
    21212: FAULT,  # "Invalid 'From' number"
    21217: DEAD,  # "Phone number does not appear to be valid"
    21408: REFUSED,  # "Permission to send an SMS has not been enabled for the region": others go on
    21602: REFUSED,  # "Message body is required"
    21603: FAULT,  # "A 'From' phone number is required"
    21606: FAULT,  # "The 'From' phone number is not a valid, message-capable Twilio number"
    21607: FAULT,  # "The source number must be verified": a trial account
    21608: FAULT,  # "Trial accounts cannot send messages to unverified numbers": not the recipient's fault
    21609: FAULT,  # "Invalid 'StatusCallback' URL"
    21610: DEAD,  # "Attempt to send to unsubscribed recipient": said STOP to this sender
    21611: Meaning(
        THROTTLED.outcome, 600.0, "provider"
    ),  # "This 'From' number has exceeded the queue": ten hours' worth
    21612: REFUSED,  # "The 'To' phone number is not reachable from this 'From'": the pair, so it may be our number
    21614: DEAD,  # "'To' number is not a valid mobile number"
    21616: FAULT,  # "The 'From' number matches multiple numbers of your account"
    21617: REFUSED,  # "The concatenated message body exceeds the 1600 character limit"
    21618: REFUSED,  # "The message body cannot be sent"
    21624: REFUSED,  # "Invalid validity period"
    21654: REFUSED,  # "ContentSid required"
    21655: REFUSED,  # "The ContentSid is invalid"
    21656: REFUSED,  # "The ContentVariables are invalid"
    21657: REFUSED,  # "The content type is not valid for the channel"
    21658: REFUSED,  # "A parameter of the content exceeds its limit"
    21701: FAULT,  # "The Messaging Service does not exist"
    21702: FAULT,  # "The Messaging Service is not available"
    21703: FAULT,  # "The Messaging Service contains no phone numbers"
    21704: FAULT,  # "The Messaging Service contains no phone numbers", to this country
    21705: FAULT,  # "The Messaging Service is invalid"
    21711: FAULT,  # "The 'From' number is not in the Messaging Service's pool"
    63017: THROTTLED,  # "Rate limit exceeded": 2000 messages a second for account and subaccounts
}


class Form(NamedTuple):
    """A request's body but for the recipient: To in front, the delivery at the end of the callback's address."""

    fields: bytes
    has_callback: bool


class TwilioAdapter(HttpAdapter[Form]):
    """Twilio bounds an account's requests at a time, by a number it does not publish: 429 tells."""

    kind: ClassVar[str] = "twilio"
    channel: ClassVar[Channel] = Channel.SMS
    largest_batch: ClassVar[int] = 1_000
    batch_size: ClassVar[int] = 500
    in_flight_limit: ClassVar[int] = 1_000  # 400 on their way, the others where commits are written
    has_receipts: ClassVar[bool] = True
    pool: ClassVar[Pool] = Pool(connections=400, is_careful=True)  # 2000 a second, its most for an account, at 200 ms

    def __init__(self, account: Account, *, transport: Transport, endpoint: str | None = None) -> None:
        super().__init__(account, transport=transport, endpoint=endpoint)
        sid, token = (str(account.credentials.get(name, "")) for name in ("accountSid", "authToken"))
        self._path = f"/2010-04-01/Accounts/{quote(sid, safe='')}/Messages.json"
        self._headers = (basic_authorization(sid, token), FORM_TYPE, "accept: application/json")

    def address(self) -> str:
        return "https://api.twilio.com"

    def render(self, content: Content) -> Form | Refused:
        if refusal := refusal_of_text(content, limit=TEXT_LIMIT, provider="Twilio"):
            return refusal
        sender = str(self.account.options.get("from") or "")
        validity = max(1, seconds_left(content))
        callback = self.account.receipts_url
        fields = {
            "MessagingServiceSid" if sender.startswith("MG") and len(sender) == 34 else "From": sender,
            "Body": content.data["content"],
            "ValidityPeriod": validity if validity < LONGEST_VALIDITY_SECONDS else None,
            "StatusCallback": callback_for_delivery(callback),
        }
        return Form(form(fields), callback != "")

    def refusal_of(self, request: SendRequest) -> Outcome | None:
        return refusal_of_number(request.identifier)

    def call(self, rendered: Form, requests: Sequence[SendRequest]) -> Request:
        (request,) = requests
        delivery = form_value(request.delivery_id) if rendered.has_callback else b""
        body = b"To=%b&%b%b" % (form_value(request.identifier), rendered.fields, delivery)
        return Request(self._path, self._headers, body)

    def read(self, _requests: Sequence[SendRequest], reply: Reply) -> Outcome:
        document = read_object(reply.body)
        if 200 <= reply.status < 300:
            sid = read_id(document.get("sid"))
            return Accepted(sid) if sid else Unknown("Twilio accepted without a message's SID")
        code = read_number(document.get("code"))
        words = document.get("message") or document.get("detail") or "not an answer of its API"  # RFC 9457: `detail`
        reason = reason_of(f"Twilio answered {reply.status}, code {code}: {words}")
        return _meaning_of(reply.status, code).of(reason, reply.retry_after_seconds)


def _meaning_of(status: int, code: int) -> Meaning:
    if code in MEANINGS:
        return MEANINGS[code]
    return UNKNOWN if status >= 500 else meaning_of_status(status)
