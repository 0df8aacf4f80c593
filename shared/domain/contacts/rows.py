"""One row of a contact file: a contact, or a fault with its line and reason."""

import csv
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain

from shared.domain.contacts.addresses import NotAnAddress, read_email, read_phone, without_unseen
from shared.domain.contacts.exports import VALUE_SEPARATOR
from shared.domain.contacts.fields import Field
from shared.domain.contacts.header import (
    Columns,
    Layout,
    UnreadableFile,
    are_text,
    guess_delimiter,
    read_header,
    shown,
)
from shared.ids import PUBLIC_ID

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

# a line before the header by which spreadsheets tell each other the delimiter
_DELIMITER_LINE = re.compile(r"sep=(.)\r?\n?", re.IGNORECASE)
# how spreadsheets are made to take a number for text, by hand and by programs that write for them
_TEXT_FORMULA = re.compile(r'="([^"]*)"')
_TEXT_MARK = "'"
# what is not drawn and belongs to no name; joiners and variants may
_UNSEEN_IN_NAMES = re.compile("[\u00ad\u061c\u200b\u200e\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff]")

# how the csv module says it: what it means for who wrote the file
_CSV_FAULTS = {
    "unexpected end of data": "a quote is opened there and never closed",
    f"field larger than field limit ({csv.field_size_limit()})": (
        f"a cell has more than {csv.field_size_limit():,} characters; perhaps a quote is never closed"
    ),
}


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


def read_contacts(lines: Iterable[str], layout: Layout, *, after_line: int = 0) -> Iterator[Contact | Fault]:
    """Each row after `after_line`, in the order of the file; blank lines are no rows.

    `lines` keep their line ends, and none is longer than LINE_LENGTH + 1: a longer one is cut there. Raises
    UnreadableFile when there is no usable header, the quoting is broken or a row is too long. Memory is one row.
    """
    columns, records = read_columns(lines, layout)
    for line, cells in records:
        if line > after_line:
            yield read_row(line, cells, columns, layout)


def read_columns(lines: Iterable[str], layout: Layout) -> tuple[Columns, Iterator[tuple[int, list[str]]]]:
    """What the header says, and the records below it: the line each begins at, and its cells."""
    remaining = iter(lines)
    line, header_line = 1, without_unseen(next(remaining, ""))
    delimiter = layout.delimiter
    if found := _DELIMITER_LINE.fullmatch(header_line):
        delimiter = delimiter or found[1]
        line, header_line = 2, without_unseen(next(remaining, ""))
    if not header_line.strip():
        raise UnreadableFile("The file has no header; its first line must name the columns.")
    records = _read_records(chain([header_line], remaining), delimiter or guess_delimiter(header_line), line)
    _line, header = next(records)
    return read_header(header, layout), records


def _read_records(lines: Iterable[str], delimiter: str, first_line: int) -> Iterator[tuple[int, list[str]]]:
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
        line, length = reader.line_num + first_line, 0
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise UnreadableFile(f"Line {line} is not valid CSV: {_CSV_FAULTS.get(str(error), error)}.") from error
        if cells:
            yield line, cells


def read_row(line: int, cells: Sequence[str], columns: Columns, layout: Layout) -> Contact | Fault:
    if len(cells) != len(columns.names):
        return Fault(line, f"The row has {len(cells)} cells, the header {len(columns.names)}.")
    if not are_text(cells):
        return Fault(line, "The row is not text in the file's encoding.")
    row = _Row(cells, columns.positions)
    if opted_out := next(filter(None, row.cells_of("opted_out")), ""):
        return Fault(line, f"Opted out: {shown(opted_out)}.")
    contact = Contact(
        line,
        user_id=row.one("user_id", _check_id),
        name=row.name(),
        email=row.one("email", read_email),
        phone=row.one("phone", partial(_read_phone, region=layout.region)),
        push_tokens=row.several("push_token", row.cells_of("push_token"), _check_identifier),
        topics=row.several("topics", [*row.topic_cells(), *layout.topics], _check_topic),
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
        """Freed of what spreadsheets put around a value so that they take it for text."""
        cells = [without_unseen(self._cells[position]).strip() for position in self._positions.get(column, ())]
        return [_TEXT_FORMULA.sub(r"\1", cell).removeprefix(_TEXT_MARK).strip() for cell in cells]

    def name(self) -> str:
        """Nearly as it is written: it may begin with an apostrophe, and hold joiners of its script."""
        written = {column: self._written(column) for column in ("name", "given_name", "family_name")}
        name = written["name"] or f"{written['given_name']} {written['family_name']}".strip()
        return next(iter(self.several("name", [name], _check_name)), "")

    def _written(self, column: Field) -> str:
        return _UNSEEN_IN_NAMES.sub("", "".join(self._cells[at] for at in self._positions.get(column, ()))).strip()

    def topic_cells(self) -> list[str]:
        return [topic.strip() for cell in self.cells_of("topics") for topic in cell.split(TOPIC_SEPARATOR)]

    def one(self, column: Field, check: Callable[[str], str]) -> str:
        """Of several values in a cell the first."""
        first = [cell.partition(VALUE_SEPARATOR)[0].strip() for cell in self.cells_of(column)]
        return next(iter(self.several(column, first, check)), "")

    def several(self, column: Field, texts: Sequence[str], check: Callable[[str], str]) -> tuple[str, ...]:
        """The valid ones, each once; a fault of the others is noted."""
        values: dict[str, None] = {}
        for text in texts:
            if not text:
                continue
            try:
                values[check(text)] = None
            except ValueError as error:
                self.reasons.append(f"{column} {shown(text)}: {error}")
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


def _read_phone(text: str, *, region: str | None) -> str:
    try:
        return read_phone(text, region=region)
    except NotAnAddress as error:
        if region is None and text[:1].isdigit():
            raise NotAnAddress(f"{error} With a region, as DE, numbers are read as they are dialled there.") from error
        raise
