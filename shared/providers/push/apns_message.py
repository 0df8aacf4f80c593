"""A message's content as APNs takes it: headers and JSON, equal for all devices but for two headers."""

from collections.abc import Mapping
from typing import Any, Final, Literal

from shared.domain.outcome import Refused
from shared.providers.contract import Content
from shared.providers.push.fields import aps_of, collapse_id_of, image_url_of, is_normal, to_json, without_empty

# developer.apple.com, "Generating a remote notification", read 2026-11
PAYLOAD_LIMIT_BYTES: Final = 4096


class ApnsMessage:
    """`icon`, `color` and `channelId` are Android's: a message may name them, and an iPhone shows it its own way."""

    __slots__ = ("headers", "is_tagged", "payload")

    def __init__(self, content: Content, push_type: str, payload: bytes) -> None:
        is_background = push_type == "background"
        priority = 5 if is_background or is_normal(content.data) else 10  # 10 is an error for background pushes
        tag = content.data.get("tag")
        self.is_tagged = bool(tag)  # else each delivery has a collapse id of its own
        self.payload = payload
        self.headers = (
            f"apns-push-type: {push_type}",
            f"apns-priority: {priority}",
            f"apns-expiration: {int(content.expires_at)}",
            *([f"apns-collapse-id: {collapse_id_of(tag)}"] if tag else []),
            "content-type: application/json",
        )


def render_message(content: Content) -> ApnsMessage | Refused:
    aps, beside = _parts(content.data)
    push_type = _push_type(aps, beside)
    if push_type is None:
        return Refused("unsupported by APNs: a message without title, body, badge, sound, data or contentAvailable")
    if push_type == "background":
        aps["content-available"] = 1
    payload = _payload(aps, beside, content.data.get("data"))
    if len(payload) > PAYLOAD_LIMIT_BYTES:
        return Refused(f"the payload takes {len(payload)} bytes, APNs allows {PAYLOAD_LIMIT_BYTES}")
    return ApnsMessage(content, push_type, payload)


def _parts(data: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """`aps`, and what lies beside it; an image is for the app to fetch."""
    alert = without_empty({"title": data.get("title"), "body": data.get("body")})
    own = {str(key): value for key, value in (data.get("data") or {}).items() if key != "aps"}
    return without_empty({"alert": alert, **aps_of(data)}), {**without_empty({"image": image_url_of(data)}), **own}


def _push_type(aps: Mapping[str, Any], beside: Mapping[str, Any]) -> Literal["alert", "background"] | None:
    """A push that shows nothing wakes the app, and data alone can only come that way; None: it does nothing."""
    if aps.keys() & {"alert", "badge", "sound"}:
        return "alert"
    return "background" if "content-available" in aps or beside else None


def _payload(aps: Mapping[str, Any], beside: Mapping[str, Any], data: Mapping[str, Any] | None) -> bytes:
    """Apps find the data beside `aps`, as Apple has it, and in `aps.data`, where Appwrite puts it, as long as there is
    room for both.
    """
    if data:
        both = to_json({"aps": {**aps, "data": data}, **beside})
        if len(both) <= PAYLOAD_LIMIT_BYTES:
            return both
    return to_json({"aps": aps, **beside})
