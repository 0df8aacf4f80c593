"""TextMagic's other side, scripted, and the adapter wired to it."""

import json
from collections.abc import Sequence
from typing import Any

from shared.domain.status import Channel
from shared.providers.contract import Account, Content
from shared.providers.sms.textmagic import TextmagicAdapter
from tests.contract.http2_server import Act, Answer, Received
from tests.contract.http_wire import FAR_FUTURE, HttpWire
from tests.contract.twilio_wire import form_of

RUN = 1_882_000_000_000_000_001


class TextmagicWire(HttpWire):
    adapter_type = TextmagicAdapter
    account = Account(1, 1, {"username": "ada", "apiKey": "k3y"}, {"from": "+15005550006"})

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.content = Content(RUN, Channel.SMS, {"content": "Dein Code ist 4711 & gültig"}, FAR_FUTURE)

    def identifier(self, number: int) -> str:
        return f"+1202{number:07d}"

    def recipients(self, request: Received) -> list[str]:
        return [f"+{phone}" for phone in form_of(request)["phones"].split(",")]

    def acceptance(self, request: Received, recipients: Sequence[str]) -> Answer:
        number = len(self.server.received)
        is_one = len(recipients) == 1
        document = {
            "id": number,
            "href": f"/api/v2/{'messages' if is_one else 'sessions'}/{number}",
            "type": "message" if is_one else "session",
            "messageId": number if is_one else None,
            "sessionId": None if is_one else number,
            "bulkId": None,
            "scheduleId": None,
            "chatId": None,
        }
        return Answer(201, json.dumps(document).encode())

    def credentials_refused(self) -> Act:
        return error(401, "Bad credentials")

    def identities(self) -> list[str]:
        return [form_of(request)["referenceId"] + recipient for recipient, request in self.taken]

    def check_unharmed(self, data: dict[str, Any]) -> None:
        for _, request in self.taken:
            fields = form_of(request)
            assert request.path == "/api/v2/messages"
            assert fields.keys() == {"text", "from", "referenceId", "phones"}
            assert fields["text"] == data["content"]


def error(
    status: int, message: str, *, fields: dict[str, list[str]] | None = None, common: Sequence[str] = ()
) -> Answer:
    document: dict[str, Any] = {"code": status, "message": message}
    if fields or common:
        document["errors"] = {"common": list(common), "fields": fields or {}}
    return Answer(status, json.dumps(document).encode())


def invalid(**fields: str) -> Answer:
    return error(400, "Validation Failed", fields={name.rstrip("_"): [text] for name, text in fields.items()})
