"""Amazon SES v2: signatures, single mails and bulk calls with a status for each entry, events through SNS."""

import json
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar
from urllib.parse import parse_qs

from shared.simulator.faults import TAKEN, Fate
from shared.simulator.keyring import Keyring
from shared.simulator.mailer import Copy, Mailer, News, Taken, mail_words
from shared.simulator.outgoing import OutgoingCall
from shared.simulator.record import Record
from shared.simulator.ses_mail import BadRequest, bulk_copies, single_copies
from shared.simulator.sigv4 import SignatureRefused, check_signature
from shared.simulator.sns import TOPIC, Sns
from shared.simulator.wire.exchange import Reply, Request

REGION = "eu-central-1"

_STATUSES = {
    Fate.DEAD_ADDRESS: ("INVALID_PARAMETER", "Illegal address"),
    Fate.THROTTLED: ("ACCOUNT_THROTTLED", "Maximum sending rate exceeded."),
    Fate.OVER_LIMIT: ("ACCOUNT_THROTTLED", "Maximum sending rate exceeded."),
    Fate.TRANSIENT: ("TRANSIENT_FAILURE", "Try again."),
}
"""Of one entry among others; what else goes wrong does so for the whole call."""

_ERRORS = {
    Fate.DEAD_ADDRESS: (400, "BadRequestException", "Illegal address: {}"),
    Fate.THROTTLED: (429, "TooManyRequestsException", "Maximum sending rate exceeded."),
    Fate.OVER_LIMIT: (429, "TooManyRequestsException", "Maximum sending rate exceeded."),
    Fate.TRANSIENT: (503, "ServiceUnavailable", "Try again."),
    Fate.SERVER_ERROR: (500, "InternalFailure", "Something broke on this side."),
    Fate.SILENT: (500, "InternalFailure", "Never said."),
}


class Ses(Mailer):
    name: ClassVar[str] = "ses"
    words = mail_words(
        dead="INVALID_PARAMETER for this entry; 400 BadRequestException alone",
        throttled="ACCOUNT_THROTTLED for this entry; 429 alone",
        flaky="TRANSIENT_FAILURE for this entry; 503 alone",
        broken="500 InternalFailure for the call",
    )

    def __init__(self, record: Record, keyring: Keyring) -> None:
        super().__init__(record, keyring)
        self.sns = Sns()
        self._subscribed = ""
        self._paths: Mapping[tuple[str, str], Callable[[Request], Reply]] = {
            ("POST", "/v2/email/outbound-emails"): self._send,
            ("POST", "/v2/email/outbound-bulk-emails"): self._send_bulk,
            ("GET", "/v2/email/account"): self._account,
        }

    def credentials(self) -> Mapping[str, Any]:
        secret = self.keyring.secret("ses", 40)
        return {"accessKey": f"AKIA{secret[:16].upper()}", "secretKey": secret, "region": REGION}

    @property
    def receipts_secret(self) -> str:
        """The topic: who signs is proved by a certificate."""
        return TOPIC

    def answer(self, request: Request) -> Reply | None:
        visit = self._visit(request)
        path = self._paths.get((request.method, request.path))
        if visit is not None or path is None:
            return visit
        authority = request.headers.get(b"host") or request.headers.get(b":authority", b"")
        self.sns.origin = f"https://{authority.decode('latin-1')}"
        account = self.credentials()
        try:
            check_signature(
                request,
                access_key=account["accessKey"],
                secret_key=account["secretKey"],
                region=REGION,
                service="ses",
            )
            return path(request)
        except SignatureRefused as refusal:
            self.record.count(self.name, "unauthenticated")
            return _error(403, str(refusal), "The request is not signed as it must be.")
        except BadRequest as refusal:
            self.record.count(self.name, "bad_request")
            return _error(400, "BadRequestException", str(refusal))

    def _visit(self, request: Request) -> Reply | None:
        """What SNS serves without a signature: its certificate, and confirmations."""
        if request.method != "GET":
            return None
        if request.path.startswith("/SimpleNotificationService-") and request.path == self.sns.certificate_path:
            return Reply(200, self.sns.certificate, b"application/x-pem-file")
        asked = parse_qs(request.query)
        if request.path == "/" and asked.get("Action") == ["ConfirmSubscription"]:
            self.sns.confirmed += asked.get("Token", [])
            return Reply(200, b"<ConfirmSubscriptionResponse/>", b"text/xml")
        return None

    def _send(self, request: Request) -> Reply:
        copies = single_copies(_parse(request.body))
        recipients = [copy.recipient for copy in copies]
        fates = self.draw(recipients)
        for fate, error in _ERRORS.items():
            if fate in fates:
                place = fates.index(fate)
                status, kind, text = error
                refusal = _error(status, kind, text.format(recipients[place]))
                return self.turn_away(refusal, fates, recipients, place)
        message = _message_id()
        self.take(copies, fates, [message] * len(copies))
        return self.answered(_json({"MessageId": message}), fates, recipients)

    def _send_bulk(self, request: Request) -> Reply:
        entries = bulk_copies(_parse(request.body))
        copies = [copy for entry in entries if not isinstance(entry, str) for copy in entry]
        recipients = [copy.recipient for copy in copies]
        fates = self.draw(recipients)
        for fate in (Fate.SILENT, Fate.SERVER_ERROR):
            if fate in fates:
                return self.turn_away(_error(*_ERRORS[fate]), fates, recipients, fates.index(fate))
        fate_of = dict(zip(recipients, fates, strict=True))
        results = [self._take_entry(entry, fate_of) for entry in entries]
        taken = {recipient: fate for recipient, fate in fate_of.items() if fate in TAKEN}
        reply = _json({"BulkEmailEntryResults": results})
        return self.answered(reply, list(taken.values()), list(taken)) if taken else reply

    def _take_entry(self, entry: list[Copy] | str, fate_of: Mapping[str, Fate]) -> dict[str, str]:
        if isinstance(entry, str):
            return {"Status": "INVALID_PARAMETER", "Error": entry}
        fates, message = [fate_of[copy.recipient] for copy in entry], _message_id()
        for fate, (status, text) in _STATUSES.items():
            if fate in fates:
                self.record.count(self.name, fate)
                return {"Status": status, "Error": text}
        self.take(entry, fates, [message] * len(entry))
        return {"Status": "SUCCESS", "MessageId": message}

    def _account(self, _request: Request) -> Reply:
        profile = self.plan.profile
        rate = profile.limit_messages / profile.limit_seconds if profile.limit_messages else 1_000_000.0
        sent = float(self.record.tallies[self.name].captured)
        quota = {"Max24HourSend": 10_000_000.0, "MaxSendRate": rate, "SentLast24Hours": sent}
        return _json({"SendQuota": quota, "SendingEnabled": True, "ProductionAccessEnabled": True})

    # receipts

    def receipts_of(self, taken: Sequence[Taken]) -> list[OutgoingCall]:
        """One notification for each mail; before the first to an address, what asks for its consent."""
        calls = [self.sns.notification(self.receipts_url, json.dumps(_event(mail))) for mail in taken]
        if self.receipts_url == self._subscribed:
            return calls
        self._subscribed = self.receipts_url
        return [self.sns.confirmation(self.receipts_url), *calls]


def _event(mail: Taken) -> dict[str, Any]:
    person = {"emailAddress": mail.recipient}
    dead = {**person, "status": "5.1.1", "diagnosticCode": "smtp; 550 5.1.1 Nobody of this name lives here"}
    said: dict[News, dict[str, Any]] = {
        News.DELIVERED: {"eventType": "Delivery", "delivery": {"recipients": [mail.recipient]}},
        News.BOUNCED: {
            "eventType": "Bounce",
            "bounce": {"bounceType": "Permanent", "bounceSubType": "NoEmail", "bouncedRecipients": [dead]},
        },
        News.COMPLAINED: {"eventType": "Complaint", "complaint": {"complainedRecipients": [person]}},
        News.UNSUBSCRIBED: {
            "eventType": "Subscription",
            "subscription": {"newTopicPreferences": {"unsubscribeAll": True}},
        },
    }
    tags = {"tidings_delivery": [mail.delivery]} if mail.delivery else {}
    return {"mail": {"messageId": mail.message, "destination": [mail.recipient], "tags": tags}, **said[mail.news]}


def _message_id() -> str:
    return f"0107{uuid.uuid4().hex[:12]}-{uuid.uuid4()}-000000"


def _parse(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadRequest("The body is not JSON.") from error


def _json(document: Any) -> Reply:
    return Reply(200, json.dumps(document).encode(), headers=((b"x-amzn-requestid", uuid.uuid4().hex.encode()),))


def _error(status: int, kind: str, text: str) -> Reply:
    reply = _json({"message": text})
    return replace(reply, status=status, headers=(*reply.headers, (b"x-amzn-errortype", kind.encode())))
