"""MSG91's flow API v5: a template for many phones; errors under status 200, repeats dropped, webhooks per request."""

import json
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from hmac import compare_digest
from typing import Annotated, Any, ClassVar, Final

from pydantic import Field

from shared.simulator import contents
from shared.simulator.faults import Fate, FaultProfile, retry_after
from shared.simulator.http_provider import HttpProvider
from shared.simulator.magic_numbers import magic_numbers
from shared.simulator.msg91_flow import Flow, Generation, Repeats, webhooks
from shared.simulator.record import Capture
from shared.simulator.sms_call import CALL_FATES, draw
from shared.simulator.wire.exchange import HTML, Reply, Request

PATHS: Final = frozenset({"/api/v5/flow", "/api/v5/flow/"})
LARGEST_CALL: Final = 1_000
"""Phones; its documents name no limit, so one that no careful client comes near."""

PHONE: Final = re.compile(r"[1-9]\d{6,14}", re.ASCII)
REFERENCE: Final = re.compile(r"[A-Za-z0-9_.-]{1,80}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Msg91Profile(FaultProfile):
    duplicate_seconds: Annotated[float, Field(ge=0, le=600)] = 10.0  # the same to the same phone is dropped for so long
    receipt_generation: Generation = "v2"  # as chosen in the account


class Msg91(HttpProvider):
    name: ClassVar[str] = "msg91"
    profile: ClassVar[FaultProfile] = Msg91Profile()
    words = magic_numbers(
        {
            Fate.DEAD_ADDRESS: "200 with error 202 for the call: a number is not valid",
            Fate.REFUSED: "200 with an error without a code for the call",
            Fate.THROTTLED: "429 for the call, then accepted",
            Fate.TRANSIENT: "429 for the call, then accepted",
            Fate.OPTED_OUT: "accepted; the receipt says 9, NDNC",
            Fate.ACCOUNT_FAULT: "200 with error 301 for the call: the balance is too low",
            Fate.SERVER_ERROR: "500 for the call",
        }
    )

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._repeats = Repeats()

    def credentials(self) -> Mapping[str, Any]:
        return {
            "templateId": self.keyring.secret("msg91-template", 24),
            "senderId": "SIMULA",
            "authKey": self.keyring.secret("msg91"),
        }

    def answer(self, request: Request) -> Reply | None:
        if request.path not in PATHS:
            return None
        if request.method != "POST":
            return _error("Method not allowed", status=405)
        if not compare_digest(request.header(b"authkey").encode(), self.credentials()["authKey"].encode()):
            return self._refuse("unauthenticated", _NOT_KNOWN)
        document = _parse(request.body)
        if (problem := self._problem_of(document)) is not None:
            return self._refuse("bad_request", problem)
        return self._send(document)

    def _problem_of(self, document: Any) -> Reply | None:
        if not isinstance(document, dict):
            return _error("Invalid JSON", status=400)
        if document.get("template_id", document.get("flow_id")) != self.credentials()["templateId"]:
            return _error("template id missing or template not found")
        recipients = document.get("recipients")
        if not isinstance(recipients, list) or not 1 <= len(recipients) <= LARGEST_CALL:
            return _error("recipients is missing or too long")
        phones = [recipient.get("mobiles") if isinstance(recipient, dict) else None for recipient in recipients]
        if not all(isinstance(phone, str) and PHONE.fullmatch(phone) for phone in phones):
            return _error("Invalid mobile number", code="202")
        if not REFERENCE.fullmatch(str(document.get("CRQID", "0"))):
            return _error("CRQID has at most 80 letters, digits, and _.-")
        return None

    def _send(self, document: dict[str, Any]) -> Reply:
        recipients: list[dict[str, str]] = document["recipients"]
        drawn = draw(self, [f"+{recipient['mobiles']}" for recipient in recipients])
        if (found := drawn.whose(*CALL_FATES)) is not None:
            phone, fate = found
            return self.in_manner_of(self._refuse(fate, self._failure(fate)), phone, fate)
        for fate, reply in _ABOUT_NUMBERS.items():
            if fate in drawn.fates:
                return self._refuse(fate, reply)
        taken = [
            (recipient, fate)
            for recipient, fate in zip(recipients, drawn.fates, strict=True)
            if self._is_new(document, recipient)
        ]
        if not taken:
            return self._refuse("duplicate", _DUPLICATE)
        request_id = self._take(document, taken)
        phone, fate = drawn.whose(Fate.DROPPED, Fate.SLOW) or (drawn.phones[0], Fate.ACCEPTED)
        return self.in_manner_of(_reply(200, {"type": "success", "message": request_id}), phone, fate)

    def _is_new(self, document: Mapping[str, Any], recipient: Mapping[str, str]) -> bool:
        what = (str(document.get("sender")), *(f"{name}={value}" for name, value in sorted(recipient.items())))
        return self._repeats.is_new(what, self.plan.profile.duplicate_seconds)

    def _take(self, document: Mapping[str, Any], taken: Sequence[tuple[Mapping[str, str], Fate]]) -> str:
        """Put them on record; the request's id."""
        flow = Flow(
            request_id=secrets.token_hex(12),
            sender=str(document.get("sender") or self.credentials()["senderId"]),
            reference=str(document.get("CRQID") or ""),
            taken=[(f"+{recipient['mobiles']}", fate) for recipient, fate in taken],
        )
        for (phone, fate), (recipient, _) in zip(flow.taken, taken, strict=True):
            variables = {name: str(value) for name, value in recipient.items() if name != "mobiles"}
            text = variables.get("content") or " ".join(variables.values())  # the simulated template has nothing else
            self.record.append(
                Capture(
                    provider=self.name,
                    recipient=phone,
                    message=flow.request_id,
                    key=flow.key(variables),
                    title=text,
                    outcome=fate,
                    content={
                        **contents.sms(text, sender=flow.sender),
                        "template": self.credentials()["templateId"],
                        "reference": flow.reference,
                    },
                )
            )
        if self.receipts_url:
            self.post_receipts(webhooks(flow, self.receipts_url, self.plan.profile.receipt_generation))
        return flow.request_id

    def _failure(self, fate: Fate) -> Reply:
        match fate:
            case Fate.THROTTLED | Fate.TRANSIENT:
                reply = _error("Too many requests", status=429)
                return replace(reply, headers=retry_after(self.plan.profile)) if fate is Fate.THROTTLED else reply
            case Fate.ACCOUNT_FAULT:
                return _error("Insufficient balance to send SMS", code="301")
            case _:  # of a silent one, never sent
                return Reply(500, b"<html><h1>500 Internal Server Error</h1></html>", HTML)

    def _refuse(self, outcome: str, reply: Reply) -> Reply:
        self.record.count(self.name, outcome)
        return reply


def _parse(body: bytes) -> Any:
    """None, which is no valid request either, where it is not JSON."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _error(words: str, *, status: int = 200, code: str | None = None) -> Reply:
    return _reply(status, {"type": "error", "message": words, **({"code": code} if code else {})})


def _reply(status: int, document: Mapping[str, Any]) -> Reply:
    return Reply(status, json.dumps(document).encode(), b"application/json")


_NOT_KNOWN: Final = _reply(
    401, {"status": "fail", "hasError": True, "errors": "Unauthorized", "code": "401", "apiError": "201"}
)
_DUPLICATE: Final = _error("Request discarded: the same was sent within the last seconds", code="311")
_ABOUT_NUMBERS: Final = {
    Fate.DEAD_ADDRESS: _error("Invalid mobile number", code="202"),
    Fate.REFUSED: _error("This recipient is not wanted"),
}
