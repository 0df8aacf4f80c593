"""`tidings import --check`: how a contact file would be read, and what of it, before anything is written."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from shared.db.queries.contacts.run import ContactFile, bounded_lines
from shared.domain.contacts.encodings import Encoding
from shared.domain.contacts.fields import Field
from shared.domain.contacts.header import shown
from shared.domain.contacts.plan import identifiers_of
from shared.domain.contacts.rows import Contact, Fault, read_columns, read_contacts
from shared.domain.status import Channel

SHOWN_IGNORED = 5
FIRST_CONTACTS = 3


@dataclass(frozen=True, slots=True)
class Reading:
    """How a file is understood."""

    program: str | None  # that exported it
    fields: dict[str, Field]  # by the column's name in the file
    ignored: list[str]  # columns

    def __str__(self) -> str:
        read = ", ".join(name if name == field else f"{shown(name)} as {field}" for name, field in self.fields.items())
        sentences = [f"An export of {self.program}." if self.program else "", f"Columns read: {read}."]
        if self.ignored:
            some = ", ".join(map(shown, self.ignored[:SHOWN_IGNORED]))
            more = len(self.ignored) - SHOWN_IGNORED
            sentences.append(f"Not read: {some}{f' and {more} more' if more > 0 else ''}.")
        return " ".join(filter(None, sentences))


def read_reading(file: ContactFile, encoding: Encoding) -> Reading:
    """Raises UnreadableFile."""
    with file.open_as(encoding) as text:
        columns, _records = read_columns(bounded_lines(text), file.layout)
    names: dict[str, Field] = {}
    ignored = []
    for column, positions in columns.positions.items():
        for position in positions:
            if column == "ignore":
                ignored.append(columns.names[position])
            else:
                names[columns.names[position]] = column
    return Reading(columns.export.program if columns.export else None, names, ignored)


@dataclass(slots=True)
class Check:
    """Counts of the rows that were read so far."""

    rows_total: int = 0
    bad_total: int = 0
    addresses: dict[Channel, int] = field(default_factory=lambda: dict.fromkeys(Channel, 0))
    first: list[Contact] = field(default_factory=list)

    def faults_in(self, file: ContactFile, encoding: Encoding) -> Iterator[Fault]:
        """The bad rows; the check is complete when they end. Raises UnreadableFile."""
        with file.open_as(encoding) as text:
            for row in read_contacts(bounded_lines(text), file.layout):
                self.rows_total += 1
                if isinstance(row, Fault):
                    self.bad_total += 1
                    yield row
                    continue
                for channel, _identifier in identifiers_of(row):
                    self.addresses[channel] += 1
                if len(self.first) < FIRST_CONTACTS:
                    self.first.append(row)
