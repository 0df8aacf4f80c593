"""One captured message as HTML, as its recipient would see it: a notification, a chat, a mail.

Nothing is loaded from elsewhere, and what a mail brings along runs nowhere.
"""

import json
from collections.abc import Callable, Mapping
from html import escape
from typing import Any

from shared.domain.segments import split_segments
from shared.simulator.inbox_parts import document, section, table, time_of
from shared.simulator.mail_view import view_mail

_SHOWN_ELSEWHERE = frozenset({"n", "at", "title", "body", "text", "html", "raw", "encoding", "units", "segments"})


def render_message(line: Mapping[str, Any]) -> str:
    """`line` is the record's."""
    render = _CHANNELS.get(line.get("channel", ""))
    return document(
        f"Message {line['n']}",
        '<p><a href="/">All messages</a></p>',
        f"<h1>{escape(line['title']) or '<i>no title</i>'}</h1>",
        _facts(line),
        render(line) if render else "",
        f"<details><summary>As it came</summary><pre>{escape(_as_it_came(line))}</pre></details>",
    )


def _facts(line: Mapping[str, Any]) -> str:
    """All that is short, a provider's own keys included."""
    rows = [
        (name, value)
        for name, value in line.items()
        if name not in _SHOWN_ELSEWHERE and isinstance(value, str | int | float) and value != ""
    ]
    return table(("", ""), [("accepted", time_of(line["at"])), *rows])


def _as_it_came(line: Mapping[str, Any]) -> str:
    if "raw" in line:
        return str(line["raw"])
    return json.dumps(line.get("payload", line), indent=2, ensure_ascii=False)


def _push(line: Mapping[str, Any]) -> str:
    parts = [_phone(line) if line["title"] or line["body"] else "<p>The device shows nothing: a silent push.</p>"]
    notes = [(name, line[name]) for name in ("image", "badge", "sound") if name in line]
    if rows := [*notes, *line.get("settings", {}).items()]:
        parts.append(section("Settings", table(("", ""), rows)))
    if line.get("data"):
        parts.append(section("Data", table(("key", "value"), line["data"].items())))
    return "".join(parts)


def _phone(line: Mapping[str, Any]) -> str:
    badge = f'<span class="badge">{escape(str(line["badge"]))}</span>' if line.get("badge") else ""
    image = f'<p class="picture">Picture: {escape(str(line["image"]))}</p>' if line.get("image") else ""
    sound = f'<p class="note">Sound: {escape(str(line["sound"]))}</p>' if line.get("sound") else ""
    return (
        f'<div class="phone"><div class="card"><span class="icon">{badge}</span>'
        f"<div><b>{escape(line['title'])}</b><p>{escape(line['body'])}</p>{image}{sound}</div></div></div>"
    )


def _sms(line: Mapping[str, Any]) -> str:
    parts = split_segments(line["text"])
    bubbles = "".join(
        f'<div class="bubble">{escape(part)}<small>{number} of {len(parts)}</small></div>'
        for number, part in enumerate(parts, start=1)
    )
    segments = "1 segment" if line["segments"] == 1 else f"{line['segments']} segments"
    return (
        f'<div class="phone"><p class="note">{escape(line["sender"] or "no sender")}</p>{bubbles}</div>'
        f"<p>{segments}, {line['units']} units of {escape(line['encoding'])}</p>"
    )


def _mail(line: Mapping[str, Any]) -> str:
    view, parts = view_mail(line), []
    if view.html is not None:
        # No scripts, no forms, no links out of the frame; the page's policy keeps images from loading.
        frame = f'<iframe sandbox="" title="HTML part" srcdoc="{escape(view.html)}"></iframe>'
        parts.append(section("HTML", frame))
    if view.text is not None:
        parts.append(section("Text", f"<pre>{escape(view.text)}</pre>"))
    if view.attachments:
        rows = [(attachment.name, attachment.content_type, attachment.size) for attachment in view.attachments]
        parts.append(section("Attachments", table(("name", "type", "bytes"), rows)))
    if view.is_cut:
        parts.append("<p>The record keeps the beginning of this mail only.</p>")
    return "".join([*parts, section("Headers", table(("", ""), view.headers))])


_CHANNELS: Mapping[str, Callable[[Mapping[str, Any]], str]] = {"push": _push, "sms": _sms, "email": _mail}
