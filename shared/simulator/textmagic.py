"""TextMagic's API v2: sessions of phones, taken or refused as a whole, and callbacks for each message."""

import json
import re
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from hmac import compare_digest
from typing import Any, ClassVar, Final, Literal
from urllib.parse import parse_qsl

from shared.simulator import contents
from shared.simulator.faults import Fate, FaultProfile, retry_after
from shared.simulator.http_provider import HttpProvider
from shared.simulator.magic_numbers import magic_numbers
from shared.simulator.outgoing import OutgoingCall
from shared.simulator.posted_form import PostedForm, posted
from shared.simulator.record import Capture
from shared.simulator.sms_call import CALL_FATES, Drawn, draw
from shared.simulator.textmagic_session import Session, fields_of, problems_of
from shared.simulator.wire.exchange import HTML, Reply, Request

LARGEST_PAGE: Final = 100
KEPT_SESSIONS: Final = 1_000

SESSION_PATH: Final = re.compile(r"/api/v2/sessions/(\d{1,18})/messages")


@dataclass(frozen=True, slots=True, kw_only=True)
class TextmagicProfile(FaultProfile):
    names_phones: bool = False  # whether a refusal says which phones are wrong; its documents do not tell
    receipt_form: PostedForm = "form"  # as chosen in the account
    success_status: Literal[200, 201] = 201  # its documents do not tell


class Textmagic(HttpProvider):
    name: ClassVar[str] = "textmagic"
    profile: ClassVar[FaultProfile] = TextmagicProfile()
    words = magic_numbers(
        {
            Fate.DEAD_ADDRESS: "400 for the call: a phone is not valid",
            Fate.REFUSED: "400 for the call: a phone is in a country that is switched off",
            Fate.THROTTLED: "429 for the call, then accepted",
            Fate.TRANSIENT: "429 for the call, then accepted",
            Fate.OPTED_OUT: "400 for the call: a phone has unsubscribed",
            Fate.ACCOUNT_FAULT: "400 for the call: the balance is too low",
            Fate.SERVER_ERROR: "500 for the call",
        }
    )

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._sessions: OrderedDict[int, Session] = OrderedDict()

    def credentials(self) -> Mapping[str, Any]:
        return {"username": "simulator", "apiKey": self.keyring.secret("textmagic")}

    def answer(self, request: Request) -> Reply | None:
        session = SESSION_PATH.fullmatch(request.path)
        if session is None and request.path != "/api/v2/messages":
            return None
        if not self._knows(request):
            return self._refuse("unauthenticated", _error(401, "Bad credentials"))
        if session is not None:
            return self._show(int(session[1]), request)
        if request.method != "POST":
            return _error(405, "Method Not Allowed")
        return self._send(request)

    def _knows(self, request: Request) -> bool:
        known = self.credentials()
        given = (request.header(b"x-tm-username"), request.header(b"x-tm-key"))
        return compare_digest("\0".join(given).encode(), "\0".join(known.values()).encode())

    def _send(self, request: Request) -> Reply:
        fields = fields_of(request)
        if problems := problems_of(fields):
            return self._refuse("bad_request", _invalid(problems))
        drawn = draw(self, [f"+{phone}" for phone in fields["phones"].split(",")])
        if (found := drawn.whose(*CALL_FATES)) is not None:
            phone, fate = found
            return self.in_manner_of(self._refuse(fate, self._failure(fate)), phone, fate)
        for fate, words in _ABOUT_PHONES.items():
            if phones := drawn.having(fate):
                named = f": {', '.join(phone[1:] for phone in phones)}" if self.plan.profile.names_phones else ""
                return self._refuse(fate, _invalid({"phones": f"{words}{named}"}))
        return self._take(fields, drawn)

    def _take(self, fields: Mapping[str, str], drawn: Drawn) -> Reply:
        session = Session(
            number=self.record.n + 1,
            phones=drawn.phones,
            fates=drawn.fates,
            text=fields["text"],
            sender=fields.get("from", ""),
            reference=fields.get("referenceId", ""),
        )
        self._sessions[session.number] = session
        if len(self._sessions) > KEPT_SESSIONS:
            self._sessions.popitem(last=False)
        shown = contents.sms(session.text, sender=session.sender)
        for message, phone, fate in zip(session.messages(), drawn.phones, drawn.fates, strict=True):
            self.record.append(
                Capture(
                    provider=self.name,
                    recipient=phone,
                    message=str(message["id"]),
                    key=session.key(),
                    title=session.text,
                    outcome=fate,
                    content={**shown, "session": session.number, "reference": session.reference},
                )
            )
        if self.receipts_url:
            self.post_receipts(self._callbacks(session))
        phone, fate = drawn.whose(Fate.DROPPED, Fate.SLOW) or (drawn.phones[0], Fate.ACCEPTED)
        return self.in_manner_of(_reply(self.plan.profile.success_status, session.describe()), phone, fate)

    def _callbacks(self, session: Session) -> Iterator[OutgoingCall]:
        for message in session.messages():
            for status in ("r", message["status"]):
                fields = {name: str(message[name] or "") for name in ("id", "receiver", "sender", "referenceId")}
                yield posted(self.receipts_url, {**fields, "status": status}, self.plan.profile.receipt_form)

    def _show(self, number: int, request: Request) -> Reply:
        """The messages of a session, in pages of at most a hundred."""
        session = self._sessions.get(number)
        if session is None:
            return _error(404, "Session not found")
        wishes = dict(parse_qsl(request.query))
        page, limit = _number(wishes, "page", 1), min(_number(wishes, "limit", 10), LARGEST_PAGE)
        messages = list(session.messages())
        pages = -(-len(messages) // limit)
        shown = messages[(page - 1) * limit : page * limit]
        return _reply(200, {"page": page, "pageCount": pages, "limit": limit, "resources": shown})

    def _failure(self, fate: Fate) -> Reply:
        match fate:
            case Fate.THROTTLED | Fate.TRANSIENT:
                is_told = fate is Fate.THROTTLED
                reply = _error(429, "Too Many Requests")
                return replace(reply, headers=retry_after(self.plan.profile)) if is_told else reply
            case Fate.ACCOUNT_FAULT:
                return _error(400, "You have insufficient balance to send this message")
            case _:  # of a silent one, never sent
                return Reply(500, b"<html><h1>500 Internal Server Error</h1></html>", HTML)

    def _refuse(self, outcome: str, reply: Reply) -> Reply:
        self.record.count(self.name, outcome)
        return reply


_ABOUT_PHONES: Final = {
    Fate.DEAD_ADDRESS: "Some phone numbers are not valid",
    Fate.OPTED_OUT: "Some recipients have unsubscribed",
    Fate.REFUSED: "Sending to the country of some recipients is switched off",
}


def _number(wishes: Mapping[str, str], name: str, default: int) -> int:
    text = wishes.get(name, "")
    return int(text) if re.fullmatch(r"[1-9]\d{0,5}", text, re.ASCII) else default


def _invalid(problems: Mapping[str, str]) -> Reply:
    fields = {name: [words] for name, words in problems.items()}
    return _reply(400, {"code": 400, "message": "Validation Failed", "errors": {"common": [], "fields": fields}})


def _error(status: int, words: str) -> Reply:
    return _reply(status, {"code": status, "message": words})


def _reply(status: int, document: Mapping[str, Any]) -> Reply:
    return Reply(status, json.dumps(document).encode(), b"application/json")
