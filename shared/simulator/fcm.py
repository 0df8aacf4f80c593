"""Firebase Cloud Messaging, HTTP v1: the token endpoint and `messages:send`."""

import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Annotated, Any, Literal
from urllib.parse import parse_qs

from pydantic import Field

from shared.simulator import contents
from shared.simulator.faults import TAKEN, Fate, FaultPlan, FaultProfile, MagicWord, Rate, retry_after
from shared.simulator.fcm_message import ADDRESSES, Violation, get, violations_of
from shared.simulator.record import Capture, Record
from shared.simulator.service_accounts import GrantRefused, ServiceAccounts
from shared.simulator.wire.exchange import HTML, Reply, Request

NAME = "fcm"
TOKEN_ENDPOINT = "fcm-token"  # noqa: S105  # a name in `/faults` and `/stats`, no secret

MAGIC_WORDS = (
    MagicWord("dead", Fate.DEAD_ADDRESS, "404 UNREGISTERED"),
    MagicWord("invalid", Fate.INVALID_ADDRESS, "400 INVALID_ARGUMENT"),
    MagicWord("mismatch", Fate.FOREIGN_ADDRESS, "403 SENDER_ID_MISMATCH"),
    MagicWord("thirdparty", Fate.ACCOUNT_FAULT, "401 THIRD_PARTY_AUTH_ERROR"),
    MagicWord("throttled", Fate.THROTTLED, "429 QUOTA_EXCEEDED, then accepted", once=True),
    MagicWord("slow", Fate.SLOW, "accepted; the reply trickles in over slow_seconds"),
    MagicWord("dropped", Fate.DROPPED, "accepted; the stream is reset before the reply"),
)

ErrorStatus = Literal[500, 502, 503]


@dataclass(frozen=True, slots=True, kw_only=True)
class FcmProfile(FaultProfile):
    """`foreign_rate` 1 is what an account of the wrong project meets."""

    server_error_statuses: Annotated[tuple[ErrorStatus, ...], Field(min_length=1)] = (500, 503)
    foreign_rate: Rate = 0.0

    def ladder(self) -> tuple[tuple[Fate, float], ...]:
        # super() knows no class whose slots a decorator made
        return (*FaultProfile.ladder(self), (Fate.FOREIGN_ADDRESS, self.foreign_rate))


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenEndpointProfile(FaultProfile):
    token_lifetime_seconds: Annotated[int, Field(ge=1)] = 3599


SEND_PATH = re.compile(r"/v1/projects/([^/]+)/messages:send")
GRANT_TYPE = "urn:ietf:params:oauth:grant-type:jwt-bearer"


class Fcm:
    def __init__(self, record: Record, accounts: ServiceAccounts) -> None:
        self._record = record
        self._accounts = accounts
        self.sending = FaultPlan(NAME, FcmProfile(), MAGIC_WORDS)
        self.granting = FaultPlan(TOKEN_ENDPOINT, TokenEndpointProfile())
        self._grants = 0  # asked for so far; the number is the "recipient" whose fate is drawn

    def answer(self, request: Request) -> Reply:
        if request.method == "POST":
            if (path := SEND_PATH.fullmatch(request.path)) is not None:
                return self._send(request, path[1])
            if request.path == "/token":
                return self._grant(request)
        return _page(404, "There is nothing at this address.")

    # sending

    def _send(self, request: Request, project: str) -> Reply:
        sender = self._accounts.project_of_bearer(request.header(b"authorization"))
        if sender is None:
            return self._refuse("unauthenticated", _NO_VALID_TOKEN)
        document = _parse(request.body)
        if violations := violations_of(document, size=len(request.body)):
            return self._refuse("bad_request", _bad_request(violations))
        if sender != project:
            return self._refuse("forbidden", _error(403, "PERMISSION_DENIED", f"No permission to send for {project}."))
        message: dict[str, Any] = document["message"]
        kind = next(address for address in ADDRESSES if message.get(address))
        if get(document, "validate_only"):
            return _accepted(f"projects/{project}/messages/fake_message_id")
        return self._decide(project, kind, message)

    def _decide(self, project: str, kind: str, message: dict[str, Any]) -> Reply:
        plan, recipient = self.sending, message[kind]
        fate = plan.fate_of(recipient)
        if fate is not Fate.THROTTLED and plan.is_over_limit():  # every answer but 429 uses up quota
            fate = Fate.OVER_LIMIT
        if fate in TAKEN:
            reply = self._accept(project, kind, message, fate)
        else:
            self._record.count(NAME, fate)
            reply = self._refusal(fate, recipient)
        manner = plan.manner_of(recipient, fate)
        return replace(reply, manner=manner) if manner is not reply.manner else reply

    def _accept(self, project: str, kind: str, message: dict[str, Any], fate: Fate) -> Reply:
        name = f"projects/{project}/messages/0:{time.time_ns() // 1000}%{self._record.n + 1:016x}"
        recipient = message.pop(kind)
        self._record.append(
            Capture(
                provider=NAME,
                recipient=recipient,
                message=name,
                key=_key_of(message),
                title=get(message, "notification", "title") or "",
                outcome=fate,
                content={
                    "project": project,
                    "kind": kind,
                    "tag": get(message, "android", "notification", "tag"),
                    "collapse_key": get(message, "android", "collapse_key"),
                    **_shown(message),
                },
            )
        )
        return _accepted(name)

    def _refusal(self, fate: Fate, recipient: str) -> Reply:
        profile = self.sending.profile
        match fate:
            case Fate.SERVER_ERROR:
                return _server_error(self.sending.pick(recipient, profile.server_error_statuses), profile)
            case Fate.TRANSIENT:
                return _server_error(503, profile)
            case Fate.THROTTLED | Fate.OVER_LIMIT:
                return replace(_QUOTA_EXCEEDED, headers=retry_after(profile))
            case Fate.SILENT:
                return Reply(503)  # never sent
            case _:
                return _REFUSALS[fate]

    def _refuse(self, outcome: str, reply: Reply) -> Reply:
        self._record.count(NAME, outcome)
        return reply

    # granting tokens

    def _grant(self, request: Request) -> Reply:
        self._grants += 1
        asked, plan = str(self._grants), self.granting
        fate = Fate.OVER_LIMIT if plan.is_over_limit() else plan.fate_of(asked)
        outcome, reply = self._grant_reply(request, fate)
        self._record.count(TOKEN_ENDPOINT, outcome)
        return replace(reply, manner=plan.manner_of(asked, fate))

    def _grant_reply(self, request: Request, fate: Fate) -> tuple[str, Reply]:
        """The outcome to count, and the reply."""
        profile = self.granting.profile
        if fate in (Fate.THROTTLED, Fate.OVER_LIMIT):
            return fate, Reply(429, _oauth_error("rate_limit_exceeded", "Slow down."), headers=retry_after(profile))
        if fate not in TAKEN:
            return fate, Reply(503, _oauth_error("internal_failure", "Try again."), headers=retry_after(profile))
        form = {name: values[0] for name, values in parse_qs(request.body.decode("latin-1")).items()}
        if form.get("grant_type") != GRANT_TYPE:
            return "refused", Reply(400, _oauth_error("unsupported_grant_type", f"The grant type is not {GRANT_TYPE}."))
        lifetime = profile.token_lifetime_seconds
        try:
            token = self._accounts.grant(form.get("assertion", ""), lifetime_seconds=lifetime)
        except GrantRefused as refusal:
            return "refused", Reply(400, _oauth_error(refusal.error, refusal.description))
        return fate, Reply(200, _json({"access_token": token, "expires_in": lifetime, "token_type": "Bearer"}))


def _json(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document).encode()


def _accepted(name: str) -> Reply:
    return Reply(200, b'{\n  "name": "%s"\n}\n' % name.encode())


def _page(status: int, text: str) -> Reply:
    """What Google's front end says where no API answers."""
    return Reply(status, f"<!DOCTYPE html><title>Error {status}</title><p>{text}</p>".encode(), HTML)


def _oauth_error(error: str, description: str) -> bytes:
    return _json({"error": error, "error_description": description})


def _error(code: int, status: str, message: str, *details: Mapping[str, Any]) -> Reply:
    body: dict[str, Any] = {"code": code, "message": message, "status": status}
    if details:
        body["details"] = details
    return Reply(code, _json({"error": body}))


def _fcm_error(code: int, status: str, error_code: str, message: str, *details: Mapping[str, Any]) -> Reply:
    detail = {"@type": "type.googleapis.com/google.firebase.fcm.v1.FcmError", "errorCode": error_code}
    return _error(code, status, message, detail, *details)


def _bad_request(violations: list[Violation]) -> Reply:
    fields = [{"field": place, "description": problem} for place, problem in violations]
    detail = {"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": fields}
    return _error(400, "INVALID_ARGUMENT", " ".join(f"{place}: {problem}" for place, problem in violations), detail)


def _server_error(status: int, profile: FaultProfile) -> Reply:
    match status:
        case 500:
            return _fcm_error(500, "INTERNAL", "INTERNAL", "Something broke on this side.")
        case 503:
            return replace(_UNAVAILABLE, headers=retry_after(profile))
        case _:
            return _page(status, "The server has trouble. Try again later.")


_NO_VALID_TOKEN = replace(
    _error(401, "UNAUTHENTICATED", "The request carries no valid OAuth 2 access token."),
    headers=((b"www-authenticate", b'Bearer realm="https://accounts.google.com/", error="invalid_token"'),),
)
_UNAVAILABLE = _fcm_error(503, "UNAVAILABLE", "UNAVAILABLE", "The service is overloaded for the moment.")
_QUOTA_EXCEEDED = _fcm_error(
    429,
    "RESOURCE_EXHAUSTED",
    "QUOTA_EXCEEDED",
    "The sending quota is used up.",
    {
        "@type": "type.googleapis.com/google.rpc.QuotaFailure",
        "violations": [{"subject": "messages", "description": "Too many messages for this sender or device."}],
    },
)
_REFUSALS = {
    Fate.DEAD_ADDRESS: _fcm_error(404, "NOT_FOUND", "UNREGISTERED", "Nothing is registered under this token."),
    Fate.INVALID_ADDRESS: _fcm_error(
        400, "INVALID_ARGUMENT", "INVALID_ARGUMENT", "This is not a valid FCM registration token."
    ),
    Fate.FOREIGN_ADDRESS: _fcm_error(
        403, "PERMISSION_DENIED", "SENDER_ID_MISMATCH", "The token belongs to another sender."
    ),
    Fate.ACCOUNT_FAULT: _fcm_error(
        401, "UNAUTHENTICATED", "THIRD_PARTY_AUTH_ERROR", "The APNs or web push credentials of the project do not work."
    ),
}


def _parse(body: bytes) -> Any:
    """The decoded body; None, which is no valid request either, when it is not JSON."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _shown(message: Mapping[str, Any]) -> dict[str, Any]:
    aps = get(message, "apns", "payload", "aps")
    return contents.push(
        body=get(message, "notification", "body") or "",
        image=get(message, "notification", "image"),
        badge=get(aps, "badge") if isinstance(aps, dict) else None,
        sound=get(message, "android", "notification", "sound"),
        data=get(message, "data"),
        settings=_settings(message),
        payload=message,
    )


def _settings(message: Mapping[str, Any]) -> dict[str, Any]:
    """What an Android device would do with it besides."""
    names = ("click_action", "icon", "color", "channel_id", "notification_count")
    said = {name: get(message, "android", "notification", name) for name in names}
    return {name: value for name, value in {"priority": get(message, "android", "priority"), **said}.items() if value}


def _key_of(message: Mapping[str, Any]) -> str:
    """Equal for copies: of what the device would show, so without the time to live, which shrinks between tries."""
    shown = [
        get(message, "notification"),
        get(message, "data"),
        get(message, "android", "notification", "tag"),
        get(message, "android", "collapse_key"),
    ]
    return blake2b(_json({"shown": shown}), digest_size=8).hexdigest()
