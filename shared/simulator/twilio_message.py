"""What Twilio checks of a message, and how it describes one that it took."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from hashlib import blake2b
from typing import Any, Final
from urllib.parse import urlsplit

from shared.domain.segments import count_segments
from shared.simulator.faults import Fate

LARGEST_TEXT: Final = 1600

NUMBER: Final = re.compile(r"\+[1-9][0-9]{6,14}")
SENDER: Final = re.compile(r"\+?[0-9]{3,15}|(?=.*[A-Za-z])[A-Za-z0-9 ]{1,11}")
VALIDITY: Final = re.compile(r"[0-9]{1,5}")
SERVICE: Final = re.compile(r"MG[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class Message:
    """As Twilio took it."""

    sid: str
    account: str
    fields: Mapping[str, str]
    fate: Fate

    @property
    def recipient(self) -> str:
        return self.fields["To"]

    @property
    def sender(self) -> str:
        return self.fields.get("From") or self.fields["MessagingServiceSid"]

    @property
    def text(self) -> str:
        return self.fields.get("Body", "")

    @property
    def key(self) -> str:
        """Equal for copies: of what a phone would show."""
        return blake2b(f"{self.sender}\0{self.text}".encode(), digest_size=8).hexdigest()


def problem_of(fields: Mapping[str, str]) -> tuple[int, str] | None:  # noqa: PLR0911  # one line for each check
    """The first thing that is wrong: Twilio's code and words."""
    recipient, sender, service = (fields.get(name, "") for name in ("To", "From", "MessagingServiceSid"))
    callback, validity = fields.get("StatusCallback"), fields.get("ValidityPeriod")
    if not recipient:
        return 21604, "A 'To' phone number is required."
    if not NUMBER.fullmatch(recipient):
        return 21211, f"Invalid 'To' Phone Number: {recipient}"
    if not sender and not service:
        return 21603, "A 'From' phone number is required."
    if sender and not SENDER.fullmatch(sender):
        return 21212, f"Invalid From Number (caller ID): {sender}"
    if service and not SERVICE.fullmatch(service):
        return 21705, "The Messaging Service SID is invalid."
    if not fields.get("Body") and not fields.get("ContentSid"):
        return 21602, "Message body is required."
    if len(fields.get("Body", "")) > LARGEST_TEXT:
        return 21617, "The concatenated message body exceeds the 1600 character limit"
    if validity is not None and not (VALIDITY.fullmatch(validity) and 1 <= int(validity) <= 36_000):
        return 21624, "Invalid validity period"
    if callback is not None and not _can_be_called(callback):
        return 21609, f"The 'StatusCallback' URL {callback} is not a valid URL."
    return None


def _can_be_called(url: str) -> bool:
    try:
        place = urlsplit(url)
    except ValueError:
        return False
    return place.scheme in {"http", "https"} and bool(place.hostname) and "_" not in (place.hostname or "")


def describe(message: Message) -> dict[str, Any]:
    fields, now = message.fields, format_datetime(datetime.now(UTC))
    uri = f"/2010-04-01/Accounts/{message.account}/Messages/{message.sid}"
    service = fields.get("MessagingServiceSid")
    return {
        "account_sid": message.account,
        "api_version": "2010-04-01",
        "body": message.text,
        "date_created": now,
        "date_sent": None,
        "date_updated": now,
        "direction": "outbound-api",
        "error_code": None,
        "error_message": None,
        "from": fields.get("From"),
        "messaging_service_sid": service,
        "num_media": "0",
        "num_segments": "0" if service else str(count_segments(message.text).parts),
        "price": None,
        "price_unit": None,
        "sid": message.sid,
        "status": "accepted" if service else "queued",
        "subresource_uris": {"media": f"{uri}/Media.json"},
        "to": message.recipient,
        "uri": f"{uri}.json",
    }
