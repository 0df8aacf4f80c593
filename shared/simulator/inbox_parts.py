"""The pieces that the inbox's pages are made of. Every word that was captured is escaped here or where it is put in."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from html import escape
from importlib.resources import files

STYLE = files("shared.simulator").joinpath("inbox.css").read_text(encoding="utf-8")


def document(title: str, *parts: str) -> str:
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)} · Tidings simulator</title><style>{STYLE}</style></head>"
        f'<body><header><a href="/">Tidings simulator</a></header><main>{"".join(parts)}</main></body></html>'
    )


def table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    head = "".join(f"<th>{escape(head)}</th>" for head in heads) if any(heads) else ""
    body = "".join(f"<tr>{''.join(f'<td>{escape(str(cell))}</td>' for cell in row)}</tr>" for row in rows)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def section(title: str, content: str) -> str:
    return f"<h2>{escape(title)}</h2>{content}"


def time_of(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S")
