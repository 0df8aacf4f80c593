"""What a line of the record says of a message's content: the same keys for every provider of a channel, so that the
inbox shows a message without knowing who carried it.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from shared.domain.segments import count_segments

RECORDED_CHARACTERS = 64 * 1024
"""So much of each text goes on record."""


def push(
    *,
    body: str,
    image: str | None = None,
    badge: int | None = None,
    sound: str | None = None,
    data: Mapping[str, Any] | None = None,
    settings: Mapping[str, Any] | None = None,
    payload: Mapping[str, Any],
) -> dict[str, Any]:
    """`settings`: what else a person should see of it, by any name (priority, action, interruption level).
    `payload`: all of it, as the provider's API has it, without the recipient.
    """
    shown = {"image": image, "badge": badge, "sound": sound, "data": data, "settings": settings}
    said = {key: value for key, value in shown.items() if value is not None}
    return {"channel": "push", "body": body, **said, "payload": payload}


def sms(text: str, *, sender: str) -> dict[str, Any]:
    segments = count_segments(text)
    return {
        "channel": "sms",
        "sender": sender,
        "text": text[:RECORDED_CHARACTERS],
        "encoding": segments.encoding,
        "units": segments.units,
        "segments": segments.parts,
    }


def email(
    *,
    sender: str,
    text: str | None = None,
    html: str | None = None,
    headers: Iterable[tuple[str, str]] = (),
    attachments: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """`headers` in the order a mail program would show them, `Subject` included; each attachment has `name`,
    `content_type` and `size` in bytes.
    """
    return {
        "channel": "email",
        "sender": sender,
        "text": None if text is None else text[:RECORDED_CHARACTERS],
        "html": None if html is None else html[:RECORDED_CHARACTERS],
        "headers": [list(header) for header in headers],
        "attachments": [dict(attachment) for attachment in attachments],
    }
