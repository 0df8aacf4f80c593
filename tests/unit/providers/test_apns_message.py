"""Every field of a push message finds its place in APNs' headers and JSON, or none."""

import json
from hashlib import sha256
from typing import Any

import pytest

from shared.domain.outcome import Refused
from shared.domain.status import Channel
from shared.providers.contract import Content
from shared.providers.push.apns_message import PAYLOAD_LIMIT_BYTES, ApnsMessage, render_message

SHOWN = {"title": "Hello", "body": "Du & ich", "priority": "high"}


def rendered(data: dict[str, Any]) -> tuple[dict[str, str], dict[str, Any]]:
    """Headers and payload."""
    message = render_message(Content(1, Channel.PUSH, data, 1_800_000_000.5))
    assert isinstance(message, ApnsMessage)
    return dict(header.split(": ", 1) for header in message.headers), json.loads(message.payload)


def test_a_plain_notification() -> None:
    assert rendered(SHOWN) == (
        {
            "apns-push-type": "alert",
            "apns-priority": "10",
            "apns-expiration": "1800000000",
            "content-type": "application/json",
        },
        {"aps": {"alert": {"title": "Hello", "body": "Du & ich"}}},
    )


@pytest.mark.parametrize(
    ("field", "aps"),
    [
        ({"action": "OPEN"}, {"category": "OPEN"}),
        ({"sound": "ping"}, {"sound": "ping"}),
        ({"critical": True}, {"sound": {"critical": 1, "name": "default", "volume": 1.0}}),
        ({"critical": True, "sound": "ping"}, {"sound": {"critical": 1, "name": "ping", "volume": 1.0}}),
        ({"critical": True}, {"interruption-level": "critical"}),
        ({"critical": False}, {"sound": None, "interruption-level": None}),
        ({"badge": 3}, {"badge": 3}),
        ({"badge": "3"}, {"badge": 3}),
        ({"badge": 0}, {"badge": 0}),
        ({"badge": -1}, {"badge": None}),
        ({"contentAvailable": True}, {"content-available": 1}),
        ({"contentAvailable": False}, {"content-available": None}),
        ({"icon": "bell", "color": "#ff0000"}, {"icon": None, "color": None}),
    ],
)
def test_a_field_and_its_place(field: dict[str, Any], aps: dict[str, Any]) -> None:
    _, payload = rendered({**SHOWN, **field})

    assert {key: payload["aps"].get(key) for key in aps} == aps
    assert payload.keys() == {"aps"}


def test_an_image_is_for_the_app_to_fetch() -> None:
    _, payload = rendered({**SHOWN, "image": {"bucketId": "b", "fileId": "f", "url": "https://t.example/i.png"}})

    assert payload["image"] == "https://t.example/i.png"
    assert payload["aps"]["mutable-content"] == 1


def test_data_lies_beside_aps_and_where_appwrite_puts_it() -> None:
    data = {"order": 7, "from": {"name": "Mia"}, "aps": {"alert": "other"}}

    _, payload = rendered({**SHOWN, "data": data})

    assert {key: payload[key] for key in ("order", "from")} == {"order": 7, "from": {"name": "Mia"}}
    assert payload["aps"]["alert"] == {"title": "Hello", "body": "Du & ich"}
    assert payload["aps"]["data"] == data


def test_data_that_has_no_room_twice_lies_beside_aps() -> None:
    _, payload = rendered({**SHOWN, "data": {"text": "x" * (PAYLOAD_LIMIT_BYTES // 2)}})

    assert payload["text"]
    assert "data" not in payload["aps"]


@pytest.mark.parametrize(
    ("data", "push_type", "priority"),
    [
        (SHOWN, "alert", "10"),
        ({**SHOWN, "priority": "normal"}, "alert", "5"),
        ({**SHOWN, "contentAvailable": True}, "alert", "10"),
        ({"badge": 0, "priority": "high"}, "alert", "10"),
        ({"sound": "ping", "contentAvailable": True}, "alert", "10"),
        ({"contentAvailable": True, "priority": "high"}, "background", "5"),
        ({"data": {"sync": 1}, "priority": "high"}, "background", "5"),
    ],
)
def test_the_push_type_and_priority_follow_from_what_is_shown(
    data: dict[str, Any], push_type: str, priority: str
) -> None:
    headers, payload = rendered(data)

    assert (headers["apns-push-type"], headers["apns-priority"]) == (push_type, priority)
    assert push_type == "alert" or payload["aps"]["content-available"] == 1


@pytest.mark.parametrize(
    ("tag", "collapse_id"),
    [
        ("offer", "offer"),
        ("a" * 64, "a" * 64),
        ("a" * 65, sha256(b"a" * 65).hexdigest()),
        ("größer", sha256("größer".encode()).hexdigest()),
        (" offer", sha256(b" offer").hexdigest()),  # a header's value is trimmed on its way
        ("a\r\nb: c", sha256(b"a\r\nb: c").hexdigest()),
    ],
)
def test_a_tag_is_the_collapse_id_or_hashed_into_one(tag: str, collapse_id: str) -> None:
    headers, _ = rendered({**SHOWN, "tag": tag})

    assert headers["apns-collapse-id"] == collapse_id


@pytest.mark.parametrize("data", [{"priority": "high"}, {"icon": "bell", "action": "OPEN", "badge": -1}])
def test_what_shows_nothing_and_says_nothing_is_refused(data: dict[str, Any]) -> None:
    assert isinstance(render_message(Content(1, Channel.PUSH, data, 1e9)), Refused)


def test_the_limit_counts_bytes_of_the_whole_payload() -> None:
    """Without the second place for data, which is given up first."""
    overhead = len('{"aps":{"alert":{"body":""}}}')
    fits = {"body": "é" * ((PAYLOAD_LIMIT_BYTES - overhead) // 2)}

    assert rendered(fits)
    assert isinstance(render_message(Content(1, Channel.PUSH, {"body": fits["body"] + "éé"}, 1e9)), Refused)
