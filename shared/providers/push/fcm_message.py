"""A message's content as FCM's JSON: rendered once, with room for each recipient's token."""

import json
from collections.abc import Mapping
from hashlib import sha256
from json.encoder import encode_basestring
from secrets import token_hex
from typing import Any, Final

from shared.providers.contract import Content, SendRequest
from shared.providers.push.fields import (
    aps_of,
    badge_of,
    collapse_id_of,
    image_url_of,
    is_normal,
    to_json,
    without_empty,
)

# firebase.google.com, docs/cloud-messaging/error-codes, read 2026-11: INVALID_ARGUMENT beyond it
PAYLOAD_LIMIT_BYTES: Final = 4096
LONGEST_TTL_SECONDS: Final = 28 * 24 * 3600  # FCM keeps a message four weeks at most

HEAD: Final = b'{"message":{"token":'


class FcmMessage:
    """The request body for any recipient."""

    __slots__ = ("_parts", "payload_bytes")

    def __init__(self, content: Content, now: float) -> None:
        """Room for what differs is marked with a random word, so that no content can look like it."""
        mark = token_hex(16)
        message = _message(content, now, own_tag=mark)
        rendered = to_json(message)[1:] + b"}"  # joins HEAD, which opened both objects
        self._parts = (b"," + rendered).split(mark.encode())
        payload = {key: message[key] for key in ("notification", "data") if key in message}
        self.payload_bytes = len(to_json(payload))

    def body_for(self, request: SendRequest) -> bytes:
        tail = self._parts[0] if len(self._parts) == 1 else _own_tag(request).join(self._parts)
        return HEAD + encode_basestring(request.identifier).encode() + tail


def _own_tag(request: SendRequest) -> bytes:
    """Where the user set no tag: a second copy of a delivery replaces the first on the device."""
    return sha256(request.delivery_id.encode()).hexdigest()[:32].encode()


def _message(content: Content, now: float, *, own_tag: str) -> dict[str, Any]:
    """All of an FCM Message but its token. Without title and body it is data only: nothing is shown."""
    data = content.data
    seconds_left = max(0, min(LONGEST_TTL_SECONDS, int(content.expires_at - now)))
    is_shown = bool(data.get("title") or data.get("body"))
    tag = data.get("tag") or own_tag
    return without_empty(
        {
            "notification": _notification(data) if is_shown else {},
            "data": {str(key): _as_text(value) for key, value in (data.get("data") or {}).items()},
            "android": _android(data, tag, seconds_left, is_shown=is_shown),
            "apns": _apns(data, tag, int(content.expires_at), is_shown=is_shown),
            "webpush": _webpush(data, tag, seconds_left, is_shown=is_shown),
        }
    )


def _notification(data: Mapping[str, Any]) -> dict[str, Any]:
    return without_empty({"title": data.get("title"), "body": data.get("body"), "image": image_url_of(data)})


def _android(data: Mapping[str, Any], tag: str, seconds_left: int, *, is_shown: bool) -> dict[str, Any]:
    shown = {
        "icon": data.get("icon"),  # a drawable's name
        "sound": data.get("sound"),
        "color": data.get("color"),
        "channel_id": data.get("channelId"),
        "tag": tag,
        "click_action": data.get("action"),
        "notification_count": badge_of(data),
        "notification_priority": "PRIORITY_MAX" if data.get("critical") else None,
    }
    return {
        "priority": "NORMAL" if is_normal(data) else "HIGH",
        "ttl": f"{seconds_left}s",
        **({"notification": without_empty(shown)} if is_shown else {}),
    }


def _apns(data: Mapping[str, Any], tag: str, expires_at: int, *, is_shown: bool) -> dict[str, Any]:
    aps = aps_of(data)
    is_silent = not is_shown and not aps.keys() & {"sound", "badge"}
    headers = {"apns-expiration": str(expires_at), "apns-priority": "5" if is_silent or is_normal(data) else "10"}
    if is_silent and "content-available" in aps:
        headers["apns-push-type"] = "background"
    if is_shown:
        headers["apns-collapse-id"] = collapse_id_of(tag)
    return {"headers": headers, **({"payload": {"aps": aps}} if aps else {})}


def _webpush(data: Mapping[str, Any], tag: str, seconds_left: int, *, is_shown: bool) -> dict[str, Any]:
    action = data.get("action") or ""
    shown = {"icon": data.get("icon"), "tag": tag}
    return without_empty(
        {
            "headers": {"Urgency": "normal" if is_normal(data) else "high", "TTL": str(seconds_left)},
            "notification": without_empty(shown) if is_shown else {},
            "fcm_options": {"link": action} if action.startswith("https://") else {},
        }
    )


def _as_text(value: object) -> str:
    """FCM's data is a map of strings: numbers, lists and objects go as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))
