"""Fields of a push message that mean the same on their way through FCM and APNs."""

import json
import re
from collections.abc import Mapping
from hashlib import sha256
from typing import Any, Final

COLLAPSE_ID: Final = re.compile(r"[!-~](?:[ -~]{0,62}[!-~])?")
"""What the header apns-collapse-id holds as it is: at most 64 bytes."""


def aps_of(data: Mapping[str, Any]) -> dict[str, Any]:
    """What iOS reads of the message, but for the alert."""
    sound: object = data.get("sound")
    if data.get("critical"):
        sound = {"critical": 1, "name": data.get("sound") or "default", "volume": 1.0}
    return without_empty(
        {
            "category": data.get("action"),
            "sound": sound,
            "badge": badge_of(data),
            "content-available": 1 if data.get("contentAvailable") else None,
            "mutable-content": 1 if image_url_of(data) else None,  # lets the app fetch the image
            "interruption-level": "critical" if data.get("critical") else None,
        }
    )


def collapse_id_of(tag: str) -> str:
    return tag if COLLAPSE_ID.fullmatch(tag) else sha256(tag.encode()).hexdigest()


def image_url_of(data: Mapping[str, Any]) -> str | None:
    image = data.get("image")
    return image.get("url") if isinstance(image, Mapping) else None


def badge_of(data: Mapping[str, Any]) -> int | None:
    """0 clears the badge, a negative number is the contract's word for none."""
    badge = data.get("badge")
    return int(badge) if badge is not None and int(badge) >= 0 else None


def is_normal(data: Mapping[str, Any]) -> bool:
    """Its priority."""
    return str(data.get("priority", "high")).lower() == "normal"


def without_empty(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if value not in (None, "", {})}


def to_json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
