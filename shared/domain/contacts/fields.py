"""What a column of a contact file can hold."""

from typing import Literal, get_args

Field = Literal[
    "user_id",
    "name",
    "given_name",  # with family_name: the name, where a row has no name
    "family_name",
    "email",
    "phone",
    "push_token",
    "topics",
    "opted_out",  # whoever has anything in it wants no messages
    "ignore",
]
FIELDS: tuple[Field, ...] = get_args(Field)
COLUMNS: tuple[Field, ...] = FIELDS[:-1]
"""Those that a header may name."""
