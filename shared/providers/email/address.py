"""Mail addresses as the wire takes them: checked one by one, domains in ASCII."""

import re
from typing import Final, NamedTuple

from email_validator import EmailNotValidError, validate_email

PLAIN: Final = re.compile(
    r"(?=[^@]{1,64}@)(?=.{3,254}\Z)"
    r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*"
    r"@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?)(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*"
)
"""What nearly every address is, and nothing that could end a command or a header. Checked in under a microsecond;
all others go through email-validator, which takes a hundred."""

LONGEST: Final = 1_000
"""Characters. The wire takes a quarter of that (RFC 5321 §4.5.3.1), and what is longer is refused unread."""


class Address(NamedTuple):
    text: str  # the domain in ASCII (punycode), the local part as it is
    needs_utf8: bool  # its local part is not ASCII: only a server with SMTPUTF8 takes it


def read_address(identifier: str) -> Address:
    """Raises ValueError, whose text says what is wrong without repeating the address."""
    if PLAIN.fullmatch(identifier):
        return Address(identifier, needs_utf8=False)
    if len(identifier) > LONGEST:
        raise ValueError(f"not an e-mail address: it has more than {LONGEST} characters")
    try:
        valid = validate_email(identifier, check_deliverability=False, test_environment=True)
    except EmailNotValidError as error:
        raise ValueError(f"not an e-mail address: {error}") from None
    return Address(f"{valid.local_part}@{valid.ascii_domain}", needs_utf8=not valid.local_part.isascii())
