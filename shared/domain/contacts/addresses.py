"""Whether an address can be one at all: by its form, without asking a server."""

import re

from email_validator import EmailNotValidError, validate_email
from phonenumbers import COUNTRY_CODE_TO_REGION_CODE

# What nearly every address looks like. email-validator takes 18 µs for one, this expression 1 µs, and a file has
# hundreds of thousands. It accepts nothing that email-validator refuses, except names kept for tests and local use.
_LABEL = r"[a-z0-9]+(?:-[a-z0-9]+)*"
_ATOM = r"[a-z0-9!#$%&'*+/=?^_`{|}~-]+"
_COMMON_EMAIL = re.compile(rf"(?=[^@]{{1,64}}@.{{4,63}}\Z){_ATOM}(?:\.{_ATOM})*@(?:{_LABEL}\.)+[a-z]{{2,}}")

_PHONE_DECORATION = str.maketrans("", "", " -.()/")
_PHONE = re.compile(r"\+[1-9][0-9]{6,14}")


class NotAnAddress(ValueError):
    """The text cannot be an address; its own text says why."""


def read_email(text: str) -> str:
    """The address as it is stored and compared: lowercase, with the domain in ASCII where that is possible."""
    email = text.lower()
    if _COMMON_EMAIL.fullmatch(email):
        return email
    try:
        valid = validate_email(email, check_deliverability=False, strict=True)
    except EmailNotValidError as error:
        raise NotAnAddress(str(error)) from error
    # a local part outside ASCII has no ASCII form
    return valid.ascii_email or valid.normalized


def read_phone(text: str) -> str:
    """The number in E.164, freed of the decoration people write into it."""
    phone = text.translate(_PHONE_DECORATION)
    if not _PHONE.fullmatch(phone):
        raise NotAnAddress("A phone number is + and the country code, 7 to 15 digits altogether.")
    if not any(int(phone[1:end]) in COUNTRY_CODE_TO_REGION_CODE for end in (2, 3, 4)):
        raise NotAnAddress("The phone number starts with no known country code.")
    return phone
