"""Vonage's SMS API: whatever happens, the answer is 200 with a status for each part of the text."""

import json
import secrets
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hmac import compare_digest
from typing import Annotated, Any, ClassVar, Final, Literal
from urllib.parse import parse_qsl

from pydantic import Field

from shared.simulator import contents
from shared.simulator.faults import TAKEN, Fate, FaultProfile
from shared.simulator.http_provider import HttpProvider
from shared.simulator.magic_numbers import magic_numbers
from shared.simulator.record import Capture
from shared.simulator.vonage_message import Message, problem_of
from shared.simulator.vonage_receipts import ReceiptForm, Signing, delivery_receipts, signature_of
from shared.simulator.wire.exchange import HTML, Reply, Request

PATH: Final = "/sms/json"

ServerTrouble = Literal["status 5", "HTML", "500", "503"]


@dataclass(frozen=True, slots=True, kw_only=True)
class VonageProfile(FaultProfile):
    server_troubles: Annotated[tuple[ServerTrouble, ...], Field(min_length=1)] = ("status 5", "HTML", "500", "503")
    receipt_form: ReceiptForm = "json"  # as the customer chose in the dashboard
    signing: Signing = "sha256"  # the same


class Vonage(HttpProvider):
    name: ClassVar[str] = "vonage"
    profile: ClassVar[FaultProfile] = VonageProfile()
    words = magic_numbers(
        {
            Fate.DEAD_ADDRESS: "status 33, number de-activated",
            Fate.REFUSED: "status 17, blocked by the provider",
            Fate.THROTTLED: "status 1 that names a wait, then accepted",
            Fate.TRANSIENT: "status 1 that names none, then accepted",
            Fate.OPTED_OUT: "accepted; the receipt says opted out, err-code 9",
            Fate.ACCOUNT_FAULT: "status 15, invalid sender",
            Fate.SERVER_ERROR: "status 5, HTML with 200, 500 or 503",
        }
    )

    def credentials(self) -> Mapping[str, Any]:
        return {"apiKey": self.keyring.secret("vonage-key", 8), "apiSecret": self.keyring.secret("vonage-secret", 16)}

    @property
    def receipts_secret(self) -> str:
        return self.keyring.secret("vonage-signature", 50)

    def answer(self, request: Request) -> Reply | None:
        if request.path != PATH:
            return None
        fields = dict(parse_qsl(request.query) + parse_qsl(request.body.decode("utf-8", "replace")))
        problem = self._stranger(request.header(b"authorization"), fields) or problem_of(fields)
        if problem is not None:
            return self._refuse("bad_request", _failed(fields.get("to", ""), *problem))
        return self._decide(Message(fields, self.fate_of(f"+{fields['to']}")))

    def _stranger(self, authorization: str, fields: Mapping[str, str]) -> tuple[str, str] | None:
        """What is wrong with how the customer proves itself: by Basic authentication, by fields, or by a signature."""
        key, secret = self.credentials()["apiKey"], self.credentials()["apiSecret"]
        if "sig" in fields:
            if "api_secret" in fields:
                return "32", "A signed request may not also present an api_secret"
            expected = signature_of(fields, self.receipts_secret, self.plan.profile.signing)
            return None if compare_digest(fields["sig"].encode(), expected.encode()) else ("14", "Invalid Signature")
        given = authorization or _basic(fields.get("api_key", ""), fields.get("api_secret", ""))
        return None if compare_digest(given.encode(), _basic(key, secret).encode()) else ("4", "Bad Credentials")

    def _decide(self, message: Message) -> Reply:
        if message.fate in TAKEN or message.fate is Fate.OPTED_OUT:
            reply = self._accept(message)
        else:
            reply = self._refuse(message.fate, self._refusal(message))
        return self.in_manner_of(reply, message.recipient, message.fate)

    def _accept(self, message: Message) -> Reply:
        ids = [secrets.token_hex(8).upper() for _ in range(message.parts)]
        self.record.append(
            Capture(
                provider=self.name,
                recipient=message.recipient,
                message=ids[0],
                key=message.key,
                title=message.text,
                outcome=message.fate,
                delivery=message.reference,
                content=contents.sms(message.text, sender=message.fields["from"]),
            )
        )
        if url := message.fields.get("callback", self.receipts_url):
            profile, account = self.plan.profile, self.credentials()["apiKey"]
            receipts = delivery_receipts(message, ids, account=account)
            secret = self.receipts_secret
            self.post_receipts(receipt.call(url, profile.receipt_form, secret, profile.signing) for receipt in receipts)
        return _reply([message.taken(part) for part in ids])

    def _refusal(self, message: Message) -> Reply:
        match message.fate:
            case Fate.THROTTLED | Fate.OVER_LIMIT:
                return _failed(message.to, "1", self._throttled())
            case Fate.TRANSIENT:
                return _failed(message.to, "1", _MAXIMUM)
            case Fate.SERVER_ERROR:
                return self._trouble(message)
            case Fate.SILENT:
                return Reply(503)  # never sent
            case fate:
                return _failed(message.to, *_REFUSALS[fate])

    def _throttled(self) -> str:
        seconds = self.plan.profile.retry_after_seconds
        return _MAXIMUM if seconds is None else f"Throughput Rate Exceeded - please wait [ {seconds * 1000} ] and retry"

    def _trouble(self, message: Message) -> Reply:
        match self.plan.pick(message.recipient, self.plan.profile.server_troubles):
            case "status 5":
                return _failed(message.to, "5", "Internal Error")
            case "HTML":
                return Reply(200, b"<html><title>Maintenance</title></html>", HTML)
            case status:
                return Reply(int(status), b'{"title":"Internal Error"}', b"application/problem+json")

    def _refuse(self, outcome: str, reply: Reply) -> Reply:
        self.record.count(self.name, outcome)
        return reply


def _basic(key: str, secret: str) -> str:
    return f"Basic {b64encode(f'{key}:{secret}'.encode()).decode()}"


def _reply(messages: Sequence[Mapping[str, str]]) -> Reply:
    document = {"message-count": str(len(messages)), "messages": messages}
    return Reply(200, json.dumps(document).encode(), b"application/json")


def _failed(to: str, status: str, words: str) -> Reply:
    return _reply([{"to": to, "status": status, "error-text": words}])


_MAXIMUM: Final = (
    "Exceeded maximum MT throughput[ MAX [ 30 ] INTERVAL [ 1000 ] COUNT [ 30 ] TIME_SINCE_LAST_INTERVAL_START [ 529 ] ]"
)
_REFUSALS: Final = {
    Fate.DEAD_ADDRESS: ("33", "Number De-activated"),
    Fate.REFUSED: ("17", "Message Blocked by Provider"),
    Fate.ACCOUNT_FAULT: ("15", "Illegal Sender Address - rejected"),
}
