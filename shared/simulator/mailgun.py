"""Mailgun's messages: forms, recipient variables, and calls that one bad address sinks."""

import base64
import hmac
import json
import re
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from email.utils import formatdate
from hashlib import sha256
from typing import Any, ClassVar

from shared.simulator.faults import Fate, retry_after
from shared.simulator.form import Form, read_form
from shared.simulator.mailer import Copy, Mailer, News, Taken, bare_address, is_address, mail_words, shown_headers
from shared.simulator.outgoing import OutgoingCall
from shared.simulator.wire.exchange import Reply, Request

PATH = re.compile(r"/v3/([^/]+)/messages")
MOST_RECIPIENTS = 1_000
LARGEST_MAIL_BYTES = 25 * 1024**2
LARGEST_OPTIONS_BYTES = 16 * 1024

BAD_ADDRESS = "'to' parameter is not a valid address. please check documentation"

_SEPARATOR = re.compile(r',(?=(?:[^"]*"[^"]*")*[^"]*$)')
_VARIABLE = re.compile(r"%recipient\.(\w+)%")


@dataclass(frozen=True, slots=True)
class _Refused(Exception):
    status: int
    message: str


class Mailgun(Mailer):
    name: ClassVar[str] = "mailgun"
    words = mail_words(
        dead="400 for the call, naming nobody",
        throttled="420 for the call, with the date",
        flaky="503 for the call",
        broken="500 for the call",
    )

    def credentials(self) -> Mapping[str, Any]:
        return {
            "apiKey": f"key-{self.keyring.secret('mailgun')}",
            "domain": "mg.simulator.invalid",
            "isEuRegion": False,
        }

    @property
    def receipts_secret(self) -> str:
        return self.keyring.secret("mailgun-receipts")

    def answer(self, request: Request) -> Reply | None:
        place = PATH.fullmatch(request.path)
        if place is None:
            return None
        try:
            return self._send(request, place[1])
        except _Refused as refusal:
            self.record.count(self.name, "unauthenticated" if refusal.status == 401 else "bad_request")
            return _said(refusal.status, refusal.message)

    def _send(self, request: Request, domain: str) -> Reply:
        credentials = self.credentials()
        login = base64.b64encode(f"api:{credentials['apiKey']}".encode()).decode()
        if request.header(b"authorization") != f"Basic {login}":
            return self._forbidden()
        if domain != credentials["domain"]:
            raise _Refused(404, f"Domain not found: {domain}")
        form = read_form(request)
        if request.method != "POST" or form is None:
            raise _Refused(400, "This address takes forms.")
        recipients = _recipients_of(form)
        _check(form, recipients)
        return self._decide(form, recipients, domain)

    def _forbidden(self) -> Reply:
        self.record.count(self.name, "unauthenticated")
        return Reply(401, b"Forbidden", b"text/plain")

    def _decide(self, form: Form, recipients: Sequence[str], domain: str) -> Reply:
        fates = self.draw(recipients)
        if (place := self.heaviest(fates)) is not None:
            return self.turn_away(self._refusal(fates[place]), fates, recipients, place)
        if Fate.DEAD_ADDRESS in fates:
            self.record.count(self.name, Fate.DEAD_ADDRESS)
            return _said(400, BAD_ADDRESS)
        message = f"{time.strftime('%Y%m%d%H%M%S', time.gmtime())}.{self.record.n:x}@{domain}"
        if form.first("o:testmode") != "yes":
            self.take(_copies(form, recipients), fates, [message] * len(recipients))
        reply = Reply(200, json.dumps({"id": f"<{message}>", "message": "Queued. Thank you."}).encode())
        return self.answered(reply, fates, recipients)

    def _refusal(self, fate: Fate) -> Reply:
        profile = self.plan.profile
        match fate:
            case Fate.THROTTLED:
                date = formatdate(time.time() + (profile.retry_after_seconds or 60), usegmt=True)
                return _said(420, f"recipient limit exceeded, try again after {date}")
            case Fate.OVER_LIMIT:
                return replace(_said(429, "Too many requests"), headers=retry_after(profile))
            case Fate.TRANSIENT:
                return Reply(503, b"<html><h1>503 Service Unavailable</h1></html>", b"text/html")
            case _:
                return _said(500, "Something broke on this side.")

    # receipts

    def receipts_of(self, taken: Sequence[Taken]) -> list[OutgoingCall]:
        """One for each mail, signed over a time and a token."""
        return [self._receipt(mail) for mail in taken]

    def _receipt(self, mail: Taken) -> OutgoingCall:
        timestamp, token = str(int(time.time())), secrets.token_hex(25)
        signature = hmac.new(self.receipts_secret.encode(), f"{timestamp}{token}".encode(), sha256).hexdigest()
        said: dict[News, dict[str, Any]] = {
            News.DELIVERED: {"event": "delivered", "delivery-status": {"code": 250, "message": "OK"}},
            News.BOUNCED: {
                "event": "failed",
                "severity": "permanent",
                "reason": "bounce",
                "delivery-status": {"code": 550, "message": "5.1.1 Nobody of this name lives here"},
            },
            News.COMPLAINED: {"event": "complained"},
            News.UNSUBSCRIBED: {"event": "unsubscribed"},
        }
        event = {
            "id": secrets.token_urlsafe(16),
            "timestamp": mail.at,
            "recipient": mail.recipient,
            "message": {"headers": {"message-id": mail.message}},
            "user-variables": {"tidings_delivery": mail.delivery} if mail.delivery else {},
            **said[mail.news],
        }
        signed = {"timestamp": timestamp, "token": token, "signature": signature}
        body = json.dumps({"signature": signed, "event-data": event}).encode()
        return OutgoingCall(self.receipts_url, (("content-type", "application/json"),), body)


def _recipients_of(form: Form) -> list[str]:
    """Everybody under to, cc and bcc, bare."""
    fields = [value for role in ("to", "cc", "bcc") for value in form.fields.get(role, ())]
    return [bare_address(one) for value in fields for one in _SEPARATOR.split(value) if one.strip()]


def _check(form: Form, recipients: Sequence[str]) -> None:
    """Raises _Refused for the first thing that is wrong."""
    if not is_address(bare_address(form.first("from"))):
        raise _Refused(400, "'from' parameter is not a valid address. please check documentation")
    if not recipients or not all(map(is_address, recipients)):
        raise _Refused(400, BAD_ADDRESS)
    if len(recipients) > MOST_RECIPIENTS:
        raise _Refused(400, "A message may have 1000 recipients.")
    if not form.first("text") and not form.first("html"):
        raise _Refused(400, "Need at least one of 'text' or 'html' parameters specified")
    options = (
        name + value for name, values in form.fields.items() if name[:2] in {"o:", "h:", "v:"} for value in values
    )
    if sum(map(len, options)) > LARGEST_OPTIONS_BYTES:
        raise _Refused(400, "The options, headers and variables take more than 16 kB together.")
    texts, files = len(form.first("text")) + len(form.first("html")), sum(file.size for file in form.files)
    if texts + files * 4 // 3 > LARGEST_MAIL_BYTES:
        raise _Refused(413, "The message is larger than 25 MB.")
    _variables_of(form)


def _variables_of(form: Form) -> dict[str, dict[str, Any]] | None:
    """By address; None: there are none, so everybody gets the same mail."""
    if "recipient-variables" not in form.fields:
        return None
    try:
        variables = json.loads(form.first("recipient-variables"))
    except (ValueError, RecursionError) as error:
        raise _Refused(400, "The recipient variables are not JSON.") from error
    if not isinstance(variables, dict) or not all(isinstance(known, dict) for known in variables.values()):
        raise _Refused(400, "The recipient variables are no object of objects.")
    return variables


def _copies(form: Form, recipients: Sequence[str]) -> list[Copy]:
    """With variables a mail for each, that shows no other recipient but those under cc; without, one mail for all."""
    variables = _variables_of(form)
    everybody = ", ".join(form.fields.get("to", ()))
    # a file without a name is dropped, and nobody is told
    files = tuple({"name": f.name, "content_type": f.content_type, "size": f.size} for f in form.files if f.name)
    return [
        _copy(
            form, recipient, everybody if variables is None else recipient, (variables or {}).get(recipient, {}), files
        )
        for recipient in recipients
    ]


def _copy(
    form: Form, recipient: str, shown_to: str, known: Mapping[str, Any], files: tuple[Mapping[str, Any], ...]
) -> Copy:
    def filled(name: str) -> str:
        return _VARIABLE.sub(lambda found: str(known.get(found[1], found[0])), form.first(name))

    subject = filled("subject")
    headers = shown_headers(
        form.first("from"), subject, to=shown_to, cc=form.fields.get("cc", ()), reply_to=filled("h:Reply-To")
    )
    return Copy(
        recipient=recipient,
        sender=bare_address(form.first("from")),
        subject=subject,
        text=filled("text") or None,
        html=filled("html") or None,
        headers=headers,
        attachments=files,
        delivery=filled("v:tidings_delivery") or None,
    )


def _said(status: int, message: str) -> Reply:
    return Reply(status, json.dumps({"message": message}).encode())
