"""The calls in which Twilio tells a customer how a message goes on (twilio.com/docs/usage/security)."""

import secrets
from base64 import b64encode
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from hashlib import sha1
from hmac import digest
from typing import Final
from urllib.parse import urlencode

from shared.simulator.faults import Fate
from shared.simulator.outgoing import OutgoingCall
from shared.simulator.twilio_message import Message

FORM: Final = "application/x-www-form-urlencoded; charset=UTF-8"


def status_callbacks(message: Message, token: str) -> Iterator[OutgoingCall]:
    """The calls that follow a message, in the order of its life; none if it names no address for them."""
    url = message.fields.get("StatusCallback")
    steps = ("queued", "sent", "undelivered" if message.fate is Fate.UNDELIVERED else "delivered")
    for status in steps if url else ():
        fields = {
            "AccountSid": message.account,
            "ApiVersion": "2010-04-01",
            "From": message.fields.get("From", ""),
            "MessageSid": message.sid,
            "MessageStatus": status,
            "SmsSid": message.sid,
            "SmsStatus": status,
            "To": message.recipient,
        }
        if status == "undelivered":
            fields["ErrorCode"] = "30003"
        if status == "delivered":
            fields["RawDlrDoneDate"] = datetime.now(UTC).strftime("%y%m%d%H%M")
        yield signed_callback(url or "", fields, token)


def signed_callback(url: str, fields: Mapping[str, str], token: str) -> OutgoingCall:
    """Signed over the address and all fields in the order of their names (twilio.com/docs/usage/security)."""
    text = url + "".join(name + fields[name] for name in sorted(fields))
    signature = b64encode(digest(token.encode(), text.encode(), sha1)).decode()
    headers = (
        ("content-type", FORM),
        ("x-twilio-signature", signature),
        ("i-twilio-idempotency-token", secrets.token_hex(16)),
    )
    return OutgoingCall(url, headers, urlencode(fields).encode())
