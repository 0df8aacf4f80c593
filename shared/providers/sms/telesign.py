"""Telesign: one request for each number, or a text to a thousand at a time.

One by one (/v1/messaging) the answer says of each number whether it was taken, under an id of its own and with an
address for its receipts. In bulk (/v1/verify/bulk_sms) it says so of all together; what became of each is told by
receipts alone, to the address that the account has at Telesign. So it is for installations that set telesign_bulk,
having seen such receipts come; and a bulk that is not taken for a reason it does not say is halved, down to single
requests, which say it.

Read: the OpenAPI documents of "Engage SMS API" and "Engage Bulk SMS API" (November 2026).
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final, NamedTuple

from shared.domain.outcome import Accepted, Outcome, Refused, Unknown
from shared.domain.status import Channel
from shared.providers.contract import Account, Content, SendRequest
from shared.providers.http_adapter import HttpAdapter, Sunk
from shared.providers.meanings import DEAD, FAULT, REFUSED, THROTTLED, UNKNOWN, Meaning, meaning_of_status
from shared.providers.sms.forms import (
    FORM_TYPE,
    basic_authorization,
    form,
    form_value,
    read_id,
    read_number,
    read_object,
    reason_of,
)
from shared.providers.sms.texts import refusal_of_number, refusal_of_text
from shared.providers.transport import Pool, Reply, Request, Transport

TEXT_LIMIT: Final = 1600  # characters
MESSAGE_TYPE: Final = "ARN"  # "Alerts, reminders, and notifications"; a message of ours does not say which it is
BULK_ACCEPTED: Final = 293  # "Bulk request accepted"

TAKEN: Final = frozenset({200, 203, 290, 292, 295})
"""Delivered, delivered to gateway, in progress, queued by gateway, status delayed."""

# What a code says -> what it means; of single requests in status.code, of bulks, negative, in errors[].code.
MEANINGS: Final[Mapping[int, Meaning]] = {
    229: REFUSED,  # "Message blocked": as the account has asked for it
    230: REFUSED,  # the same
    237: REFUSED,  # "Message blocked in requested country"
    238: REFUSED,  # "Destination blocked by prefix"
    10000: UNKNOWN,  # "System unavailable, please try again later": nothing says that it was not sent
    10002: FAULT,  # "'x-ts-nonce' header value has been used recently"; we send none
    10004: FAULT,  # "'Date' header is not within tolerable range"
    10008: FAULT,  # "Invalid signature"
    10009: FAULT,  # "Missing required 'Authorization' header"
    10010: FAULT,  # "CustomerID account suspended"
    10011: FAULT,  # "This product is not enabled for this CustomerID"
    10014: FAULT,  # "Invalid source IP address"
    10015: FAULT,  # "Invalid customer ID"
    10019: THROTTLED,  # "Rate limit exceeded"
    10020: FAULT,  # "Exceeded transaction hard cap": until somebody raises it
    10022: FAULT,  # "Invalid API key"
    10028: FAULT,  # "'Authorization' header is not in the correct format"
    10031: FAULT,  # "Not allowed host"
    10033: FAULT,  # "Has not been verified for this trial account": not the number's fault
    10035: FAULT,  # "The requested API host is not allowed for this CustomerID"
    11000: DEAD,  # "Invalid value for parameter phone_number"
    11001: DEAD,  # "Invalid country code for parameter phone_number"
    11003: FAULT,  # "Invalid value for parameter account_lifecycle_event"
    11004: FAULT,  # ... callback_url
    11009: REFUSED,  # ... message
    11010: FAULT,  # ... originating_ip
    11013: FAULT,  # ... sender_id
    11016: FAULT,  # ... external_id
    11017: FAULT,  # ... message_type
    11027: FAULT,  # ... integration_name
    11034: FAULT,  # ... dlt_template_id
    11035: FAULT,  # ... dlt_entity_id
    12000: REFUSED,  # "Missing required parameter phone_number"
    12009: REFUSED,  # ... message
    12017: FAULT,  # ... message_type
    -10001: REFUSED,  # "Invalid request: missing parameter", the text
    -10002: REFUSED,  # "Empty recipients list"
    -10003: REFUSED,  # "Max number of recipients exceeded"
    -10009: FAULT,  # "Invalid source IP address"
    -20002: FAULT,  # "This product is not enabled for this customer ID"
    -30000: FAULT,  # "Invalid customer ID"
    -30001: FAULT,  # "Customer ID account suspended"
    -30006: FAULT,  # "Invalid signature"
    -40006: REFUSED,  # "Bad request"
    -40007: THROTTLED,  # "Rate limit exceeded"
    -40008: FAULT,  # "Exceeded transaction hard cap"
    -90001: UNKNOWN,  # "System unavailable, please try again later"
}

SINKING: Final = frozenset({-40006, 11000, 11001})
"""Codes of a bulk that one of its numbers may have brought upon it."""


class Forms(NamedTuple):
    """What follows the numbers in a request."""

    single: bytes
    bulk: bytes


class TelesignAdapter(HttpAdapter[Forms]):
    """A number a request; no rate is published, so 429 tells."""

    kind: ClassVar[str] = "telesign"
    channel: ClassVar[Channel] = Channel.SMS
    largest_batch: ClassVar[int] = 1_000
    batch_size: ClassVar[int] = 1_000
    in_flight_limit: ClassVar[int] = 200  # 1000 a second at 200 ms to an answer
    has_receipts: ClassVar[bool] = True
    pool: ClassVar[Pool] = Pool(
        connections=100, is_careful=True
    )  # Telesign drops connections that rest for 499 seconds

    def __init__(self, account: Account, *, transport: Transport, endpoint: str | None = None) -> None:
        super().__init__(account, transport=transport, endpoint=endpoint)
        customer, key = (str(account.credentials.get(name, "")) for name in ("customerId", "apiKey"))
        self._headers = (basic_authorization(customer, key), FORM_TYPE, "accept: application/json")

    def address(self) -> str:
        """Of full-service accounts; those of self-service have rest-api.telesign.com, by TIDINGS_ENDPOINT_TELESIGN."""
        return "https://rest-ww.telesign.com"

    def render(self, content: Content) -> Forms | Refused:
        """Neither API can bound how long a message is kept."""
        if refusal := refusal_of_text(content, limit=TEXT_LIMIT, provider="Telesign"):
            return refusal
        text = content.data["content"]
        sender = str(self.account.options.get("from") or "").removeprefix("+")
        single = {
            "message": text,
            "message_type": MESSAGE_TYPE,
            "sender_id": sender,
            "callback_url": self.account.receipts_url,
        }
        return Forms(form(single), form({"template": text, "sender_id": sender}))

    def refusal_of(self, request: SendRequest) -> Outcome | None:
        return refusal_of_number(request.identifier)

    def call(self, rendered: Forms, requests: Sequence[SendRequest]) -> Request:
        (request,) = requests
        number, reference = form_value(request.identifier[1:]), form_value(request.delivery_id)
        body = b"phone_number=%b&%b&external_id=%b" % (number, rendered.single, reference)
        return Request("/v1/messaging", self._headers, body)

    def read(self, _requests: Sequence[SendRequest], reply: Reply) -> Sequence[Outcome] | Outcome | Sunk:
        document = read_object(reply.body)
        code, words = _said_by(document)
        if reply.status == 200 and code in TAKEN:
            return Accepted(read_id(document.get("reference_id")))
        return _outcome_of(reply, code, words)


class TelesignBulkAdapter(TelesignAdapter):
    """The receipts' session id is our delivery."""

    largest_call: ClassVar[int] = 1_000
    in_flight_limit: ClassVar[int] = 4_000
    pool: ClassVar[Pool] = Pool(connections=10, is_careful=True)

    def call(self, rendered: Forms, requests: Sequence[SendRequest]) -> Request:
        if len(requests) == 1:
            return super().call(rendered, requests)
        numbers = ",".join(f"{request.identifier[1:]}:{request.delivery_id}" for request in requests)
        body = b"recipients=%b&%b" % (form_value(numbers), rendered.bulk)
        return Request("/v1/verify/bulk_sms", self._headers, body)

    def read(self, requests: Sequence[SendRequest], reply: Reply) -> Sequence[Outcome] | Outcome | Sunk:
        if len(requests) == 1:
            return super().read(requests, reply)
        document = read_object(reply.body)
        code, words = _said_by(document)
        if reply.status == 200 and code == BULK_ACCEPTED:
            return Accepted(read_id(document.get("reference_id")))  # one for all
        outcome = _outcome_of(reply, code, words)
        return Sunk(outcome) if code in SINKING else outcome


def _said_by(document: Mapping[str, Any]) -> tuple[int, str]:
    """Code and words: of the first error, where there are any, else of the status."""
    errors, status = document.get("errors"), document.get("status")
    said = errors[0] if isinstance(errors, list) and errors else status
    return (read_number(said.get("code")), str(said.get("description", ""))) if isinstance(said, dict) else (0, "")


def _outcome_of(reply: Reply, code: int, words: str) -> Outcome:
    reason = reason_of(f"Telesign answered {reply.status}, code {code}: {words or 'not an answer of its API'}")
    if code in MEANINGS:
        return MEANINGS[code].of(reason, reply.retry_after_seconds)
    if reply.status == 200 or reply.status >= 500:
        return Unknown(reason)
    return meaning_of_status(reply.status).of(reason, reply.retry_after_seconds)
