"""Twilio's other side, scripted, and the adapter wired to it."""

import json
from collections.abc import Sequence
from typing import Any, ClassVar
from urllib.parse import parse_qsl

from shared.domain.status import Channel
from shared.providers.contract import Account, Content
from shared.providers.sms.twilio import TwilioAdapter
from tests.contract.http2_server import Act, Answer, Received
from tests.contract.http_wire import FAR_FUTURE, HttpWire

SID = "AC" + "0" * 31 + "1"
PATH = f"/2010-04-01/Accounts/{SID}/Messages.json"
RECEIPTS_URL = "https://tidings.example.com/v1/tidings/receipts/abc"


class TwilioWire(HttpWire):
    adapter_type = TwilioAdapter
    account = Account(
        1, 1, {"accountSid": SID, "authToken": "t0ken"}, {"from": "+15005550006"}, receipts_url=RECEIPTS_URL
    )
    fields: ClassVar = {"To", "From", "Body", "StatusCallback"}

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.content = Content(1, Channel.SMS, {"content": "Dein Code ist 4711 & gültig"}, FAR_FUTURE)

    def identifier(self, number: int) -> str:
        return f"+1202{number:07d}"

    def recipients(self, request: Received) -> list[str]:
        return [form_of(request)["To"]]

    def acceptance(self, request: Received, recipients: Sequence[str]) -> Answer:
        document = {"sid": f"SM{recipients[0][1:]:0>32}", "status": "queued", "num_segments": "1", "error_code": None}
        return Answer(201, json.dumps(document).encode())

    def credentials_refused(self) -> Act:
        return error(401, 20003, "Authenticate")

    def identities(self) -> list[str]:
        return [form_of(request)["StatusCallback"] for _, request in self.taken]

    def check_unharmed(self, data: dict[str, Any]) -> None:
        for _, request in self.taken:
            fields = form_of(request)
            assert request.path == PATH
            assert fields.keys() == self.fields
            assert fields["Body"] == data["content"]


def form_of(request: Received) -> dict[str, str]:
    fields = parse_qsl(request.body.decode(), keep_blank_values=True, strict_parsing=True)
    assert len(dict(fields)) == len(fields), "a field given twice"
    return dict(fields)


def error(status: int, code: int, words: str = "what Twilio says", *, retry_after: str = "") -> Answer:
    document = {
        "code": code,
        "message": words,
        "more_info": f"https://www.twilio.com/docs/errors/{code}",
        "status": status,
    }
    return Answer(status, json.dumps(document).encode(), (("retry-after", retry_after),) if retry_after else ())
