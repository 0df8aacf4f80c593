"""Telesign's other side, scripted: both of its APIs for text messages, and the adapter wired to it."""

import json
from collections.abc import Sequence
from typing import Any, ClassVar

from shared.domain.status import Channel
from shared.providers.contract import Account, Content
from shared.providers.sms.telesign import TelesignAdapter, TelesignBulkAdapter
from tests.contract.http2_server import Act, Answer, Received
from tests.contract.http_wire import FAR_FUTURE, HttpWire
from tests.contract.twilio_wire import form_of

RECEIPTS_URL = "https://tidings.example.com/v1/tidings/receipts/abc"
SINGLE, BULK = "/v1/messaging", "/v1/verify/bulk_sms"
REFERENCE = "0123456789ABCDEF0123456789ABCDEF"


class TelesignWire(HttpWire):
    adapter_type = TelesignAdapter
    account = Account(
        1, 1, {"customerId": "FFFFFFFF", "apiKey": "c2VjcmV0"}, {"from": "+15005550006"}, receipts_url=RECEIPTS_URL
    )
    fields: ClassVar = {
        SINGLE: {"phone_number", "message", "message_type", "sender_id", "callback_url", "external_id"},
        BULK: {"recipients", "template", "sender_id"},
    }

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.content = Content(1, Channel.SMS, {"content": "Your code is 4711 & no other"}, FAR_FUTURE)

    def identifier(self, number: int) -> str:
        return f"+1202{number:07d}"

    def recipients(self, request: Received) -> list[str]:
        return [f"+{number}" for number, _ in named_in(request)]

    def acceptance(self, request: Received, recipients: Sequence[str]) -> Answer:
        return said(200, 290 if request.path == SINGLE else 293)

    def credentials_refused(self) -> Act:
        return said(401, 10022, "Invalid API Key")

    def identities(self) -> list[str]:
        return [dict(named_in(request))[recipient[1:]] for recipient, request in self.taken]

    def check_unharmed(self, data: dict[str, Any]) -> None:
        for _, request in self.taken:
            fields = form_of(request)
            assert fields.keys() == self.fields[request.path]
            assert fields["message" if request.path == SINGLE else "template"] == data["content"]


class TelesignBulkWire(TelesignWire):
    adapter_type = TelesignBulkAdapter

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.sinking: dict[str, Answer] = {}

    def sink(self, identifier: str, reply: Answer) -> None:
        """Bulks with this number fail without saying why; alone it is answered like this."""
        self.sinking[identifier] = reply

    def respond(self, request: Received, recipients: Sequence[str]) -> Act:
        sunk = [self.sinking[recipient] for recipient in recipients if recipient in self.sinking]
        if sunk:
            return failed(400, -40006, "Bad Request") if request.path == BULK else sunk[0]
        return super().respond(request, recipients)

    def credentials_refused(self) -> Act:
        return failed(401, -30006, "Invalid Signature.")


def named_in(request: Received) -> list[tuple[str, str]]:
    """Numbers, with our reference of each."""
    fields = form_of(request)
    if request.path == SINGLE:
        return [(fields["phone_number"], fields["external_id"])]
    assert request.path == BULK
    pairs = [pair.split(":") for pair in fields["recipients"].split(",")]
    return [(number, session) for number, session in pairs]


def said(status: int, code: object, words: str = "what Telesign says", *, retry_after: str = "") -> Answer:
    """As /v1/messaging answers, and of what it took, the bulk API."""
    document = {"reference_id": REFERENCE, "status": {"code": code, "description": words, "updated_on": "x"}}
    return Answer(status, json.dumps(document).encode(), (("retry-after", retry_after),) if retry_after else ())


def failed(status: int, code: int, words: str = "what Telesign says", *, retry_after: str = "") -> Answer:
    """As the bulk API fails."""
    document = {
        "reference_id": REFERENCE,
        "sub_resource": "bulk_sms",
        "status": {"code": 500, "description": "Transaction not attempted"},
        "errors": [{"code": code, "description": words}],
    }
    return Answer(status, json.dumps(document).encode(), (("retry-after", retry_after),) if retry_after else ())
