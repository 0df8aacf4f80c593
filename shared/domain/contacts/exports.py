"""Contact files as other programs export them, known by their header: which columns are read; all others are not.

Names of columns are those of exports that people published (2024 to 2026). Labels and tags are no topics: `topics`
names ids. Of several e-mail addresses or numbers of a person the first is taken.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from shared.domain.contacts.fields import Field

VALUE_SEPARATOR = ":::"
"""Between several values in one cell, by Google Contacts."""


@dataclass(frozen=True, slots=True)
class Export:
    program: str
    marks: frozenset[str]  # columns that it always has and others hardly have together
    fields: Mapping[str, Field]


EXPORTS = (
    Export(
        "Google Contacts",
        frozenset({"First Name", "Last Name", "E-mail 1 - Value"}),
        {
            "First Name": "given_name",
            "Last Name": "family_name",
            "E-mail 1 - Value": "email",
            "Phone 1 - Value": "phone",
        },
    ),
    Export(
        "Google Contacts, before 2024",
        frozenset({"Name", "Given Name", "Family Name", "E-mail 1 - Value"}),
        {"Name": "name", "E-mail 1 - Value": "email", "Phone 1 - Value": "phone"},
    ),
    Export(
        "Mailchimp",
        frozenset({"Email Address", "LEID", "EUID"}),
        {
            "Email Address": "email",
            "First Name": "given_name",
            "Last Name": "family_name",
            "Phone Number": "phone",
            "UNSUB_TIME": "opted_out",
            "CLEAN_TIME": "opted_out",
        },
    ),
    Export(
        "Outlook",
        frozenset({"First Name", "Last Name", "E-mail Address", "Mobile Phone"}),
        {
            "First Name": "given_name",
            "Last Name": "family_name",
            "E-mail Address": "email",
            "Mobile Phone": "phone",
        },
    ),
)


def known_export(header: Collection[str]) -> Export | None:
    """`header`: the columns' names, without blanks around them."""
    names = frozenset(header)
    return next((export for export in EXPORTS if export.marks <= names), None)
