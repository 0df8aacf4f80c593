"""Telesign's two APIs for text messages: one number a request, or a text to a thousand that is taken as a whole."""

import json
import secrets
from base64 import b64encode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar, Final, Literal
from urllib.parse import parse_qsl

from pydantic import Field

from shared.simulator import contents
from shared.simulator.faults import TAKEN, Fate, FaultProfile, retry_after
from shared.simulator.http_provider import HttpProvider
from shared.simulator.magic_numbers import magic_numbers
from shared.simulator.record import Capture
from shared.simulator.sms_call import CALL_FATES, draw
from shared.simulator.telesign_login import Doorkeeper
from shared.simulator.telesign_message import Message, Problem, problem_of, problem_of_bulk, read_recipients
from shared.simulator.telesign_reports import delivery_reports, now
from shared.simulator.wire.exchange import Reply, Request

SINGLE: Final = "/v1/messaging"
BULK: Final = "/v1/verify/bulk_sms"

ErrorStatus = Literal[500, 503]


@dataclass(frozen=True, slots=True, kw_only=True)
class TelesignProfile(FaultProfile):
    server_error_statuses: Annotated[tuple[ErrorStatus, ...], Field(min_length=1)] = (500, 503)
    bad_numbers_sink_bulks: bool = False  # or a bulk is taken, and the reports tell which of its numbers are bad


class Telesign(HttpProvider):
    name: ClassVar[str] = "telesign"
    profile: ClassVar[FaultProfile] = TelesignProfile()
    words = magic_numbers(
        {
            Fate.DEAD_ADDRESS: "400, 11000 invalid phone_number; in bulk accepted, the report says 507",
            Fate.REFUSED: "400, 11009 invalid message; in bulk accepted, the report says 520",
            Fate.THROTTLED: "429, 10019 or -40007 with Retry-After, then accepted",
            Fate.TRANSIENT: "429, 10019 or -40007 without Retry-After, then accepted",
            Fate.OPTED_OUT: "accepted; the report says 510, blocked by the subscriber",
            Fate.ACCOUNT_FAULT: "401, 10011 or -20002, not enabled",
            Fate.SERVER_ERROR: "500 or 503",
        }
    )

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        known = self.credentials()
        self._door = Doorkeeper(known["customerId"], known["apiKey"])

    def credentials(self) -> Mapping[str, Any]:
        key = b64encode(bytes.fromhex(self.keyring.secret("telesign-key", 64))).decode()
        return {"customerId": self.keyring.secret("telesign-customer").upper(), "apiKey": key}

    def answer(self, request: Request) -> Reply | None:
        if request.path not in {SINGLE, BULK} or request.method != "POST":
            return None
        is_bulk = request.path == BULK
        if (stranger := self._door.problem_of(request)) is not None:
            problem = Problem(401, *((-30006, "Invalid Signature.") if is_bulk else stranger))
            return self._refuse("unauthenticated", _failure(problem, is_bulk=is_bulk))
        fields = dict(parse_qsl(request.body.decode("utf-8", "replace")))
        if (found := problem_of_bulk(fields) if is_bulk else problem_of(fields)) is not None:
            return self._refuse("bad_request", _failure(found, is_bulk=is_bulk, fields=fields))
        return self._bulk(fields) if is_bulk else self._single(fields)

    def _single(self, fields: Mapping[str, str]) -> Reply:
        recipient = f"+{fields['phone_number']}"
        fate = self.fate_of(recipient)
        if fate not in TAKEN and fate is not Fate.OPTED_OUT:
            return self._turn_away(fate, recipient, is_bulk=False)
        reference = _reference()
        message = Message(
            reference, recipient, fields.get("external_id"), fields["message"], fields.get("sender_id", ""), fate
        )
        self._take([message], fields.get("callback_url") or self.receipts_url, is_bulk=False)
        said = {"code": 290, "description": "Message in progress", "updated_on": now()}
        reply = _reply(200, {"reference_id": reference, "external_id": message.reference, "status": said})
        return self.in_manner_of(reply, recipient, fate)

    def _bulk(self, fields: Mapping[str, str]) -> Reply:
        recipients = read_recipients(fields["recipients"])
        drawn = draw(self, [f"+{number}" for number, _ in recipients])
        if (found := drawn.whose(*CALL_FATES)) is not None:
            phone, fate = found
            return self._turn_away(fate, phone, is_bulk=True)
        if self.plan.profile.bad_numbers_sink_bulks and Fate.DEAD_ADDRESS in drawn.fates:
            return self._refuse(Fate.DEAD_ADDRESS, _failure(Problem(400, -40006, "Bad Request"), is_bulk=True))
        bulk = _reference()
        sender, sessions = fields.get("sender_id", ""), (session for _, session in recipients)
        self._take(
            [
                Message(bulk, phone, session, fields["template"], sender, fate)
                for phone, session, fate in zip(drawn.phones, sessions, drawn.fates, strict=True)
            ],
            self.receipts_url,
            is_bulk=True,
        )
        said = {"code": 293, "description": "Bulk request accepted", "updated_on": now()}
        reply = _reply(200, {"reference_id": bulk, "sub_resource": "bulk_sms", "status": said, "errors": []})
        phone, fate = drawn.whose(Fate.DROPPED, Fate.SLOW) or (drawn.phones[0], Fate.ACCEPTED)
        return self.in_manner_of(reply, phone, fate)

    def _take(self, messages: Iterable[Message], url: str, *, is_bulk: bool) -> None:
        """On record, unless it turns out afterwards that nothing could be sent."""
        for message in messages:
            if message.fate in TAKEN or message.fate is Fate.OPTED_OUT:
                self.record.append(
                    Capture(
                        provider=self.name,
                        recipient=message.recipient,
                        message=message.id,
                        key=message.key,
                        title=message.text,
                        outcome=message.fate,
                        delivery=message.reference,
                        content=contents.sms(message.text, sender=message.sender),
                    )
                )
            else:
                self.record.count(self.name, message.fate)
            if url:
                known = self.credentials()
                self.post_receipts(
                    report.call(url, known["customerId"], known["apiKey"])
                    for report in delivery_reports(message, is_bulk=is_bulk)
                )

    def _turn_away(self, fate: Fate, recipient: str, *, is_bulk: bool) -> Reply:
        profile = self.plan.profile
        status = self.plan.pick(recipient, profile.server_error_statuses)
        code, words = _REFUSALS.get(fate, _UNAVAILABLE)[is_bulk]
        reply = _failure(Problem(_STATUSES.get(fate, status), code, words), is_bulk=is_bulk)
        if fate in {Fate.THROTTLED, Fate.OVER_LIMIT}:
            reply = replace(reply, headers=retry_after(profile))
        return self.in_manner_of(self._refuse(fate, reply), recipient, fate)

    def _refuse(self, outcome: str, reply: Reply) -> Reply:
        self.record.count(self.name, outcome)
        return reply


def _reference() -> str:
    return secrets.token_hex(16).upper()


def _reply(status: int, document: Mapping[str, Any]) -> Reply:
    return Reply(status, json.dumps(document).encode(), b"application/json")


def _failure(problem: Problem, *, is_bulk: bool, fields: Mapping[str, str] | None = None) -> Reply:
    """Single requests say it in the status, bulks in errors; either has a reference."""
    document: dict[str, Any] = {"reference_id": _reference()}
    if is_bulk:
        status = {"code": 500, "description": "Transaction not attempted", "updated_on": now()}
        errors = [{"code": problem.code, "description": problem.words}]
        document |= {"sub_resource": "bulk_sms", "status": status, "errors": errors}
    else:
        status = {"code": problem.code, "description": problem.words, "updated_on": now()}
        document |= {"status": status, "external_id": (fields or {}).get("external_id")}
    return _reply(problem.status, document)


_TOO_MANY: Final = ((10019, "Rate Limit Exceeded"), (-40007, "Rate Limit Exceeded"))
_UNAVAILABLE: Final = (
    (10000, "System Unavailable, Please try again later."),
    (-90001, "System Unavailable, please try again later."),
)
_REFUSALS: Final[Mapping[Fate, tuple[tuple[int, str], tuple[int, str]]]] = {
    Fate.DEAD_ADDRESS: ((11000, "Invalid value for parameter phone_number."),) * 2,
    Fate.REFUSED: ((11009, "Invalid value for parameter message."),) * 2,
    Fate.THROTTLED: _TOO_MANY,
    Fate.OVER_LIMIT: _TOO_MANY,
    Fate.TRANSIENT: _TOO_MANY,
    Fate.ACCOUNT_FAULT: (
        (10011, "This product is not enabled for this CustomerID."),
        (-20002, "This product is not enabled for this Customer ID."),
    ),
}
"""Alone, and in bulk."""
_STATUSES: Final[Mapping[Fate, int]] = {
    Fate.DEAD_ADDRESS: 400,
    Fate.REFUSED: 400,
    Fate.THROTTLED: 429,
    Fate.OVER_LIMIT: 429,
    Fate.TRANSIENT: 429,
    Fate.ACCOUNT_FAULT: 401,
}
