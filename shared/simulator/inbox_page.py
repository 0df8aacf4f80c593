"""The inbox as HTML: everything is rendered here, nothing is loaded from elsewhere, every captured word is escaped."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from html import escape
from importlib.resources import files
from typing import Any
from urllib.parse import urlencode

from shared.simulator.faults import FaultPlan
from shared.simulator.mail_view import MailView, view_mail
from shared.simulator.record import Entry, Tally

STYLE = files("shared.simulator").joinpath("inbox.css").read_text(encoding="utf-8")


@dataclass(frozen=True, slots=True)
class Listing:
    entries: Sequence[Entry]  # newest first
    has_older: bool
    provider: str  # "": all
    query: str
    tallies: Mapping[str, Tally]
    plans: Mapping[str, FaultPlan[Any]]


def render_list(listing: Listing) -> str:
    return _document(
        "Captured messages",
        _search(listing),
        _tallies(listing.tallies),
        _entries(listing),
        _profiles(listing.plans),
        _magic_words(listing.plans),
    )


def render_capture(line: Mapping[str, Any]) -> str:
    view = _mail(view_mail(line)) if "raw" in line else _push(line)
    raw = line["raw"] if "raw" in line else json.dumps(line["payload"], indent=2, ensure_ascii=False)
    return _document(
        f"Message {line['n']}",
        '<p><a href="/">All messages</a></p>',
        f"<h1>{escape(line['title']) or '<i>no title</i>'}</h1>",
        _facts(line),
        view,
        f"<details><summary>As it came</summary><pre>{escape(raw)}</pre></details>",
    )


def _document(title: str, *parts: str) -> str:
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)} · Tidings simulator</title><style>{STYLE}</style></head>"
        f'<body><header><a href="/">Tidings simulator</a></header><main>{"".join(parts)}</main></body></html>'
    )


# the list


def _search(listing: Listing) -> str:
    options = "".join(
        f'<option value="{escape(name)}"{" selected" * (name == listing.provider)}>{escape(name or "all")}</option>'
        for name in ["", *listing.plans]
    )
    return (
        '<form method="get" action="/" role="search">'
        f'<input name="query" value="{escape(listing.query)}" placeholder="recipient or subject" aria-label="Search">'
        f'<select name="provider" aria-label="Provider">{options}</select><button>Search</button></form>'
    )


def _tallies(tallies: Mapping[str, Tally]) -> str:
    rows = (
        (name, tally.captured, tally.recipients, tally.copies, ", ".join(f"{k} {v}" for k, v in tally.outcomes.items()))
        for name, tally in tallies.items()
    )
    return _table(("provider", "captured", "recipients", "copies", "outcomes"), rows)


def _entries(listing: Listing) -> str:
    if not listing.entries:
        return '<p class="empty">Nothing here yet.</p>'
    rows = "".join(
        f'<tr><td><a href="/messages/{entry.n}">{entry.n}</a></td><td>{_time(entry.at)}</td>'
        f'<td><span class="provider">{escape(entry.provider)}</span></td>'
        f'<td class="address">{escape(entry.recipient)}</td><td>{escape(entry.title)}</td>'
        f"<td>{'copy' if entry.is_copy else ''}</td></tr>"
        for entry in listing.entries
    )
    heads = "".join(f"<th>{head}</th>" for head in ("n", "time (UTC)", "provider", "recipient", "title", ""))
    table = f'<div class="wide"><table class="list"><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div>'
    return table + (_older(listing) if listing.has_older else "")


def _older(listing: Listing) -> str:
    wishes = {"query": listing.query, "provider": listing.provider, "before": listing.entries[-1].n}
    return f'<p><a href="/?{escape(urlencode({name: wish for name, wish in wishes.items() if wish}))}">Older</a></p>'


def _profiles(plans: Mapping[str, FaultPlan[Any]]) -> str:
    """What departs from the defaults; secrets stay hidden."""
    rows = []
    for name, plan in plans.items():
        for field in fields(plan.profile):
            value = getattr(plan.profile, field.name)
            if value != field.default:
                rows.append((name, field.name, "set" if field.name == "password" else value))
    shown = _table(("provider", "field", "value"), rows) if rows else "<p>Every provider behaves well.</p>"
    return f"<h2>Faults</h2>{shown}<p>Change them with <code>PUT /faults</code>.</p>"


def _magic_words(plans: Mapping[str, FaultPlan[Any]]) -> str:
    rows = ((name, word.word, word.reply) for name, plan in plans.items() for word in plan.words)
    return (
        "<details><summary>Magic recipients</summary><p>A token, or the part of an address before the @, that has one "
        "of these words at its start or after a separator, with no letter after it: <code>dead</code>, "
        f"<code>token-dead-7</code>.</p>{_table(('provider', 'word', 'reply'), rows)}</details>"
    )


# one message


def _facts(line: Mapping[str, Any]) -> str:
    names = ("provider", "recipient", "message", "delivery", "outcome", "project", "tag", "collapse_key", "sender")
    rows = [(name, line[name]) for name in names if line.get(name)]
    return f"{_table(('', ''), [('accepted', _time(line['at'])), *rows])}"


def _mail(view: MailView) -> str:
    parts = []
    if view.html is not None:
        # No scripts, no forms, no links out of the frame; the page's policy keeps images from loading.
        parts.append(f'<h2>HTML</h2><iframe sandbox="" title="HTML part" srcdoc="{escape(view.html)}"></iframe>')
    if view.text is not None:
        parts.append(f"<h2>Text</h2><pre>{escape(view.text)}</pre>")
    if view.attachments:
        rows = [(attachment.name, attachment.content_type, attachment.size) for attachment in view.attachments]
        parts.append(f"<h2>Attachments</h2>{_table(('name', 'type', 'bytes'), rows)}")
    if view.is_cut:
        parts.append("<p>The record keeps the beginning of this mail only.</p>")
    return "".join([*parts, f"<h2>Headers</h2>{_table(('', ''), view.headers)}"])


def _push(line: Mapping[str, Any]) -> str:
    shown = (
        '<div class="phone"><div class="card"><span class="icon" aria-hidden="true"></span>'
        f"<div><b>{escape(line['title'])}</b><p>{escape(line['body'])}</p></div></div></div>"
    )
    data = line["payload"].get("data")
    return shown + (f"<h2>Data</h2>{_table(('key', 'value'), data.items())}" if data else "")


# pieces


def _table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    head = "".join(f"<th>{escape(head)}</th>" for head in heads) if any(heads) else ""
    body = "".join(f"<tr>{''.join(f'<td>{escape(str(cell))}</td>' for cell in row)}</tr>" for row in rows)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S")
