"""Vonage's delivery receipts: one for each part of a text and each step, signed as the account has chosen."""

import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlencode

from shared.simulator.faults import Fate
from shared.simulator.outgoing import OutgoingCall
from shared.simulator.vonage_message import Message

ReceiptForm = Literal["query", "form", "json"]
Signing = Literal["none", "hash", "md5", "sha1", "sha256", "sha512"]
"""`hash`: MD5 of the text with the secret behind it; the others are HMACs."""

ENDINGS: Mapping[Fate, tuple[str, str]] = {Fate.UNDELIVERED: ("failed", "1"), Fate.OPTED_OUT: ("rejected", "9")}
"""Status and err-code of messages that do not arrive."""


@dataclass(frozen=True, slots=True)
class DeliveryReceipt:
    fields: Mapping[str, str]

    def call(self, url: str, form: ReceiptForm, secret: str, signing: Signing) -> OutgoingCall:
        fields = dict(self.fields)
        if signing != "none":
            fields |= {"timestamp": str(int(time.time())), "nonce": secrets.token_hex(16)}
            fields["sig"] = signature_of(fields, secret, signing)
        match form:
            case "query":
                return OutgoingCall(f"{url}{'&' if '?' in url else '?'}{urlencode(fields)}", (), b"", "GET")
            case "form":
                headers = (("content-type", "application/x-www-form-urlencoded"),)
                return OutgoingCall(url, headers, urlencode(fields).encode())
            case "json":
                return OutgoingCall(url, (("content-type", "application/json"),), json.dumps(fields).encode())


def delivery_receipts(message: Message, parts: Sequence[str], *, account: str) -> Iterator[DeliveryReceipt]:
    """In the order of the message's life."""
    last = ENDINGS.get(message.fate, ("delivered", "0"))
    now = time.gmtime()
    for status, code in (("accepted", "0"), last):
        for part in parts:
            fields = {
                "msisdn": message.to,
                "to": message.fields["from"],
                "network-code": "310004",
                "messageId": part,
                "price": "0.03330000",
                "status": status,
                "scts": time.strftime("%y%m%d%H%M", now),
                "err-code": code,
                "api-key": account,
                "message-timestamp": time.strftime("%Y-%m-%d %H:%M:%S +0000", now),
            }
            yield DeliveryReceipt(fields if message.reference is None else {**fields, "client-ref": message.reference})


def signature_of(fields: Mapping[str, str], secret: str, signing: Signing) -> str:
    """developer.vonage.com/en/getting-started/concepts/signing-messages: over all fields but `sig`, in their order."""
    ordered = sorted((name, value) for name, value in fields.items() if name != "sig")
    text = "".join(f"&{name}={value.translate(_UNSAFE)}" for name, value in ordered)
    if signing in ("hash", "none"):
        return hashlib.md5((text + secret).encode(), usedforsecurity=False).hexdigest()
    return hmac.new(secret.encode(), text.encode(), signing).hexdigest()


_UNSAFE = str.maketrans("&=", "__")
