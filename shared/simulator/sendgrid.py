"""SendGrid's Mail Send v3: a call is accepted or refused as a whole; errors name the field."""

import base64
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from shared.simulator.faults import Fate, retry_after
from shared.simulator.mailer import Mailer, News, Taken, mail_words
from shared.simulator.outgoing import OutgoingCall
from shared.simulator.sendgrid_mail import Error, copies_of, errors_of, get, naming
from shared.simulator.wire.exchange import Reply, Request

LARGEST_REQUEST_BYTES = 30 * 1024**2


class Sendgrid(Mailer):
    name: ClassVar[str] = "sendgrid"
    words = mail_words(
        dead="400 for the call, naming the address",
        throttled="429 for the call",
        flaky="503 for the call",
        broken="500 for the call",
    )

    def credentials(self) -> Mapping[str, Any]:
        return {"apiKey": f"SG.{self.keyring.secret('sendgrid', 48)}"}

    @property
    def receipts_secret(self) -> str:
        public = self._key().public_key()
        der = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        return base64.b64encode(der).decode()

    def answer(self, request: Request) -> Reply | None:
        if request.path != "/v3/mail/send":
            return None
        reply = self._send(request)
        return replace(reply, headers=(*reply.headers, *self._limits()))

    def _send(self, request: Request) -> Reply:
        refusal = self._at_the_door(request)
        if refusal is not None:
            return refusal
        document = _parse(request.body)
        if found := list(errors_of(document)):
            self.record.count(self.name, "bad_request")
            return _errors(400, *found)
        if get(document, "mail_settings", "sandbox_mode", "enable"):
            return Reply(200)
        return self._decide(document)

    def _at_the_door(self, request: Request) -> Reply | None:
        if request.method != "POST":
            return _errors(405, (None, "This address takes POST."))
        if request.header(b"authorization") != f"Bearer {self.credentials()['apiKey']}":
            self.record.count(self.name, "unauthenticated")
            return _errors(401, (None, "The provided authorization grant is not valid here."))
        if not {"application/json", "*/*"} & {one.strip() for one in request.header(b"accept").split(",")}:
            return _errors(406, (None, "The answers are JSON, which the request does not accept."))
        if len(request.body) > LARGEST_REQUEST_BYTES:
            return _errors(413, (None, "The mail is larger than 30 MB."))
        return None

    def _decide(self, document: dict[str, Any]) -> Reply:
        copies = list(copies_of(document))
        recipients = [copy.recipient for copy in copies]
        fates = self.draw(recipients)
        if (place := self.heaviest(fates)) is not None:
            return self.turn_away(self._refusal(fates[place]), fates, recipients, place)
        if Fate.DEAD_ADDRESS in fates:
            dead = {recipient for recipient, fate in zip(recipients, fates, strict=True) if fate is Fate.DEAD_ADDRESS}
            for _ in dead:
                self.record.count(self.name, Fate.DEAD_ADDRESS)
            return _errors(400, *naming(document, dead))
        message = f"{time.time_ns():x}{self.record.n:x}"
        self.take(copies, fates, [message] * len(copies))
        return self.answered(Reply(202, headers=((b"x-message-id", message.encode()),)), fates, recipients)

    def _refusal(self, fate: Fate) -> Reply:
        match fate:
            case Fate.THROTTLED | Fate.OVER_LIMIT:
                return replace(_errors(429, (None, "too many requests")), headers=retry_after(self.plan.profile))
            case Fate.TRANSIENT:
                return Reply(503, b"<html><h1>503 Service Unavailable</h1></html>", b"text/html")
            case _:
                return _errors(500, (None, "Something broke on this side."))

    def _limits(self) -> tuple[tuple[bytes, bytes], ...]:
        reset = int(time.time()) + (self.plan.profile.retry_after_seconds or 1)
        return (
            (b"x-ratelimit-limit", b"600"),
            (b"x-ratelimit-remaining", b"599"),
            (b"x-ratelimit-reset", b"%d" % reset),
        )

    # receipts

    def receipts_of(self, taken: Sequence[Taken]) -> list[OutgoingCall]:
        """All in one call, signed over the time and the body."""
        body = json.dumps([self._event(mail, number) for number, mail in enumerate(taken)]).encode()
        timestamp = str(int(time.time()))
        signature = self._key().sign(timestamp.encode() + body, ec.ECDSA(hashes.SHA256()))
        headers = (
            ("content-type", "application/json"),
            ("x-twilio-email-event-webhook-timestamp", timestamp),
            ("x-twilio-email-event-webhook-signature", base64.b64encode(signature).decode()),
        )
        return [OutgoingCall(self.receipts_url, headers, body)]

    def _event(self, mail: Taken, number: int) -> dict[str, Any]:
        said: dict[News, dict[str, str]] = {
            News.DELIVERED: {"event": "delivered", "response": "250 OK"},
            News.BOUNCED: {
                "event": "bounce",
                "type": "bounce",
                "status": "5.1.1",
                "reason": "550 5.1.1 Nobody of this name lives here",
            },
            News.COMPLAINED: {"event": "spamreport"},
            News.UNSUBSCRIBED: {"event": "unsubscribe"},
        }
        return {
            "email": mail.recipient,
            "timestamp": int(mail.at),
            "sg_event_id": f"{mail.message}-{mail.delivery or number}",
            "sg_message_id": f"{mail.message}.recvd-simulator-{number}.0",
            **({"tidings_delivery": mail.delivery} if mail.delivery else {}),
            **said[mail.news],
        }

    def _key(self) -> ec.EllipticCurvePrivateKey:
        return ec.derive_private_key(int(self.keyring.secret("sendgrid-receipts", 60), 16), ec.SECP256R1())


def _errors(status: int, *found: Error) -> Reply:
    document = {"errors": [{"message": text, "field": field, "help": None} for field, text in found]}
    return Reply(status, json.dumps(document).encode())


def _parse(body: bytes) -> Any:
    """None, which is no valid request either, where it is not JSON."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None
