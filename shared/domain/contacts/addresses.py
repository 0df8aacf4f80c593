"""Whether an address can be one at all: by its form, without asking a server."""

import re

from email_validator import EmailNotValidError, validate_email
from phonenumbers import (
    COUNTRY_CODE_TO_REGION_CODE,
    SUPPORTED_REGIONS,
    NumberParseException,
    PhoneNumberFormat,
    format_number,
    is_possible_number,
    parse,
)

# What nearly every address looks like. email-validator takes 18 µs for one, this expression 1 µs, and a file has
# hundreds of thousands. It accepts nothing that email-validator refuses, except names kept for tests and local use.
_LABEL = r"[a-z0-9]+(?:-[a-z0-9]+)*"
_ATOM = r"[a-z0-9!#$%&'*+/=?^_`{|}~-]+"
_COMMON_EMAIL = re.compile(rf"(?=[^@]{{1,64}}@.{{4,63}}\Z){_ATOM}(?:\.{_ATOM})*@(?:{_LABEL}\.)+[a-z]{{2,}}")

_LONGEST_EMAIL = 254
"""Characters, by RFC 5321 §4.5.3.1; what is longer is not looked at."""

_LONGEST_PHONE = 100
"""Characters with all decoration; what is longer is not looked at."""

_PHONE_DECORATION = re.compile(r"[\s./()\u2010-\u2015\u2212-]")
_PHONE = re.compile(r"\+[1-9][0-9]{6,14}")
_NATIONAL_PHONE = re.compile(r"[0-9]{3,20}")

REGIONS: frozenset[str] = frozenset(SUPPORTED_REGIONS)
"""Countries and territories by two letters (ISO 3166-1), as DE: those whose national numbers can be read."""

# Unicode's property Default_Ignorable_Code_Point (DerivedCoreProperties.txt, version 16)
_UNSEEN = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)


class NotAnAddress(ValueError):
    """The text cannot be an address; its own text says why."""


def without_unseen(text: str) -> str:
    """The text without letters that are not drawn, such as those which set a direction or allow a break. They come
    along when people copy from pages and phone books, and belong to no address, number or id.
    """
    return text if text.isascii() else _UNSEEN.sub("", text)


def read_email(text: str) -> str:
    """The address as it is stored and compared: lowercase, with the domain in ASCII where that is possible."""
    if len(text) > _LONGEST_EMAIL:
        raise NotAnAddress(f"An e-mail address has at most {_LONGEST_EMAIL} characters.")
    email = without_unseen(text).lower()
    if _COMMON_EMAIL.fullmatch(email):
        return email
    try:
        valid = validate_email(email, check_deliverability=False, strict=True)
    except EmailNotValidError as error:
        raise NotAnAddress(str(error)) from error
    # a local part outside ASCII has no ASCII form
    return valid.ascii_email or valid.normalized


def read_phone(text: str, *, region: str | None = None) -> str:
    """The number in E.164, freed of the decoration people write into it and of the trunk zero in +44 (0)20.

    `region`, one of REGIONS: numbers without + are dialled from there, as 0151 ... or 0049 ... from DE. None: they
    cannot be told.

    Its length must be possible in its country. Whether its range is in use is not asked: the tables of ranges lag
    behind at times, and a real subscriber would be refused. Letters and extensions are not read away: who wrote them
    meant something that a text message cannot reach.
    """
    if len(text) > _LONGEST_PHONE:
        raise NotAnAddress("A phone number is + and the country code, 7 to 15 digits altogether.")
    phone = _PHONE_DECORATION.sub("", without_unseen(text))
    is_national = region is not None and _NATIONAL_PHONE.fullmatch(phone) is not None
    if not is_national and not _PHONE.fullmatch(phone):
        raise NotAnAddress("A phone number is + and the country code, 7 to 15 digits altogether.")
    try:
        number = parse(phone, region if is_national else None)
    except NumberParseException as error:
        raise NotAnAddress("The phone number starts with no known country code.") from error
    stored = format_number(number, PhoneNumberFormat.E164)
    if not is_possible_number(number) or not _PHONE.fullmatch(stored):
        raise NotAnAddress("The phone number is too short or too long for its country.")
    return stored


def is_sender_number(text: str) -> bool:
    """Looser than what recipients have: the Messaging API's own tests give accounts a sender of +123456789."""
    return _PHONE.fullmatch(text) is not None and any(
        int(text[1:end]) in COUNTRY_CODE_TO_REGION_CODE for end in (2, 3, 4)
    )
