"""One row of a contact file: a contact, or a fault with its line and reason."""

import csv
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Literal, get_args

from shared.domain.contacts.addresses import read_email, read_phone
from shared.errors import RejectedRequest
from shared.ids import PUBLIC_ID

Field = Literal["user_id", "name", "email", "phone", "push_token", "topics", "ignore"]
FIELDS: tuple[Field, ...] = get_args(Field)

DELIMITERS = ",;\t|"
TOPIC_SEPARATOR = ";"
LINE_LENGTH = 1_000_000
"""Of a contact with hundreds of push tokens and topics it is a tenth; what is longer is no contact file."""
NAME_LENGTH = 128
IDENTIFIER_LENGTH = 255
MAX_PUSH_TOKENS = 50
"""Of a row. People have a few devices; each is subscribed to each of the row's topics."""
MAX_TOPICS = 100
"""Of a row, likewise."""
MAX_REASONS = 5
"""Of a row that are told: each cell may be wrong, and a reason is longer than most cells."""

_NUMBERED_PUSH_TOKEN = re.compile(r"push_token_[0-9]+")
# a NUL cannot be stored; a lone surrogate stands for a byte that is not UTF-8 (the file is read that way)
_NOT_TEXT = re.compile("[\0\ud800-\udfff]")
_SHOWN_LENGTH = 60
_SHOWN_NAMES = 20

# how the csv module says it: what it means for who wrote the file
_CSV_FAULTS = {
    "unexpected end of data": "a quote is opened there and never closed",
    f"field larger than field limit ({csv.field_size_limit()})": (
        f"a cell has more than {csv.field_size_limit():,} characters; perhaps a quote is never closed"
    ),
}


class UnreadableFile(RejectedRequest):
    """The file as a whole cannot be read as contacts; nothing of it is imported."""

    def __init__(self, message: str) -> None:
        super().__init__("general_argument_invalid", message)


@dataclass(frozen=True, slots=True)
class Layout:
    """How a file is to be read."""

    delimiter: str | None = None  # None: the likeliest one in the header line
    fields: Mapping[str, Field] = field(default_factory=dict)  # header name in the file -> field, for other names


@dataclass(frozen=True, slots=True)
class Contact:
    """A row that is valid by itself. Missing values are empty; no address or topic stands twice."""

    line: int  # where the row begins in the file; the header is line 1
    user_id: str
    name: str
    email: str
    phone: str
    push_tokens: tuple[str, ...]
    topics: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Fault:
    line: int
    reason: str


@dataclass(frozen=True, slots=True)
class Columns:
    """Where each field stands. Only push_token may stand in several columns."""

    width: int
    positions: Mapping[Field, Sequence[int]]


def read_contacts(lines: Iterable[str], layout: Layout, *, after_line: int = 0) -> Iterator[Contact | Fault]:
    """Each row after `after_line`, in the order of the file; blank lines are no rows.

    `lines` keep their line ends, and none is longer than LINE_LENGTH + 1: a longer one is cut there. Raises
    UnreadableFile when there is no usable header, the quoting is broken or a row is too long. Memory is one row.
    """
    remaining = iter(lines)
    header_line = next(remaining, "")
    if not header_line.strip():
        raise UnreadableFile("The file has no header; its first line must name the columns.")
    delimiter = layout.delimiter or guess_delimiter(header_line)
    if len(delimiter) != 1 or delimiter in '"\r\n':
        raise UnreadableFile("The delimiter must be one character, neither a quote nor a line end.")
    records = _read_records(chain([header_line], remaining), delimiter)
    _line, header = next(records)
    columns = read_header(header, layout.fields)
    for line, cells in records:
        if line > after_line:
            yield read_row(line, cells, columns)


def _read_records(lines: Iterable[str], delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """The line each record begins at, and its cells. A quoted cell may run over several lines."""
    length = 0  # of this record so far, in characters

    def measured() -> Iterator[str]:
        nonlocal length
        for text in lines:
            length += len(text)
            if length > LINE_LENGTH:
                raise csv.Error(f"it goes on for more than {LINE_LENGTH:,} characters")
            yield text

    reader = csv.reader(measured(), delimiter=delimiter, strict=True)
    while True:
        line, length = reader.line_num + 1, 0
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise UnreadableFile(f"Line {line} is not valid CSV: {_CSV_FAULTS.get(str(error), error)}.") from error
        if cells:
            yield line, cells


def guess_delimiter(header_line: str) -> str:
    return max(DELIMITERS, key=header_line.count)


def read_header(cells: Sequence[str], fields: Mapping[str, Field]) -> Columns:
    """`fields`: other names for columns, as they stand in the file."""
    if any(_NOT_TEXT.search(cell) for cell in cells):
        raise UnreadableFile("The file is not UTF-8 text; save it as CSV in UTF-8.")
    unknown_names = fields.keys() - {cell.strip() for cell in cells}
    if unknown_names:
        raise UnreadableFile(f"The header has no column {_listed(sorted(unknown_names))}.")
    positions: dict[Field, list[int]] = {}
    unknown = []
    for position, cell in enumerate(cells):
        column = fields.get(cell.strip()) or _field_named(cell)
        if column is None:
            unknown.append(cell)
        else:
            positions.setdefault(column, []).append(position)
    if unknown:
        raise UnreadableFile(
            f"The header has unknown columns: {_listed(unknown)}. Known are {', '.join(FIELDS[:-1])}; "
            "map others to one of these or to `ignore`."
        )
    _require_usable(positions)
    return Columns(len(cells), positions)


def _require_usable(positions: Mapping[Field, Sequence[int]]) -> None:
    for column, places in positions.items():
        if len(places) > 1 and column not in {"push_token", "ignore"}:
            raise UnreadableFile(f"The header has {len(places)} columns for {column}.")
    if not positions.keys() & {"user_id", "email", "phone", "push_token"}:
        raise UnreadableFile("The header names neither user_id nor email, phone or push_token.")


def _field_named(header: str) -> Field | None:
    name = re.sub(r"[\s-]+", "_", header.strip().lower())
    if _NUMBERED_PUSH_TOKEN.fullmatch(name):
        return "push_token"
    return next((column for column in FIELDS[:-1] if column == name), None)


def read_row(line: int, cells: Sequence[str], columns: Columns) -> Contact | Fault:
    if len(cells) != columns.width:
        return Fault(line, f"The row has {len(cells)} cells, the header {columns.width}.")
    if any(_NOT_TEXT.search(cell) for cell in cells if not cell.isascii() or "\0" in cell):
        return Fault(line, "The row is not UTF-8 text.")
    row = _Row(cells, columns.positions)
    contact = Contact(
        line,
        user_id=row.one("user_id", _check_id),
        name=row.one("name", _check_name),
        email=row.one("email", read_email),
        phone=row.one("phone", read_phone),
        push_tokens=row.several("push_token", row.cells_of("push_token"), _check_identifier),
        topics=row.several("topics", row.topic_cells(), _check_topic),
    )
    if not row.reasons and not (contact.user_id or contact.email or contact.phone or contact.push_tokens):
        row.reasons.append("The row has neither a user_id nor an address.")
    row.reasons.extend(excesses(contact))
    return Fault(line, told(row.reasons)) if row.reasons else contact


def excesses(contact: Contact) -> Iterator[str]:
    """What a row has too much of, in words."""
    if len(contact.push_tokens) > MAX_PUSH_TOKENS:
        yield f"The row has {len(contact.push_tokens)} push tokens; more than {MAX_PUSH_TOKENS} are not taken."
    if len(contact.topics) > MAX_TOPICS:
        yield f"The row has {len(contact.topics)} topics; more than {MAX_TOPICS} are not taken."


def told(reasons: Sequence[str]) -> str:
    """What is wrong with a row, as it is kept."""
    more = len(reasons) - MAX_REASONS
    return " ".join([*reasons[:MAX_REASONS], *([f"There are {more} more."] if more > 0 else ())])


class _Row:
    """The cells of one row, and what was wrong with them."""

    def __init__(self, cells: Sequence[str], positions: Mapping[Field, Sequence[int]]) -> None:
        self._cells = cells
        self._positions = positions
        self.reasons: list[str] = []

    def cells_of(self, column: Field) -> list[str]:
        return [self._cells[position].strip() for position in self._positions.get(column, ())]

    def topic_cells(self) -> list[str]:
        return [topic.strip() for cell in self.cells_of("topics") for topic in cell.split(TOPIC_SEPARATOR)]

    def one(self, column: Field, check: Callable[[str], str]) -> str:
        return next(iter(self.several(column, self.cells_of(column), check)), "")

    def several(self, column: Field, texts: Sequence[str], check: Callable[[str], str]) -> tuple[str, ...]:
        """The valid ones, each once; a fault of the others is noted."""
        values: dict[str, None] = {}
        for text in texts:
            if not text:
                continue
            try:
                values[check(text)] = None
            except ValueError as error:
                self.reasons.append(f"{column} {_shown(text)}: {error}")
        return tuple(values)


def _check_id(text: str) -> str:
    if not PUBLIC_ID.fullmatch(text):
        raise ValueError("An id has 1 to 36 characters of A-Z a-z 0-9 . _ - and starts with a letter or digit.")
    return text


def _check_topic(text: str) -> str:
    if not PUBLIC_ID.fullmatch(text):
        raise ValueError("Topics are named by their ids, with semicolons between them.")
    return text


def _check_name(text: str) -> str:
    if len(text) > NAME_LENGTH:
        raise ValueError(f"A name has at most {NAME_LENGTH} characters.")
    return text


def _check_identifier(text: str) -> str:
    if len(text) > IDENTIFIER_LENGTH:
        raise ValueError(f"An address has at most {IDENTIFIER_LENGTH} characters.")
    return text


def _shown(text: str) -> str:
    return repr(text if len(text) <= _SHOWN_LENGTH else f"{text[:_SHOWN_LENGTH]}…")


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(map(_shown, names[:_SHOWN_NAMES]))
    return f"{shown} and {len(names) - _SHOWN_NAMES} more" if len(names) > _SHOWN_NAMES else shown
