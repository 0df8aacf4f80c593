"""The first line of a contact file, which says what stands in which column."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from shared.domain.contacts.addresses import REGIONS
from shared.domain.contacts.encodings import Encoding
from shared.domain.contacts.exports import Export, known_export
from shared.domain.contacts.fields import COLUMNS, Field
from shared.errors import RejectedRequest
from shared.ids import PUBLIC_ID

DELIMITERS = ",;\t|"

_SEVERAL_COLUMNS = frozenset({"push_token", "opted_out", "ignore"})
_NUMBERED_PUSH_TOKEN = re.compile(r"push_token_[0-9]+")
# a NUL cannot be stored; a lone surrogate stands for bytes that are not of the encoding (files are read that way),
# as does what Unicode has for what was lost
_NOT_TEXT = re.compile("[\0\ud800-\udfff\ufffd]")
_SHOWN_LENGTH = 60
_SHOWN_NAMES = 20


class UnreadableFile(RejectedRequest):
    """The file as a whole cannot be read as contacts; nothing of it is imported."""

    def __init__(self, message: str) -> None:
        super().__init__("general_argument_invalid", message)


@dataclass(frozen=True, slots=True)
class Layout:
    """How a file is to be read. Raises UnreadableFile where it cannot be read like that."""

    delimiter: str | None = None  # None: the likeliest one in the header line
    fields: Mapping[str, Field] = field(default_factory=dict)  # header name in the file -> field, for other names
    encoding: Encoding | None = None  # None: as detect_encoding has it
    region: str | None = None  # where phone numbers without + are dialled; one of REGIONS
    ignores_unknown: bool = False  # columns of unknown names; False: they make the file unreadable
    topics: tuple[str, ...] = ()  # ids; each row's addresses are subscribed to them too

    def __post_init__(self) -> None:
        if self.delimiter is not None and (len(self.delimiter) != 1 or self.delimiter in '"\r\n'):
            raise UnreadableFile("The delimiter must be one character, neither a quote nor a line end.")
        if self.region is not None and self.region not in REGIONS:
            raise UnreadableFile(f"There is no region {shown(self.region)}; name it by two letters, as DE, US or IN.")
        for topic in self.topics:
            if not PUBLIC_ID.fullmatch(topic):
                raise UnreadableFile(f"{shown(topic)} is no id of a topic.")


@dataclass(frozen=True, slots=True)
class Columns:
    """Where each field stands. Only some fields may stand in several columns."""

    names: Sequence[str]  # as they stand in the file
    positions: Mapping[Field, Sequence[int]]
    export: Export | None = None  # the program that wrote the file, where its header tells


def guess_delimiter(header_line: str) -> str:
    return max(DELIMITERS, key=header_line.count)


def read_header(cells: Sequence[str], layout: Layout) -> Columns:
    if not are_text(cells):
        raise UnreadableFile("The header is not text in the file's encoding; name that, or save as CSV in UTF-8.")
    names = [cell.strip() for cell in cells]
    unknown_names = layout.fields.keys() - set(names)
    if unknown_names:
        raise UnreadableFile(f"The header has no column {_listed(sorted(unknown_names))}.")
    export = known_export(names)
    positions: dict[Field, list[int]] = {}
    unknown = []
    for position, name in enumerate(names):
        column = layout.fields.get(name) or (export.fields.get(name, "ignore") if export else _field_named(name))
        if column is None and not layout.ignores_unknown:
            unknown.append(name)
        positions.setdefault(column or "ignore", []).append(position)
    if unknown:
        raise UnreadableFile(
            f"The header has unknown columns: {_listed(unknown)}. Known are {', '.join(COLUMNS)}; "
            "map others to one of these or to `ignore`, or have all unknown ones ignored."
        )
    _require_usable(positions)
    return Columns(names, positions, export)


def _require_usable(positions: Mapping[Field, Sequence[int]]) -> None:
    for column, places in positions.items():
        if len(places) > 1 and column not in _SEVERAL_COLUMNS:
            raise UnreadableFile(f"The header has {len(places)} columns for {column}.")
    if not positions.keys() & {"user_id", "email", "phone", "push_token"}:
        raise UnreadableFile("The header names neither user_id nor email, phone or push_token.")


def _field_named(header: str) -> Field | None:
    name = re.sub(r"[\s-]+", "_", header.lower())
    if _NUMBERED_PUSH_TOKEN.fullmatch(name):
        return "push_token"
    return next((column for column in COLUMNS if column == name), None)


def are_text(cells: Sequence[str]) -> bool:
    return not any(_NOT_TEXT.search(cell) for cell in cells if not cell.isascii() or "\0" in cell)


def shown(text: str) -> str:
    """Somebody's words within a sentence of ours."""
    return repr(text if len(text) <= _SHOWN_LENGTH else f"{text[:_SHOWN_LENGTH]}…")


def _listed(names: Sequence[str]) -> str:
    some = ", ".join(map(shown, names[:_SHOWN_NAMES]))
    return f"{some} and {len(names) - _SHOWN_NAMES} more" if len(names) > _SHOWN_NAMES else some
