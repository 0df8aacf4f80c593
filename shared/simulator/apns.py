"""Apple Push Notification service: HTTP/2 and nothing else, one connection for each signing key."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Annotated, Any, ClassVar, Final, Literal
from uuid import uuid4

from pydantic import Field

from shared.simulator import contents
from shared.simulator.apns_keys import SigningKeys, TokenRefused
from shared.simulator.faults import TAKEN, Fate, FaultProfile, MagicWord, Rate, retry_after
from shared.simulator.http_provider import HttpProvider
from shared.simulator.keyring import Keyring
from shared.simulator.record import Capture, Record
from shared.simulator.wire.exchange import Reply, Request
from shared.simulator.wire.http2 import StreamTerms

TEAM: Final = "SIMULATOR1"
BUNDLE_ID: Final = "com.example.tidings"

MAGIC_WORDS = (
    # device tokens are hexadecimal, so theirs end in digits, the same ones as phone numbers
    MagicWord("5550190", Fate.DEAD_ADDRESS, "410 Unregistered"),
    MagicWord("5550191", Fate.INVALID_ADDRESS, "400 BadDeviceToken"),
    MagicWord("5550192", Fate.THROTTLED, "429 TooManyRequests, then accepted", once=True),
    MagicWord("5550193", Fate.SLOW, "accepted; the reply comes after slow_seconds"),
    MagicWord("5550194", Fate.DROPPED, "accepted; the stream is reset before the reply"),
    MagicWord("5550195", Fate.TRANSIENT, "503 Shutdown, then accepted", once=True),
    MagicWord("5550196", Fate.FOREIGN_ADDRESS, "400 DeviceTokenNotForTopic"),
    MagicWord("5550197", Fate.REFUSED_STREAM, "the stream is refused, then accepted", once=True),
    MagicWord("5550198", Fate.ACCOUNT_FAULT, "403 InvalidProviderToken"),
    MagicWord("5550199", Fate.SERVER_ERROR, "500 InternalServerError"),
)

ErrorStatus = Literal[500, 503]


@dataclass(frozen=True, slots=True, kw_only=True)
class ApnsProfile(FaultProfile):
    """`invalid_rate` 1 is what an app of the other environment meets."""

    retry_after_seconds: Annotated[int, Field(ge=0)] | None = None  # Apple is not known to send it
    server_error_statuses: Annotated[tuple[ErrorStatus, ...], Field(min_length=1)] = (500, 503)
    invalid_rate: Rate = 0.0
    refused_stream_rate: Rate = 0.0
    first_streams: Annotated[int, Field(ge=1)] = 1  # until a push with a provider token was taken
    streams: Annotated[int, Field(ge=1)] = 1000  # from then on
    goaway_after: Annotated[int, Field(ge=1)] | None = None  # pushes that a connection takes; None: any number
    sandbox: bool = False  # answers as the sandbox does, with apns-unique-id

    def ladder(self) -> tuple[tuple[Fate, float], ...]:
        # super() knows no class whose slots a decorator made
        return (
            *FaultProfile.ladder(self),
            (Fate.INVALID_ADDRESS, self.invalid_rate),
            (Fate.REFUSED_STREAM, self.refused_stream_rate),
        )


LONG_AGO_MS = 1_600_000_000_000
"""Since when devices are gone, in milliseconds."""

PAYLOAD_BYTES = 4096
VOIP_PAYLOAD_BYTES = 5120
COLLAPSE_ID_BYTES = 64
HEADER_LIST_BYTES = 8000
VIOLATION = b"Maximum active streams violated for this endpoint."

UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
PATH = re.compile(r"/3/device/(.*)")
HEXADECIMAL = re.compile(r"[0-9a-fA-F]+")
DELIVERY_ID = re.compile(r"\d+-\d+")
PUSH_TYPES = frozenset(
    {
        "alert",
        "background",
        "complication",
        "controls",
        "fileprovider",
        "liveactivity",
        "location",
        "mdm",
        "pushtotalk",
        "voip",
        "widgets",
    }
)

REFUSALS: Mapping[Fate, tuple[int, str]] = {
    Fate.DEAD_ADDRESS: (410, "Unregistered"),
    Fate.INVALID_ADDRESS: (400, "BadDeviceToken"),
    Fate.FOREIGN_ADDRESS: (400, "DeviceTokenNotForTopic"),
    Fate.ACCOUNT_FAULT: (403, "InvalidProviderToken"),
    Fate.THROTTLED: (429, "TooManyRequests"),
    Fate.OVER_LIMIT: (429, "TooManyRequests"),
    Fate.TRANSIENT: (503, "Shutdown"),
    Fate.REFUSED_STREAM: (503, "Shutdown"),  # never sent
    Fate.SILENT: (503, "Shutdown"),  # never sent
}
BEFORE_THE_TOKEN = frozenset({Fate.DEAD_ADDRESS, Fate.INVALID_ADDRESS, Fate.FOREIGN_ADDRESS})
"""What Apple says of a device before it looks at who asks."""


class Apns(HttpProvider):
    name: ClassVar[str] = "apns"
    words: ClassVar[tuple[MagicWord, ...]] = MAGIC_WORDS
    profile: ClassVar[FaultProfile] = ApnsProfile()

    def __init__(self, record: Record, keyring: Keyring) -> None:
        super().__init__(record, keyring)
        self.keys = SigningKeys(keyring)

    def credentials(self) -> Mapping[str, Any]:
        return self.credentials_of(TEAM)

    def credentials_of(self, team: str) -> Mapping[str, Any]:
        """Each team has a key, and all of them the same app."""
        key_id, key = self.keys.key_id(team), self.keys.pem(team)
        return {"authKey": key, "authKeyId": key_id, "teamId": team, "bundleId": BUNDLE_ID}

    def answer(self, request: Request) -> Reply:
        return self.connection().answer(request)

    def connection(self) -> "ApnsConnection":
        return ApnsConnection(self)

    def terms(self) -> StreamTerms:
        return StreamTerms(self.plan.profile.first_streams, HEADER_LIST_BYTES, VIOLATION)

    def count(self, outcome: str) -> None:
        self.record.count(self.name, outcome)


class ApnsConnection:
    """What Apple knows of a connection: whose key it belongs to since its first push, and how many it took."""

    def __init__(self, apns: Apns) -> None:
        self._apns = apns
        self._key_id = ""
        self._taken = 0

    def answer(self, request: Request) -> Reply:
        apns_id = request.header(b"apns-id")
        if not apns_id or not UUID.fullmatch(apns_id):
            apns_id = str(uuid4())
        return _with_id(self._reply(request, apns_id), apns_id)

    def _reply(self, request: Request, apns_id: str) -> Reply:
        fault = next(_faults_of_headers(request), None)
        if fault is not None:
            return self._refuse("bad_request", *fault)
        device = request.path.removeprefix("/3/device/")
        fate = self._apns.fate_of(device)
        if fate in BEFORE_THE_TOKEN:
            return self._apns.in_manner_of(self._refuse(fate, *REFUSALS[fate]), device, fate)
        try:
            self._check_token(request)
        except TokenRefused as refusal:
            return self._refuse("unauthenticated", refusal.status, refusal.reason)
        fault = next(_faults_of_body(request), None)
        if fault is not None:
            return self._refuse("bad_request", *fault)
        reply = self._accept(request, apns_id, device, fate) if fate in TAKEN else self._refusal(device, fate)
        return self._apns.in_manner_of(reply, device, fate)

    def _check_token(self, request: Request) -> None:
        token = self._apns.keys.check(request.header(b"authorization"))
        if self._key_id not in {"", token.key_id}:
            raise TokenRefused(403, "UnrelatedKeyIdInToken")
        self._key_id = token.key_id

    def _refusal(self, device: str, fate: Fate) -> Reply:
        if fate is not Fate.SERVER_ERROR:
            reply = self._refuse(fate, *REFUSALS[fate])
        elif self._apns.plan.pick(device, self._apns.plan.profile.server_error_statuses) == 500:
            reply = self._refuse(fate, 500, "InternalServerError")
        else:
            reply = self._refuse(fate, 503, "ServiceUnavailable")
        if reply.status in {429, 500, 503}:
            return replace(reply, headers=retry_after(self._apns.plan.profile))
        return reply

    def _refuse(self, outcome: str, status: int, reason: str) -> Reply:
        self._apns.count(outcome)
        more = {"timestamp": LONG_AGO_MS} if status == 410 else {}
        return Reply(status, json.dumps({"reason": reason, **more}).encode(), b"application/json")

    def _accept(self, request: Request, apns_id: str, device: str, fate: Fate) -> Reply:
        profile = self._apns.plan.profile
        self._apns.record.append(_capture(request, apns_id, device, fate))
        self._taken += 1
        return Reply(
            200,
            headers=((b"apns-unique-id", str(uuid4()).encode()),) if profile.sandbox else (),
            streams=profile.streams,
            goodbye=b'{"reason":"Shutdown"}' if self._taken == profile.goaway_after else None,
        )


def _faults_of_headers(request: Request) -> Iterator[tuple[int, str]]:
    """What is wrong with a request before its device is looked at, in the order in which Apple looks."""
    header = request.header
    if header(b"apns-id") and not UUID.fullmatch(header(b"apns-id")):
        yield 400, "BadMessageId"
    if request.method != "POST":
        yield 405, "MethodNotAllowed"
    if not header(b"apns-topic"):
        yield 400, "MissingTopic"
    if len(request.headers.get(b"apns-collapse-id", b"")) > COLLAPSE_ID_BYTES:
        yield 400, "BadCollapseId"
    push_type, priority = header(b"apns-push-type") or "alert", header(b"apns-priority") or "10"
    if priority not in {"1", "5", "10"} or (push_type == "background" and priority == "10"):
        yield 400, "BadPriority"
    if push_type not in PUSH_TYPES:
        yield 400, "InvalidPushType"
    if not (header(b"apns-expiration") or "0").isdecimal():
        yield 400, "BadExpirationDate"
    yield from _faults_of_address(request)


def _faults_of_address(request: Request) -> Iterator[tuple[int, str]]:
    found = PATH.fullmatch(request.path)
    if found is None:
        yield 404, "BadPath"
    elif not found[1]:
        yield 400, "MissingDeviceToken"
    elif not HEXADECIMAL.fullmatch(found[1]):
        yield 400, "BadDeviceToken"
    topic = request.header(b"apns-topic")
    if topic != BUNDLE_ID and not topic.startswith(f"{BUNDLE_ID}."):
        yield 400, "TopicDisallowed"


def _faults_of_body(request: Request) -> Iterator[tuple[int, str]]:
    if not request.body or not isinstance(_payload_of(request), dict):
        yield 400, "PayloadEmpty"
    limit = VOIP_PAYLOAD_BYTES if request.header(b"apns-push-type") == "voip" else PAYLOAD_BYTES
    if len(request.body) > limit:
        yield 413, "PayloadTooLarge"


def _payload_of(request: Request) -> Any:
    try:
        return json.loads(request.body)
    except (ValueError, RecursionError):
        return None


def _capture(request: Request, apns_id: str, device: str, fate: Fate) -> Capture:
    payload: dict[str, Any] = _payload_of(request)
    collapse_id = request.header(b"apns-collapse-id")
    title, content = _shown(payload)
    return Capture(
        provider=Apns.name,
        recipient=device,
        message=apns_id,
        key=blake2b(collapse_id.encode() + b"\0" + request.body, digest_size=8).hexdigest(),
        title=title,
        outcome=fate,
        delivery=collapse_id if DELIVERY_ID.fullmatch(collapse_id) else None,
        content={
            "topic": request.header(b"apns-topic"),
            "push_type": request.header(b"apns-push-type"),
            "priority": request.header(b"apns-priority"),
            "expiration": request.header(b"apns-expiration"),
            "collapse_id": collapse_id,
            **content,
        },
    )


def _shown(payload: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The title, and what else the device makes of it; whatever has another shape than Apple says is left out."""
    aps = payload["aps"] if isinstance(payload.get("aps"), dict) else {}
    alert, sound = aps.get("alert"), aps.get("sound")
    texts = alert if isinstance(alert, dict) else {"body": alert}
    image, badge = payload.get("image"), aps.get("badge")
    settings = {name: aps[name] for name in ("category", "interruption-level", "content-available") if aps.get(name)}
    content = contents.push(
        body=str(texts.get("body") or ""),
        image=image if isinstance(image, str) and "mutable-content" in aps else None,
        badge=badge if isinstance(badge, int) else None,
        sound=str(sound.get("name")) if isinstance(sound, dict) else sound and str(sound),
        data={name: value for name, value in payload.items() if name != "aps"},
        settings=settings or None,
        payload=payload,
    )
    return str(texts.get("title") or ""), content


def _with_id(reply: Reply, apns_id: str) -> Reply:
    return replace(reply, headers=((b"apns-id", apns_id.encode("latin-1")), *reply.headers))
