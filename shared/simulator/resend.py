"""Resend's API: single mails and batches, strict or permissive, and calls that are recognised when they come again."""

import base64
import hmac
import json
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any, ClassVar

from shared.simulator.faults import TAKEN, Fate, retry_after
from shared.simulator.keyring import Keyring
from shared.simulator.mailer import Mailer, News, Taken, mail_words
from shared.simulator.outgoing import OutgoingCall
from shared.simulator.record import Record
from shared.simulator.resend_mail import copies_of, is_lost, problem_of, recipients_of
from shared.simulator.wire.exchange import Reply, Request
from shared.simulator.wire.manner import PROMPT

MOST_MAILS = 100
KEPT_KEYS = 10_000
KEPT_SECONDS = 24 * 3600.0

BAD_TO = "Invalid `to` field. Nobody can have this address."


@dataclass(frozen=True, slots=True)
class _Answered:
    """A call that was taken under an idempotency key."""

    body: bytes  # its hash
    reply: Reply
    at: float  # when the reply has left, however slowly


class Resend(Mailer):
    name: ClassVar[str] = "resend"
    words = mail_words(
        dead="an error for this mail of a batch; 422 alone",
        throttled="429 for the call",
        flaky="503 for the call",
        broken="500 for the call",
    )

    def __init__(self, record: Record, keyring: Keyring) -> None:
        super().__init__(record, keyring)
        self._answered: dict[str, _Answered] = {}  # by key, oldest first

    def credentials(self) -> Mapping[str, Any]:
        return {"apiKey": f"re_{self.keyring.secret('resend')}"}

    @property
    def receipts_secret(self) -> str:
        return f"whsec_{base64.b64encode(self.keyring.secret('resend-receipts').encode()).decode()}"

    def answer(self, request: Request) -> Reply | None:
        if request.path not in {"/emails", "/emails/batch"}:
            return None
        refusal = self._at_the_door(request)
        if refusal is not None:
            self.record.count(self.name, "unauthenticated")
            return refusal
        key = request.header(b"idempotency-key")
        reply = self._known(key, request.body) or self._send(request, key)
        limits = ((b"ratelimit-limit", b"100"), (b"ratelimit-remaining", b"99"), (b"ratelimit-reset", b"1"))
        return replace(reply, headers=(*reply.headers, *limits))

    def _at_the_door(self, request: Request) -> Reply | None:
        if not request.header(b"user-agent"):
            return Reply(403, b"error code: 1010", b"text/plain")
        key = request.header(b"authorization").removeprefix("Bearer ")
        if not key:
            return _error(401, "missing_api_key", "There is no key in the authorization header.")
        if key != self.credentials()["apiKey"]:
            return _error(403, "invalid_api_key", "This key is not valid.")
        return None if request.method == "POST" else _error(405, "method_not_allowed", "This address takes POST.")

    # calls that come again

    def _known(self, key: str, body: bytes) -> Reply | None:
        known = self._answered.get(key)
        if known is None or known.at + KEPT_SECONDS < time.time():
            return None
        if known.body != sha256(body).digest():
            return _error(409, "invalid_idempotent_request", "Another body came under this key.")
        if known.at > time.time():
            return _error(409, "concurrent_idempotent_requests", "The same call is still being answered.")
        self.record.count(self.name, "repeated")
        return known.reply

    def _remember(self, key: str, body: bytes, reply: Reply) -> None:
        if not key:
            return
        while len(self._answered) >= KEPT_KEYS:
            del self._answered[next(iter(self._answered))]
        at = time.time() + reply.manner.delay_seconds + reply.manner.trickle_seconds
        self._answered[key] = _Answered(sha256(body).digest(), replace(reply, manner=PROMPT), at)

    # sending

    def _send(self, request: Request, key: str) -> Reply:
        is_batch = request.path == "/emails/batch"
        mails = _parse(request.body)
        if not is_batch:
            mails = [mails]
        if not isinstance(mails, list) or not 1 <= len(mails) <= MOST_MAILS:
            return _error(422, "validation_error", "A batch is a list of 1 to 100 mails.")
        if is_batch:  # attachments are not for batches, and nobody is told
            mails = [{**mail, "attachments": []} if isinstance(mail, dict) else mail for mail in mails]
        problems = {number: problem for number, mail in enumerate(mails) if (problem := problem_of(mail))}
        is_permissive = is_batch and request.header(b"x-batch-validation") == "permissive"
        if problems and not is_permissive:
            self.record.count(self.name, "bad_request")
            return _error(422, "validation_error", next(iter(problems.values())))
        reply = self._decide(mails, problems, is_batch=is_batch, is_permissive=is_permissive)
        if reply.status == 200:
            self._remember(key, request.body, reply)
        return reply

    def _decide(self, mails: list[Any], problems: dict[int, str], *, is_batch: bool, is_permissive: bool) -> Reply:
        """`problems` by the place of a mail; those with one are not made."""
        asked = [number for number in range(len(mails)) if number not in problems]
        people = {number: recipients_of(mails[number]) for number in asked}
        recipients = [recipient for number in asked for recipient in people[number]]
        fates = self.draw(recipients)
        if (place := self.heaviest(fates)) is not None:
            return self.turn_away(self._refusal(fates[place]), fates, recipients, place)
        fate_of = dict(zip(recipients, fates, strict=True))
        for number in asked:
            if any(fate_of[recipient] is Fate.DEAD_ADDRESS for recipient in people[number]):
                self.record.count(self.name, Fate.DEAD_ADDRESS)
                problems[number] = BAD_TO
        if problems and not is_permissive:
            return _error(422, "validation_error", next(iter(problems.values())))
        ids = {number: str(uuid.uuid4()) for number in asked if number not in problems}
        self._take(mails, ids, fate_of)
        taken = {recipient: fate for recipient, fate in fate_of.items() if fate in TAKEN}
        reply = Reply(200, json.dumps(_success(ids, problems, is_batch=is_batch)).encode())
        return self.answered(reply, list(taken.values()), list(taken)) if taken else reply

    def _take(self, mails: Sequence[Any], ids: Mapping[int, str], fate_of: Mapping[str, Fate]) -> None:
        copies = [(copy, ids[n]) for n in ids if not is_lost(mails[n]) for copy in copies_of(mails[n])]
        self.take(
            [copy for copy, _ in copies], [fate_of[copy.recipient] for copy, _ in copies], [made for _, made in copies]
        )

    def _refusal(self, fate: Fate) -> Reply:
        match fate:
            case Fate.THROTTLED | Fate.OVER_LIMIT:
                refusal = _error(429, "rate_limit_exceeded", "Too many requests; slow down.")
                return replace(refusal, headers=retry_after(self.plan.profile))
            case Fate.TRANSIENT:
                return _error(503, "service_unavailable", "Come back later.")
            case _:
                return _error(500, "application_error", "Something broke on this side.")

    # receipts

    def receipts_of(self, taken: Sequence[Taken]) -> list[OutgoingCall]:
        """One for each mail, signed as Svix does it: over id, time and body."""
        return [self._receipt(mail) for mail in taken]

    def _receipt(self, mail: Taken) -> OutgoingCall:
        at = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(mail.at))
        said: dict[News, tuple[str, dict[str, Any]]] = {
            News.DELIVERED: ("email.delivered", {}),
            News.BOUNCED: (
                "email.bounced",
                {"bounce": {"type": "Permanent", "subType": "General", "message": "Nobody of this name lives here"}},
            ),
            News.COMPLAINED: ("email.complained", {}),
            News.UNSUBSCRIBED: (
                "email.suppressed",
                {"suppressed": {"message": "On the list of those to be left alone"}},
            ),
        }
        kind, more = said[mail.news]
        tags = {"tidings_delivery": mail.delivery} if mail.delivery else {}
        data = {"email_id": mail.message, "created_at": at, "to": [mail.recipient], "tags": tags, **more}
        body = json.dumps({"type": kind, "created_at": at, "data": data}).encode()
        name, timestamp = f"msg_{uuid.uuid4().hex}", str(int(time.time()))
        key = base64.b64decode(self.receipts_secret.removeprefix("whsec_"))
        signature = hmac.new(key, f"{name}.{timestamp}.".encode() + body, sha256).digest()
        headers = (
            ("content-type", "application/json"),
            ("svix-id", name),
            ("svix-timestamp", timestamp),
            ("svix-signature", f"v1,{base64.b64encode(signature).decode()}"),
        )
        return OutgoingCall(self.receipts_url, headers, body)


def _success(ids: Mapping[int, str], problems: Mapping[int, str], *, is_batch: bool) -> dict[str, Any]:
    made = [{"id": one} for one in ids.values()]
    if not is_batch:
        return made[0]
    errors = [{"index": number, "message": problem} for number, problem in sorted(problems.items())]
    return {"data": made, **({"errors": errors} if errors else {})}


def _error(status: int, name: str, message: str) -> Reply:
    return Reply(status, json.dumps({"statusCode": status, "name": name, "message": message}).encode())


def _parse(body: bytes) -> Any:
    """None, which is no valid request either, where it is not JSON."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None
