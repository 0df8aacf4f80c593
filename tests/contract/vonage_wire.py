"""Vonage's other side, scripted, and the adapter wired to it."""

import json
from collections.abc import Sequence
from typing import Any, ClassVar

from shared.domain.status import Channel
from shared.providers.contract import Account, Content
from shared.providers.sms.vonage import VonageAdapter
from tests.contract.http2_server import Act, Answer, Received
from tests.contract.http_wire import FAR_FUTURE, HttpWire
from tests.contract.twilio_wire import form_of

RECEIPTS_URL = "https://tidings.example.com/v1/tidings/receipts/abc"


class VonageWire(HttpWire):
    adapter_type = VonageAdapter
    account = Account(1, 1, {"apiKey": "abcd1234", "apiSecret": "s3cret"}, {"from": "ACME"}, receipts_url=RECEIPTS_URL)
    fields: ClassVar = {"to", "from", "text", "type", "ttl", "callback", "client-ref"}

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.content = Content(1, Channel.SMS, {"content": "Your code is 4711 & no other"}, FAR_FUTURE)

    def identifier(self, number: int) -> str:
        return f"+1202{number:07d}"

    def recipients(self, request: Received) -> list[str]:
        return ["+" + form_of(request)["to"]]

    def acceptance(self, request: Received, recipients: Sequence[str]) -> Answer:
        return parts("0", to=recipients[0][1:])

    def credentials_refused(self) -> Act:
        return parts("4", "Bad Credentials")

    def identities(self) -> list[str]:
        return [form_of(request)["client-ref"] for _, request in self.taken]

    def check_unharmed(self, data: dict[str, Any]) -> None:
        for _, request in self.taken:
            fields = form_of(request)
            assert request.path == "/sms/json"
            assert fields.keys() == self.fields
            assert fields["text"] == data["content"]


def parts(*statuses_and_text: str, to: str = "12025550123") -> Answer:
    """A reply with a status for each part, and a text for what is wrong at the end if anything is."""
    statuses = [text for text in statuses_and_text if text.isdecimal()]
    words = "".join(text for text in statuses_and_text if not text.isdecimal())
    messages = [
        {"to": to, "message-id": f"{number}A{to}", "status": "0", "remaining-balance": "3.14", "message-price": "0.03"}
        if status == "0"
        else {"to": to, "status": status, "error-text": words or "what Vonage says"}
        for number, status in enumerate(statuses)
    ]
    return Answer(200, json.dumps({"message-count": str(len(messages)), "messages": messages}).encode())
