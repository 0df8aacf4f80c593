"""MSG91's other side, scripted, and the adapter wired to it."""

import json
from collections.abc import Sequence
from typing import Any

from shared.domain.status import Channel
from shared.providers.contract import Account, Content
from shared.providers.sms.msg91 import Msg91Adapter
from tests.contract.http2_server import Act, Answer, Received
from tests.contract.http_wire import FAR_FUTURE, HttpWire
from tests.contract.textmagic_wire import RUN


class Msg91Wire(HttpWire):
    adapter_type = Msg91Adapter
    account = Account(1, 1, {"templateId": "6512abc", "senderId": "ACMEIN", "authKey": "k3y"})

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.content = Content(RUN, Channel.SMS, {"content": "Your code is 4711"}, FAR_FUTURE)

    def identifier(self, number: int) -> str:
        return f"+9198{number:08d}"

    def recipients(self, request: Received) -> list[str]:
        return [f"+{recipient['mobiles']}" for recipient in body_of(request)["recipients"]]

    def acceptance(self, request: Received, recipients: Sequence[str]) -> Answer:
        return answer({"type": "success", "message": f"{len(self.server.received):024x}"})

    def credentials_refused(self) -> Act:
        return gateway_error("201")

    def identities(self) -> list[str]:
        return [body_of(request)["CRQID"] + recipient for recipient, request in self.taken]

    def check_unharmed(self, data: dict[str, Any]) -> None:
        for _, request in self.taken:
            body = body_of(request)
            assert body.keys() - {"unicode"} == {"template_id", "sender", "short_url", "CRQID", "recipients"}
            for recipient in body["recipients"]:
                assert recipient.keys() == {"mobiles", "content", "otp"}
                assert recipient["content"] == recipient["otp"] == data["content"]


def body_of(request: Received) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(request.body)
    return body


def answer(document: dict[str, object], http_status: int = 200) -> Answer:
    return Answer(http_status, json.dumps(document).encode())


def error(message: str, *, http_status: int = 200, **more: object) -> Answer:
    return answer({"type": "error", "message": message, **more}, http_status)


def gateway_error(code: str) -> Answer:
    document = {"status": "fail", "hasError": True, "errors": "Unauthorized", "code": "401", "apiError": code}
    return answer(document, 401)
