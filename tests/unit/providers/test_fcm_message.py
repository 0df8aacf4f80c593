"""Every field of a push message finds its places in FCM's JSON."""

import json
from typing import Any

import pytest

from shared.domain.status import Channel
from shared.providers.contract import Content, SendRequest
from shared.providers.push.fcm_message import FcmMessage

NOW = 1_800_000_000.0
REQUEST = SendRequest("1700000000000-42", "token-1")
SHOWN = {"title": "Hello", "body": "Du & ich", "priority": "high"}


def message(data: dict[str, Any], request: SendRequest = REQUEST, expires_at: float = NOW + 3600) -> dict[str, Any]:
    body = FcmMessage(Content(1, Channel.PUSH, data, expires_at), NOW).body_for(request)
    parsed: dict[str, Any] = json.loads(body)["message"]
    assert parsed.pop("token") == request.identifier
    return parsed


def test_a_plain_notification() -> None:
    tag = message(SHOWN)["android"]["notification"]["tag"]

    assert len(tag) == 32
    assert message(SHOWN) == {
        "notification": {"title": "Hello", "body": "Du & ich"},
        "android": {"priority": "HIGH", "ttl": "3600s", "notification": {"tag": tag}},
        "apns": {"headers": {"apns-expiration": str(int(NOW) + 3600), "apns-priority": "10", "apns-collapse-id": tag}},
        "webpush": {"headers": {"Urgency": "high", "TTL": "3600"}, "notification": {"tag": tag}},
    }


@pytest.mark.parametrize(
    ("field", "places"),
    [
        (
            {"action": "https://example.com/offer"},
            {
                "android.notification.click_action": "https://example.com/offer",
                "apns.payload.aps.category": "https://example.com/offer",
                "webpush.fcm_options.link": "https://example.com/offer",
            },
        ),
        ({"action": "OPEN"}, {"android.notification.click_action": "OPEN", "webpush.fcm_options": None}),
        (
            {"image": {"bucketId": "b", "fileId": "f", "url": "https://t.example/i.png"}},
            {"notification.image": "https://t.example/i.png", "apns.payload.aps.mutable-content": 1},
        ),
        ({"icon": "bell"}, {"android.notification.icon": "bell", "webpush.notification.icon": "bell"}),
        ({"sound": "ping"}, {"android.notification.sound": "ping", "apns.payload.aps.sound": "ping"}),
        ({"color": "#ff0000"}, {"android.notification.color": "#ff0000"}),
        ({"channelId": "orders"}, {"android.notification.channel_id": "orders"}),
        (
            {"tag": "offer"},
            {
                "android.notification.tag": "offer",
                "apns.headers.apns-collapse-id": "offer",
                "webpush.notification.tag": "offer",
            },
        ),
        ({"badge": 3}, {"android.notification.notification_count": 3, "apns.payload.aps.badge": 3}),
        ({"badge": 0}, {"android.notification.notification_count": 0, "apns.payload.aps.badge": 0}),
        ({"badge": -1}, {"android.notification.notification_count": None, "apns.payload": None}),
        ({"contentAvailable": True}, {"apns.payload.aps.content-available": 1, "apns.headers.apns-priority": "10"}),
        ({"contentAvailable": False}, {"apns.payload": None}),
        (
            {"critical": True},
            {
                "apns.payload.aps.sound": {"critical": 1, "name": "default", "volume": 1.0},
                "apns.payload.aps.interruption-level": "critical",
                "android.notification.notification_priority": "PRIORITY_MAX",
            },
        ),
        ({"critical": True, "sound": "siren"}, {"apns.payload.aps.sound.name": "siren"}),
        ({"critical": False}, {"apns.payload": None, "android.notification.notification_priority": None}),
        (
            {"priority": "normal"},
            {
                "android.priority": "NORMAL",
                "apns.headers.apns-priority": "5",
                "webpush.headers.Urgency": "normal",
            },
        ),
        (
            {"data": {"text": "a", "number": 7, "flag": True, "none": None, "list": [1, {"ä": 2}]}},
            {"data": {"text": "a", "number": "7", "flag": "true", "none": "null", "list": '[1,{"ä":2}]'}},
        ),
    ],
    ids=lambda value: next(iter(value)),
)
def test_field(field: dict[str, Any], places: dict[str, Any]) -> None:
    sent = message({**SHOWN, **field})

    for place, expected in places.items():
        assert look_up(sent, place) == expected, place


def look_up(tree: Any, place: str) -> Any:
    for step in place.split("."):
        tree = tree.get(step) if isinstance(tree, dict) else None
    return tree


def test_data_alone_shows_nothing() -> None:
    sent = message({"data": {"order": "7"}, "contentAvailable": True, "color": "#ff0000", "priority": "high"})

    assert sent.keys() == {"data", "android", "apns", "webpush"}
    assert "notification" not in sent["android"]
    assert sent["apns"]["headers"]["apns-push-type"] == "background"
    assert sent["apns"]["headers"]["apns-priority"] == "5"
    assert sent["apns"]["payload"] == {"aps": {"content-available": 1}}


def test_a_copy_replaces_the_first_and_nothing_else() -> None:
    def tags(delivery_id: str) -> tuple[str, str]:
        sent = message(SHOWN, SendRequest(delivery_id, "token-1"))
        return sent["android"]["notification"]["tag"], sent["apns"]["headers"]["apns-collapse-id"]

    assert tags("1-1") == tags("1-1")
    assert len({*tags("1-1"), *tags("1-2"), *tags("2-1")}) == 3
    assert "collapse_key" not in message(SHOWN)["android"]


def test_a_long_tag_fits_apns() -> None:
    sent = message({**SHOWN, "tag": "é" * 40})

    assert sent["android"]["notification"]["tag"] == "é" * 40
    assert len(sent["apns"]["headers"]["apns-collapse-id"]) == 64


def test_time_to_live_stays_within_four_weeks() -> None:
    assert message(SHOWN, expires_at=NOW + 1e9)["android"]["ttl"] == "2419200s"
    assert message(SHOWN, expires_at=NOW - 5)["android"]["ttl"] == "0s"


def test_size_counts_bytes_of_notification_and_data() -> None:
    def size(data: dict[str, Any]) -> int:
        return FcmMessage(Content(1, Channel.PUSH, data, NOW), NOW).payload_bytes

    bare = size({"title": "", "body": ""})
    assert size({"body": "é" * 100}) > bare + 200
    assert size({"body": "x", "icon": "y" * 1000}) == size({"body": "x"})
