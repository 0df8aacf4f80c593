"""The inbox's list as HTML, with what is around it: counts, faults, magic recipients."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from urllib.parse import urlencode

from shared.simulator.faults import Faults
from shared.simulator.inbox_parts import document, section, table, time_of
from shared.simulator.record import Entry, Tally


@dataclass(frozen=True, slots=True)
class Listing:
    entries: Sequence[Entry]  # newest first
    has_older: bool
    provider: str  # "": all
    query: str
    tallies: Mapping[str, Tally]
    faults: Faults


def render_list(listing: Listing) -> str:
    return document(
        "Captured messages",
        _search(listing),
        _tallies(listing.tallies),
        _entries(listing),
        _profiles(listing.faults),
        _magic_words(listing.faults),
    )


def _search(listing: Listing) -> str:
    options = "".join(
        f'<option value="{escape(name)}"{" selected" * (name == listing.provider)}>{escape(name or "all")}</option>'
        for name in ["", *listing.faults.plans]
    )
    return (
        '<form method="get" action="/" role="search">'
        f'<input name="query" value="{escape(listing.query)}" placeholder="recipient or words" aria-label="Search">'
        f'<select name="provider" aria-label="Provider">{options}</select><button>Search</button></form>'
    )


def _tallies(tallies: Mapping[str, Tally]) -> str:
    rows = (
        (name, tally.captured, tally.recipients, tally.copies, ", ".join(f"{k} {v}" for k, v in tally.outcomes.items()))
        for name, tally in tallies.items()
    )
    return table(("provider", "captured", "recipients", "copies", "outcomes"), rows)


def _entries(listing: Listing) -> str:
    if not listing.entries:
        return '<p class="empty">Nothing here yet.</p>'
    rows = "".join(
        f'<tr><td><a href="/messages/{entry.n}">{entry.n}</a></td><td>{time_of(entry.at)}</td>'
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


def _profiles(faults: Faults) -> str:
    rows = [(name, field, value) for name, its in faults.departures().items() for field, value in its.items()]
    shown = table(("provider", "field", "value"), rows) if rows else "<p>Every provider behaves well.</p>"
    return section("Faults", f"{shown}<p>Change them with <code>tidings simulator faults set</code>.</p>")


def _magic_words(faults: Faults) -> str:
    rows = ((name, word.word, word.reply) for name, plan in faults.plans.items() for word in plan.words)
    return (
        "<details><summary>Magic recipients</summary><p>A token, or the part of an address before the @, that has one "
        "of these words at its start or after a separator, with no letter after it: <code>dead</code>, "
        "<code>token-dead-7</code>. Of a phone number, its last digits: <code>+12025550190</code>.</p>"
        f"{table(('provider', 'word', 'reply'), rows)}</details>"
    )
