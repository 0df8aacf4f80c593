"""FCM's message as its reference describes it: which fields exist, what they hold, what is wrong with one.

Source: firebase.google.com, REST reference `projects.messages` v1, with `fid` of 2026. As in all of Google's JSON, a
field may be written in snake_case or camelCase, and null means absent.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any, TypeAlias

Violation: TypeAlias = tuple[str, str]
"""The field's path and what is wrong with it."""

ADDRESSES = ("token", "fid", "topic", "condition")
PAYLOAD_BYTES = 4096
TOPIC_PAYLOAD_BYTES = 2048

_DURATION = re.compile(r"\d+(\.\d{1,9})?s")

Check: TypeAlias = Callable[[Any], str | None]
"""What is wrong with a value, or None."""


def _text(value: Any) -> str | None:
    return None if isinstance(value, str) else "must be a string"


def _flag(value: Any) -> str | None:
    return None if isinstance(value, bool) else "must be true or false"


def _integer(value: Any) -> str | None:
    return None if isinstance(value, int) and not isinstance(value, bool) else "must be an integer"


def _texts(value: Any) -> str | None:
    return None if isinstance(value, list) and all(isinstance(item, str) for item in value) else "must be strings"


def _number(value: Any) -> str | None:
    return None if isinstance(value, int | float) and not isinstance(value, bool) else "must be a number"


def _text_map(value: Any) -> str | None:
    if isinstance(value, dict) and all(isinstance(item, str) for item in value.values()):
        return None
    return "must map strings to strings"


def _object(value: Any) -> str | None:
    return None if isinstance(value, dict) else "must be an object"


def _duration(value: Any) -> str | None:
    return None if isinstance(value, str) and _DURATION.fullmatch(value) else 'must be seconds with an "s", as "3.5s"'


def _durations(value: Any) -> str | None:
    return "must be durations" if not isinstance(value, list) or any(map(_duration, value)) else None


def _one_of(*words: str) -> Check:
    allowed = frozenset(words)
    return lambda value: None if value in allowed else f"must be one of {', '.join(words)}"


Shape: TypeAlias = "Mapping[str, Check | Shape]"

_OPTIONS: Shape = {"analytics_label": _text}
_COLOR: Shape = {"red": _number, "green": _number, "blue": _number, "alpha": _number}
_PRIORITIES = ("MIN", "LOW", "DEFAULT", "HIGH", "MAX")

_ANDROID_NOTIFICATION: Shape = {
    **dict.fromkeys(("title", "body", "icon", "color", "sound", "tag", "click_action", "image", "ticker"), _text),
    **dict.fromkeys(("body_loc_key", "title_loc_key", "channel_id", "event_time"), _text),
    **dict.fromkeys(("body_loc_args", "title_loc_args"), _texts),
    **dict.fromkeys(("sticky", "local_only", "default_sound", "default_vibrate_timings"), _flag),
    **dict.fromkeys(("default_light_settings", "bypass_proxy_notification"), _flag),
    "notification_count": _integer,
    "vibrate_timings": _durations,
    "notification_priority": _one_of("PRIORITY_UNSPECIFIED", *(f"PRIORITY_{word}" for word in _PRIORITIES)),
    "visibility": _one_of("VISIBILITY_UNSPECIFIED", "PRIVATE", "PUBLIC", "SECRET"),
    "proxy": _one_of("PROXY_UNSPECIFIED", "ALLOW", "DENY", "IF_PRIORITY_LOWERED"),
    "light_settings": {"color": _COLOR, "light_on_duration": _duration, "light_off_duration": _duration},
}

_MESSAGE: Shape = {
    **dict.fromkeys((*ADDRESSES, "name"), _text),
    "data": _text_map,
    "notification": {"title": _text, "body": _text, "image": _text},
    "fcm_options": _OPTIONS,
    "android": {
        "collapse_key": _text,
        "priority": _one_of("NORMAL", "HIGH", "normal", "high"),  # its guides use small letters
        "ttl": _duration,
        "restricted_package_name": _text,
        "data": _text_map,
        "notification": _ANDROID_NOTIFICATION,
        "fcm_options": _OPTIONS,
        **dict.fromkeys(("direct_boot_ok", "bandwidth_constrained_ok", "restricted_satellite_ok"), _flag),
    },
    "webpush": {
        "headers": _text_map,
        "data": _text_map,
        "notification": _object,
        "fcm_options": {"link": _text, "analytics_label": _text},
    },
    "apns": {
        "headers": _text_map,
        "payload": _object,
        "fcm_options": {"image": _text, "analytics_label": _text},
        "live_activity_token": _text,
    },
}

_REQUEST: Shape = {"message": _MESSAGE, "validate_only": _flag}


def violations_of(request: Any, *, size: int) -> list[Violation]:
    """Everything that is wrong with a decoded request body of so many bytes; empty when it may be sent."""
    if not isinstance(request, dict):
        return [("", "The body must be a JSON object.")]
    if found := list(_violations(request, _REQUEST_EITHER_CASE, "")):
        return found
    message = request.get("message") or {}
    if sum(bool(message.get(address)) for address in ADDRESSES) != 1:
        return [("message", f"Exactly one of {', '.join(ADDRESSES)} must be set.")]
    limit = TOPIC_PAYLOAD_BYTES if message.get("topic") or message.get("condition") else PAYLOAD_BYTES
    if size > limit and max(_payload_sizes(message)) > limit:
        return [("message", f"The payload is larger than {limit} bytes.")]
    return []


def get(value: Mapping[str, Any] | None, *path: str) -> Any:
    """Follow a path of snake_case names through a checked message; None where it ends."""
    for name in path:
        if not value:
            return None
        found = value.get(name)
        value = value.get(_camel(name)) if found is None else found
    return value


def _violations(value: Mapping[str, Any], shape: Shape, place: str) -> Iterator[Violation]:
    for name, item in value.items():
        expected = shape.get(name)
        if expected is None:
            yield f"{place}{name}", "There is no such field."
        elif item is None:
            continue
        elif callable(expected):
            if problem := expected(item):
                yield f"{place}{name}", problem
        elif isinstance(item, dict):
            yield from _violations(item, expected, f"{place}{name}.")
        else:
            yield f"{place}{name}", "must be an object"


def _payload_sizes(message: Mapping[str, Any]) -> Iterator[int]:
    """What the limit is about, in bytes of compact JSON: the part common to all platforms, then each one's own."""
    yield _size_of(get(message, "notification"), get(message, "data"))
    for platform in ("android", "webpush"):
        yield _size_of(get(message, platform, "notification"), get(message, platform, "data"))
    yield _size_of(get(message, "apns", "payload"))


def _size_of(*parts: Any) -> int:
    return sum(
        len(json.dumps(part, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogatepass"))
        for part in parts
        if part is not None
    )


@cache
def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(word.capitalize() for word in others)


def _in_either_case(shape: Shape) -> Shape:
    spelled: dict[str, Check | Shape] = {}
    for name, expected in shape.items():
        spelled[name] = spelled[_camel(name)] = expected if callable(expected) else _in_either_case(expected)
    return spelled


_REQUEST_EITHER_CASE = _in_either_case(_REQUEST)
