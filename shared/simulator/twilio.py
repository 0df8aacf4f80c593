"""Twilio's Messages resource: Basic authentication, a form for each message, a status callback for each step."""

import json
import re
import secrets
import time
from base64 import b64encode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from heapq import heappop, heappush
from hmac import compare_digest
from typing import Annotated, Any, ClassVar, Final, Literal
from urllib.parse import parse_qsl

from pydantic import Field

from shared.simulator import contents
from shared.simulator.faults import TAKEN, Fate, FaultProfile, retry_after
from shared.simulator.http_provider import HttpProvider
from shared.simulator.magic_numbers import magic_numbers
from shared.simulator.record import Capture
from shared.simulator.twilio_callbacks import status_callbacks
from shared.simulator.twilio_message import Message, describe, problem_of
from shared.simulator.wire.exchange import HTML, Reply, Request

ErrorStatus = Literal[500, 502, 503]

PATH: Final = re.compile(r"/2010-04-01/Accounts/(AC[0-9a-f]{32})/Messages\.json")
FORM: Final = "application/x-www-form-urlencoded"


@dataclass(frozen=True, slots=True, kw_only=True)
class TwilioProfile(FaultProfile):
    limit_in_flight: Annotated[int, Field(ge=1)] | None = None  # requests at a time; None: no limit
    server_error_statuses: Annotated[tuple[ErrorStatus, ...], Field(min_length=1)] = (500, 502, 503)


class Twilio(HttpProvider):
    name: ClassVar[str] = "twilio"
    profile: ClassVar[FaultProfile] = TwilioProfile()
    words = magic_numbers(
        {
            Fate.DEAD_ADDRESS: "400, 21211 invalid number",
            Fate.REFUSED: "400, 21618 the body cannot be sent",
            Fate.THROTTLED: "429, 20429 with Retry-After, then accepted",
            Fate.TRANSIENT: "429, 20429 without Retry-After, then accepted",
            Fate.OPTED_OUT: "400, 21610 unsubscribed",
            Fate.ACCOUNT_FAULT: "400, 21606 the sender is not one of the account's",
            Fate.SERVER_ERROR: "500, 502 or 503",
        }
    )

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._ends: list[float] = []  # a heap: when the requests in flight will have been answered

    def credentials(self) -> Mapping[str, Any]:
        return {
            "accountSid": f"AC{self.keyring.secret('twilio-sid')}",
            "authToken": self.keyring.secret("twilio-token"),
        }

    def answer(self, request: Request) -> Reply | None:
        path = PATH.fullmatch(request.path)
        if path is None:
            return None
        reply = self._answer(request, path[1])
        return replace(reply, headers=(*reply.headers, *self._traces(reply)))

    def _answer(self, request: Request, account: str) -> Reply:
        if not self._knows(request.header(b"authorization")):
            return self._refuse("unauthenticated", _error(401, 20003, "Authenticate"))
        if account != self.credentials()["accountSid"]:
            return self._refuse("not_found", _error(404, 20404, f"The requested resource {request.path} was not found"))
        if request.method != "POST":
            return self._refuse("bad_request", _error(405, 20004, "Method not allowed"))
        if self._is_crowded():
            return self._refuse(Fate.OVER_LIMIT, self._throttled())
        is_form = request.header(b"content-type").startswith(FORM)
        fields = dict(parse_qsl(request.body.decode("utf-8", "replace"))) if is_form else {}
        if (problem := problem_of(fields)) is not None:
            return self._refuse("bad_request", _error(400, *problem))
        return self._decide(Message(f"SM{secrets.token_hex(16)}", account, fields, self.fate_of(fields["To"])))

    def _knows(self, authorization: str) -> bool:
        known = self.credentials()
        expected = b64encode(f"{known['accountSid']}:{known['authToken']}".encode())
        return compare_digest(authorization.encode(), b"Basic " + expected)

    def _is_crowded(self) -> bool:
        now, limit = time.monotonic(), self.plan.profile.limit_in_flight
        while self._ends and self._ends[0] <= now:
            heappop(self._ends)
        return limit is not None and len(self._ends) >= limit

    def _decide(self, message: Message) -> Reply:
        reply = self._accept(message) if message.fate in TAKEN else self._refuse(message.fate, self._refusal(message))
        reply = self.in_manner_of(reply, message.recipient, message.fate)
        heappush(self._ends, time.monotonic() + reply.manner.delay_seconds + reply.manner.trickle_seconds)
        return reply

    def _accept(self, message: Message) -> Reply:
        self.record.append(
            Capture(
                provider=self.name,
                recipient=message.recipient,
                message=message.sid,
                key=message.key,
                title=message.text,
                outcome=message.fate,
                content=contents.sms(message.text, sender=message.sender),
            )
        )
        self.post_receipts(status_callbacks(message, self.credentials()["authToken"]))
        return _reply(201, describe(message))

    def _refusal(self, message: Message) -> Reply:
        match message.fate:
            case Fate.THROTTLED | Fate.OVER_LIMIT:
                return self._throttled()
            case Fate.SERVER_ERROR:
                return _SERVER_ERRORS[self.plan.pick(message.recipient, self.plan.profile.server_error_statuses)]
            case Fate.SILENT:
                return Reply(503)  # never sent
            case fate:
                return _REFUSALS[fate]

    def _throttled(self) -> Reply:
        return replace(_TOO_MANY, headers=retry_after(self.plan.profile))

    def _refuse(self, outcome: str, reply: Reply) -> Reply:
        self.record.count(self.name, outcome)
        return reply

    def _traces(self, reply: Reply) -> Iterator[tuple[bytes, bytes]]:
        yield b"twilio-request-id", f"RQ{secrets.token_hex(16)}".encode()
        yield b"twilio-concurrent-requests", b"%d" % max(1, len(self._ends))
        yield b"twilio-request-duration", b"%.3f" % reply.manner.delay_seconds


def _reply(status: int, document: Mapping[str, Any]) -> Reply:
    return Reply(status, json.dumps(document).encode(), b"application/json")


def _error(status: int, code: int, words: str) -> Reply:
    document = {
        "code": code,
        "message": words,
        "more_info": f"https://www.twilio.com/docs/errors/{code}",
        "status": status,
    }
    return _reply(status, document)


_TOO_MANY: Final = _error(429, 20429, "Too Many Requests")
_REFUSALS: Final = {
    Fate.DEAD_ADDRESS: _error(400, 21211, "Invalid 'To' Phone Number"),
    Fate.REFUSED: _error(400, 21618, "The message body cannot be sent"),
    Fate.OPTED_OUT: _error(400, 21610, "Attempt to send to unsubscribed recipient"),
    Fate.ACCOUNT_FAULT: _error(400, 21606, "The 'From' phone number is not a valid, message-capable Twilio number"),
    Fate.TRANSIENT: _TOO_MANY,
}
_SERVER_ERRORS: Final = {
    500: _error(500, 20500, "An internal server error has occurred"),
    502: Reply(502, b"<html><head><title>502 Bad Gateway</title></head></html>", HTML),
    503: _error(503, 20503, "Service unavailable"),
}
